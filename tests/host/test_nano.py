"""The bundled model on the real host, against the code that trained it."""

import gc
import itertools
import weakref
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from comfy.latent_formats import LatentFormat
from PIL import Image
from safetensors.torch import load_file, save_file
from skimage import data

from benchmarks.quickstart import restore as upscaled
from benchmarks.quickstart import sampled, zero
from benchmarks.samples import MEASURED
from ugc_sr.degrade.degradation import apply
from ugc_sr.degrade.recipes import RECIPES
from ugc_sr.host.controlnet import apply_controlnet
from ugc_sr.host.encoder import encode_views
from ugc_sr.host.guidance import apply_guidance
from ugc_sr.host.nano import WEIGHTS, NanoLatent, load_nano
from ugc_sr.host.tiling import tile_diffusion
from ugc_sr.sample.frame import finish, fit
from ugc_sr.score.metrics import METRICS
from ugc_sr.train.nano_network import Nano, restore

pytestmark = pytest.mark.comfy

DEMO = Path(__file__).parents[2] / "demo" / "photo_gt.jpg"


@pytest.fixture(scope="module")
def lr():
    coarse = torch.rand(1, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, size=(16, 32), mode="bicubic").clamp(0, 1)


@torch.inference_mode()
def test_the_host_gives_the_training_codes_own_picture(nano, lr):
    network = Nano().eval()
    state = {k: v.float() for k, v in load_file(WEIGHTS).items()}
    state["text"] = state.pop("text.")
    network.load_state_dict(state)
    hint, _ = fit(lr, 4)
    for sharpness in (0.0, 0.4, 1.0):
        own = restore(network, hint, network.encoder(lr), sharpness).clamp(0, 1)
        torch.testing.assert_close(sampled(nano, lr, sharpness=sharpness), own, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_decoding_without_sampling_gives_the_anchor(nano, lr):
    hint, _ = fit(lr, 4)
    picture = nano.vae.decode(nano.vae.encode(hint.movedim(1, -1))).movedim(-1, 1)
    assert picture.shape == hint.shape
    assert (picture - hint).abs().mean() < 0.1


@torch.inference_mode()
def test_more_steps_refine_and_do_not_add_speckle(nano, lr):
    one, four = sampled(nano, lr, steps=1), sampled(nano, lr, steps=4)
    assert (one - four).abs().mean() < 0.02


@pytest.mark.parametrize("scale", [4, 2, 1])
def test_at_its_true_end_it_brings_photos_of_every_recipe_nearer_to_the_originals(nano, scale):
    """Two photos that training never saw; at scale 1, `ugc` is hardly damaged, so nothing is won there."""
    clean = [data.astronaut()[100:356, 150:406], np.asarray(Image.open(DEMO))[200:456, 150:406]]
    psnr = METRICS["psnr_y"].measure
    for recipe in MEASURED:
        gained = []
        for photo, seed in itertools.product(clean, (0, 1)):
            hr = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None] / 255
            pair = apply(RECIPES[recipe].draw(seed, scale), hr)
            bicubic = finish(*fit(pair.lr, scale)).clamp(0, 1)
            truest = upscaled(nano, pair.lr, scale, steps=0)
            gained.append(psnr(truest, pair.hr).item() - psnr(bicubic, pair.hr).item())
        least = -0.2 if (recipe, scale) == ("ugc", 1) else 0.2
        assert sum(gained) / len(gained) > least, recipe


@torch.inference_mode()
def test_the_tokens_reach_the_picture(nano, lr):
    assert not torch.equal(sampled(nano, lr), sampled(nano, lr, tokens=zero))


