import sys

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from ugc_sr.models import segmenter
from ugc_sr.models.segmenter import build_encoder, nano_encoder
from ugc_sr.models.weights import UnsupportedWeightsError

SHIPPED = {
    "sam2.1_tiny": "configs/sam2.1/sam2.1_hiera_t.yaml",
    "sam2.1_small": "configs/sam2.1/sam2.1_hiera_s.yaml",
    "sam2.1_base_plus": "configs/sam2.1/sam2.1_hiera_b+.yaml",
    "sam2.1_large": "configs/sam2.1/sam2.1_hiera_l.yaml",
}


def randomised(module, seed=0):
    """Every parameter away from its starting value: positions and no_mem_embed start at zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    return module


def official(config_file):
    from sam2.build_sam import build_sam2

    return build_sam2(config_file, ckpt_path=None, device="cpu")


def official_tokens(model, photo, size):
    """The steps of SAM2ImagePredictor.set_image, at any size; photo (H, W, 3) uint8."""
    from sam2.utils.transforms import SAM2Transforms

    with torch.no_grad():
        out = model.forward_image(SAM2Transforms(size, mask_threshold=0)(photo)[None])
        _, features, _, _ = model._prepare_backbone_features(out)
        return (features[-1] + model.no_mem_embed).transpose(0, 1)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_tokens_are_those_of_the_official_path():
    model = randomised(official(SHIPPED["sam2.1_tiny"]))
    ours = build_encoder(model.state_dict())
    ours.image_size = 256  # the network is the same at any size; 1024 takes seconds
    photo = np.random.default_rng(0).integers(0, 256, (270, 480, 3), dtype=np.uint8)
    expected = official_tokens(model, photo, size=256)
    with torch.no_grad():
        tokens = ours(torch.from_numpy(photo).permute(2, 0, 1)[None] / 255)
    assert tokens.std() > 0.1
    assert_close(tokens, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_whole_checkpoint_of_every_size_is_recognised_and_loads_strictly(name):
    model = official(SHIPPED[name])
    whole = model.state_dict()
    ours = build_encoder(whole)
    assert (ours.name, ours.image_size, ours.grid, ours.token_dim) == (name, model.image_size, (64, 64), 256)
    assert ours.state_dict().keys() == {
        k for k in whole if k.startswith("image_encoder.") or k == "no_mem_embed"
    }
    assert all(torch.equal(weight, whole[key]) for key, weight in ours.state_dict().items())
    # what no key or shape shows
    blocks, expected = ours.image_encoder.trunk.blocks, model.image_encoder.trunk.blocks
    assert [b.window_size for b in blocks] == [b.window_size for b in expected]
    assert [b.attn.num_heads for b in blocks] == [b.attn.num_heads for b in expected]
    assert [b.q_stride for b in blocks] == [b.q_stride for b in expected]


def test_half_precision_files_load_as_float32():
    weights = {k: v.half() for k, v in randomised(nano_encoder()).state_dict().items()}
    encoder = build_encoder(weights)
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    assert encoder(torch.rand(1, 3, 9, 9)).dtype == torch.float32


def test_the_small_encoder_reads_an_even_grid_and_survives_saving():
    encoder = randomised(nano_encoder())
    photos = torch.rand(2, 3, 50, 70)
    tokens = encoder(photos)
    assert tokens.shape == (2, 64, 96)
    assert encoder.grid == (8, 8)
    again = build_encoder(encoder.state_dict())
    assert again.name == "nano"
    assert torch.equal(again(photos), tokens)


def test_tokens_run_row_by_row():
    encoder = nano_encoder().eval()
    photo = torch.full((1, 3, 128, 128), 0.5)
    marked = photo.clone()
    marked[:, :, 32:48, 96:112] = 1  # row 2, column 6
    change = (encoder(marked) - encoder(photo)).abs().sum(dim=-1).view(8, 8)
    assert divmod(int(change.argmax()), 8) == (2, 6)


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (128, 128), (333, 17)])
def test_photos_of_any_size_give_the_same_number_of_tokens(size):
    tokens = nano_encoder()(torch.rand(1, 3, *size))
    assert tokens.shape == (1, 64, 96)
    assert tokens.isfinite().all()


def test_a_flat_photo_reads_the_same_at_any_size():
    encoder = randomised(nano_encoder())
    small, large = (encoder(torch.full((1, 3, *size), 0.3)) for size in ((1, 1), (57, 140)))
    assert_close(small, large, atol=1e-5, rtol=0)


def test_an_item_of_a_batch_reads_as_it_does_alone():
    encoder = randomised(nano_encoder())
    photos = torch.rand(3, 3, 40, 60)
    assert_close(encoder(photos)[1:2], encoder(photos[1:2]), atol=1e-5, rtol=0)


def test_gradients_reach_every_weight_that_the_tokens_depend_on():
    encoder = nano_encoder()
    encoder(torch.rand(1, 3, 64, 64)).square().sum().backward()
    idle = {name for name, p in encoder.named_parameters() if p.grad is None}
    # the finest two levels of the neck are for mask decoding
    assert idle == {f"image_encoder.neck.convs.{i}.conv.{p}" for i in (2, 3) for p in ("weight", "bias")}


def test_the_encoder_leaves_device_to_its_owner():
    encoder = nano_encoder()
    encoder.device = torch.device("cpu")
    assert encoder.device == torch.device("cpu")


def test_only_photos_decide_no_state_is_kept():
    encoder = nano_encoder()
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    first, second = torch.rand(2, 1, 3, 20, 20)
    tokens = encoder(first)
    encoder(second)
    assert torch.equal(encoder(first), tokens)
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())
    assert not list(encoder.buffers())


def without(key):
    return {k: v for k, v in nano_encoder().state_dict().items() if k != key}


def with_(key, value):
    return nano_encoder().state_dict() | {key: value}


PATCH = "image_encoder.trunk.patch_embed.proj.weight"


@pytest.mark.parametrize(
    ("state_dict", "message"),
    [
        (lambda: without("no_mem_embed"), "'x.safetensors' lacks 'no_mem_embed'"),
        (
            lambda: without("image_encoder.trunk.blocks.2.norm1.bias"),
            "lacks 'image_encoder.trunk.blocks.2.norm1.bias'",
        ),
        (lambda: with_("image_encoder.trunk.extra", torch.ones(1)), "holds 'image_encoder.trunk.extra'"),
        (
            lambda: with_("no_mem_embed", torch.ones(1, 1, 7)),
            r"'no_mem_embed' of 'x.safetensors' is \[1, 1, 7\]",
        ),
        (
            lambda: with_(PATCH, torch.ones(33, 3, 7, 7)),
            r"unknown image encoder of width 33 with 5 blocks.*nano \(32, 5\)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_in_words(state_dict, message):
    """Files of other kinds: tests/host/test_wrong_weights.py."""
    with pytest.raises(UnsupportedWeightsError, match=message):
        build_encoder(state_dict(), file="x.safetensors")


def test_without_the_sam2_package_the_message_says_how_to_get_it(monkeypatch):
    for name in [n for n in sys.modules if n == "sam2" or n.startswith("sam2.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sam2", None)
    with pytest.raises(RuntimeError, match=r"needs the 'sam2' package.*pip install sam2"):
        segmenter.nano_encoder()
