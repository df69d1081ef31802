"""Conversion of published weights, and what it refuses."""

import hashlib
import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ugc_sr.models import repack
from ugc_sr.models.convert import fold_tokens
from ugc_sr.models.segmenter import nano_encoder
from ugc_sr.models.weights import UnsupportedWeightsError

TO_K = "down_blocks.1.image_attentions.0.transformer_blocks.0.attn2.to_k.weight"


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in right)


@pytest.fixture
def target(tmp_path):
    """Where to; its folder holds nothing else, so that what is left behind is seen."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "made.safetensors"


@pytest.fixture
def unet_file(tmp_path, unet_weights):
    file = tmp_path / "unet.pt"
    torch.save(unet_weights, file)
    return file


def metadata(file):
    with safe_open(file, framework="pt") as opened:
        return opened.metadata()


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_every_form_of_a_published_network_gives_the_same_file(
    diffusers_folder, controlnet_weights, target, parts, ending
):
    folder = diffusers_folder(controlnet_weights, "controlnet", parts, ending)
    written = repack.convert(folder, target)
    assert same(load_file(target), controlnet_weights)
    assert (written.kind, written.tensors) == ("controlnet", len(controlnet_weights))
    assert written.parameters == sum(w.numel() for w in controlnet_weights.values())
    assert written.size == target.stat().st_size
    assert written.sha256 == hashlib.sha256(target.read_bytes()).hexdigest()


def test_the_file_tells_where_it_comes_from(unet_file, target):
    repack.convert(unet_file, target, half=True, fold=True)
    assert metadata(target) == {
        "format": "pt",
        "ugcsr_version": "1",
        "ugcsr_kind": "adapter",
        "ugcsr_source": "unet.pt",
        "ugcsr_source_sha256": hashlib.sha256(unet_file.read_bytes()).hexdigest(),
        "ugcsr_folded": "true",
        "ugcsr_dtype": "float16",
    }


def test_a_wrapped_sam2_checkpoint_converts(tmp_path, target):
    weights = nano_encoder().state_dict()
    torch.save({"model": {f"module.{key}": value for key, value in weights.items()}}, tmp_path / "sam.pt")
    assert repack.convert(tmp_path / "sam.pt", target).kind == "encoder"
    assert same(load_file(target), weights)


def test_half_halves_the_size_and_rounds_each_weight_once(unet_file, unet_weights, target):
    whole = repack.convert(unet_file, target).size
    half = repack.convert(unet_file, target, half=True, force=True).size
    assert half == pytest.approx(whole / 2, rel=0.05)
    assert same(load_file(target), {key: weight.half() for key, weight in unet_weights.items()})


def test_fold_is_the_fold_of_the_loader_in_full_precision(unet_file, unet_weights, target):
    repack.convert(unet_file, target, fold=True)
    assert same(load_file(target), fold_tokens(unet_weights))
    assert load_file(target)[TO_K].shape[1] == 256


def test_fold_and_half_rounds_the_sum_and_not_the_halves(unet_file, unet_weights, target):
    repack.convert(unet_file, target, fold=True, half=True)
    first, second = unet_weights[TO_K].chunk(2, dim=1)
    assert torch.equal(load_file(target)[TO_K], (first + second).half())


def test_the_adapter_alone_leaves_the_base_out(unet_file, unet_weights, target):
    repack.convert(unet_file, target, adapter_only=True)
    alone = {key: weight for key, weight in unet_weights.items() if ".image_attentions." in key}
    assert same(load_file(target), alone)


def test_views_scalars_and_types_are_stored_as_they_are(tmp_path):
    tensors = {
        "turned": torch.arange(6.0).view(2, 3).t(),
        "scalar": torch.tensor(3.0),
        "none": torch.zeros(0, 4),
        "bf16": torch.randn(3).bfloat16(),
        "half": torch.randn(5).half(),
        "double": torch.randn(2, dtype=torch.float64),
        "fp8": torch.randn(7).to(torch.float8_e4m3fn),
    }
    digest = repack.write(tmp_path / "x.safetensors", tensors, {"format": "pt"})
    loaded = load_file(tmp_path / "x.safetensors")
    assert {key: weight.dtype for key, weight in loaded.items()} == {k: w.dtype for k, w in tensors.items()}
    assert all(torch.equal(loaded[key].double(), weight.double()) for key, weight in tensors.items())
    assert digest == repack.sha256(tmp_path / "x.safetensors")


def test_every_tensor_begins_at_a_multiple_of_its_element(tmp_path):
    tensors = {"a": torch.ones(3).half(), "b": torch.ones(5), "c": torch.ones(1)}
    repack.write(tmp_path / "x.safetensors", tensors, {})
    content = (tmp_path / "x.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert (8 + length) % 8 == 0
    assert header["a"]["data_offsets"][0] % 2 == header["b"]["data_offsets"][0] % 4 == 0


def test_the_same_source_gives_the_same_bytes(unet_file, target):
    first = repack.convert(unet_file, target)
    assert repack.convert(unet_file, target, force=True).sha256 == first.sha256


def test_an_existing_file_stays_unless_forced(unet_file, target):
    target.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"made.safetensors' is already there\. .*--force"):
        repack.convert(unet_file, target)
    assert target.read_bytes() == b"mine"
    assert repack.convert(unet_file, target, force=True).tensors


def test_a_source_is_never_its_own_target(diffusers_folder, controlnet_weights):
    folder = diffusers_folder(controlnet_weights)
    for source in (folder, folder / "diffusion_pytorch_model.safetensors"):
        with pytest.raises(ValueError, match="is the source itself"):
            repack.convert(source, folder / "diffusion_pytorch_model.safetensors", force=True)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("x.pt", ValueError, r"DST must be a file that ends in \.safetensors; got '.*x.pt'"),
        ("no/x.safetensors", FileNotFoundError, "There is no folder '.*no' to write 'x.safetensors' into"),
    ],
)
def test_a_bad_target_is_refused(unet_file, tmp_path, name, error, message):
    with pytest.raises(error, match=message):
        repack.convert(unet_file, tmp_path / name)


def changed(state_dict, change):
    """With some tensors replaced, or left out where they are None."""
    return {key: weight for key, weight in (state_dict | change).items() if weight is not None}


def large(state_dict, key, value):
    weight = state_dict[key].clone()
    weight.flatten()[3] = value
    return {key: weight}


IMAGE = "mid_block.image_attentions.0."
# What else the node refuses: tests/host/test_wrong_weights.py.
REFUSED = {
    "lost attention": ({}, lambda u: dict.fromkeys(k for k in u if IMAGE in k), "lacks 'mid_block.image_att"),
    "no dimensions": ({}, lambda u: {f"{IMAGE}norm.weight": torch.tensor(1.0)}, "weights of odd shapes"),
    "NaN": ({}, lambda u: large(u, TO_K, float("nan")), "holds NaN or infinite values"),
    "infinite": ({}, lambda u: large(u, TO_K, -float("inf")), "holds NaN or infinite values"),
    "beyond float16": ({"half": True}, lambda u: large(u, TO_K, -7e4), r"reaches 70000, beyond 65504"),
    "whole numbers": ({}, lambda u: {f"{IMAGE}norm.bias": torch.ones(128).int()}, r"is int32 \[128\]"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_node_would_refuse_is_refused_and_nothing_is_written(tmp_path, unet_weights, target, case):
    options, change, message = REFUSED[case]
    save_file(changed(unet_weights, change(unet_weights)), tmp_path / "unet.safetensors")
    with pytest.raises(ValueError, match=message):
        repack.convert(tmp_path / "unet.safetensors", target, **options)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    "lost",
    ["conv_in.bias", "controlnet_down_blocks.3.weight", "controlnet_cond_embedding.blocks.2.w", "mid_block"],
)
def test_half_a_controlnet_is_refused(tmp_path, controlnet_weights, target, lost):
    half = {key: weight for key, weight in controlnet_weights.items() if not key.startswith(lost)}
    save_file(half, tmp_path / "c.safetensors")
    with pytest.raises(UnsupportedWeightsError, match=r"lacks|incomplete"):
        repack.convert(tmp_path / "c.safetensors", target)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fold": True}, "--fold is for a UNet or ControlNet"),
        ({"adapter_only": True}, r"--adapter-only is for a UNet; this is a SAM2\.1 checkpoint"),
    ],
)
def test_options_of_another_kind_are_refused(tmp_path, target, options, message):
    save_file(nano_encoder().state_dict(), tmp_path / "e.safetensors")
    with pytest.raises(ValueError, match=message):
        repack.convert(tmp_path / "e.safetensors", target, **options)


def test_tokens_that_are_folded_already_cannot_be_folded(tmp_path, unet_weights, target):
    save_file(fold_tokens(unet_weights), tmp_path / "u.safetensors")
    with pytest.raises(ValueError, match="--fold needs token projections 512 wide"):
        repack.convert(tmp_path / "u.safetensors", target, fold=True)


def test_weights_of_another_kind_are_sent_to_their_own_node(tmp_path, target):
    save_file({"model.diffusion_model.out.2.weight": torch.ones(1)}, tmp_path / "sd.safetensors")
    with pytest.raises(UnsupportedWeightsError, match=r"a whole checkpoint, .* with Load Checkpoint"):
        repack.convert(tmp_path / "sd.safetensors", target)


def test_a_write_that_fails_leaves_nothing(target, monkeypatch):
    def torn(*_):
        yield b"some"
        raise OSError("disk full")

    monkeypatch.setattr(repack, "_pieces", torn)
    target.write_bytes(b"mine")
    with pytest.raises(OSError, match="disk full"):
        repack.write(target, {}, {})
    assert [file.read_bytes() for file in target.parent.iterdir()] == [b"mine"]


@pytest.mark.comfy
def test_a_converted_adapter_loads_as_the_published_one(unet_file, unet_weights, target):
    from ugc_sr.host.adapter import load_adapter

    repack.convert(unet_file, target, fold=True, adapter_only=True)
    published, ours = (load_adapter(w).patcher.model.state_dict() for w in (unet_weights, load_file(target)))
    assert same(ours, published)