@torch.inference_mode()
@pytest.mark.parametrize(("height", "width"), [(4, 4), (5, 300), (11, 7)])
def test_a_picture_is_cut_to_whole_folds_of_4_px(nano, height, width):
    picture = torch.rand(1, height, width, 3)
    top, left = height % 4 // 2, width % 4 // 2
    whole = picture[:, top : top + height // 4 * 4, left : left + width // 4 * 4]
    assert torch.equal(nano.vae.encode(picture), nano.vae.encode(whole))
    assert nano.vae.encode_tiled(picture).shape == (1, 48, height // 4, width // 4)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 40), (40, 3)])
@pytest.mark.parametrize("way", ["encode", "encode_tiled"])
def test_a_picture_smaller_than_a_fold_is_refused(nano, way, height, width):
    words = rf"VAE Encode: 'pixels' is {width}x{height} px; expected at least 4 px a side. Connect the 'hint'"
    with pytest.raises(ValueError, match=words):
        getattr(nano.vae, way)(torch.rand(1, height, width, 3))


def test_what_is_no_picture_is_refused(nano):
    with pytest.raises(ValueError, match="VAE Encode: 'pixels' has 1 channels; expected 3"):
        nano.vae.encode(torch.zeros(1, 8, 8, 1))


@pytest.mark.parametrize("way", ["decode", "decode_tiled"])
def test_a_latent_of_another_model_is_refused(nano, way):
    with pytest.raises(ValueError, match=r"was given a latent of 4 channels .* expected 48, its own"):
        getattr(nano.vae, way)(torch.zeros(1, 4, 8, 8))


def test_the_bundled_file_is_small_enough():
    assert WEIGHTS.stat().st_size <= 15_000_000


@pytest.mark.parametrize("head", [{"model": "ugc_sr nano v1"}, None])
def test_a_file_of_another_version_is_refused(tmp_path, head):
    file = tmp_path / "nano.safetensors"
    save_file({"vae.head.weight": torch.zeros(1)}, file, head)
    found = head["model"] if head else "another model"
    with pytest.raises(
        ValueError, match=rf"nano.safetensors holds {found}; .* reads ugc_sr nano v2\. Install"
    ):
        load_nano(file)


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"nano.safetensors is missing .* Install the extension again"
    ):
        load_nano(tmp_path / "nano.safetensors")


@torch.inference_mode()
@pytest.mark.parametrize("fails", [False, True])
def test_nothing_of_a_restoration_waits_for_the_garbage_collector(lr, fails, sample):
    """ComfyUI warns of models that only a collection ends, and then does one in front of each load."""

    def restore():
        nano, (hint, frame) = load_nano(), fit(lr, scale=4)
        semantics = encode_views(nano.encoder, lr, "both", frame)
        model = apply_guidance(nano.model, nano.adapter, semantics)
        model = tile_diffusion(apply_guidance(model, nano.adapter, semantics, 0.5), 16, 4, 2)
        texts = apply_controlnet([nano.conditioning] * 2, nano.control_net, hint, semantics)
        latent = nano.vae.encode(hint.movedim(1, -1))

        def look(step, *_):
            if fails and step:
                raise RuntimeError("in the middle")

        with pytest.raises(RuntimeError, match="in the middle") if fails else nullcontext():
            given = {"conditioning": texts, "latent": latent, "callback": look}
            sample(model, noise=torch.randn_like(latent), steps=3, cfg=1.5, scheduler="simple", **given)
        owners = nano.model, nano.vae.patcher, nano.encoder.patcher, nano.adapter.patcher
        networks = *(owner.model for owner in owners), nano.control_net.control_model
        return [weakref.ref(part) for part in (nano, model, *owners, *networks)]

    gc.collect()
    gc.disable()
    try:
        assert {part() for part in restore()} == {None}
    finally:
        gc.enable()


def test_the_preview_shows_the_picture():
    factors = torch.tensor(NanoLatent().latent_rgb_factors)
    assert isinstance(NanoLatent(), LatentFormat)
    picture = torch.rand(1, 3, 8, 8) * 2 - 1
    latent = torch.nn.functional.pixel_unshuffle(picture, 4) * NanoLatent.scale_factor
    preview = torch.einsum("bchw,cr->brhw", latent, factors)
    torch.testing.assert_close(preview, torch.nn.functional.avg_pool2d(picture, 4))
