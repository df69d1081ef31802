"""The bundled model on the real host, against the code that trained it."""

import pytest
import torch
from safetensors.torch import load_file
from ugc_sr.train.nano import Nano, enlarge, restore

pytestmark = pytest.mark.comfy


@pytest.fixture(scope="module")
def nano():
    from ugc_sr.host.nano import load_nano

    return load_nano()


@pytest.fixture(scope="module")
def lr():
    coarse = torch.rand(1, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, size=(16, 24), mode="bicubic").clamp(0, 1)


def sampled(nano, lr, steps=1, seed=3, tokens_of=None):
    import comfy.sample
    from ugc_sr.host.controlnet import apply_controlnet
    from ugc_sr.host.encoder import encode
    from ugc_sr.host.guidance import apply_guidance

    hint = enlarge(lr)
    semantics = encode(nano.encoder, lr if tokens_of is None else tokens_of)
    model = apply_guidance(nano.model, nano.adapter, semantics)
    positive, negative = apply_controlnet([nano.conditioning] * 2, nano.control_net, hint, semantics)
    latent = nano.vae.encode(hint.movedim(1, -1))
    noise = comfy.sample.prepare_noise(latent, seed)
    out = comfy.sample.sample(
        model, noise, steps, 1.0, "euler", "simple", positive, negative, latent, denoise=1.0, seed=seed
    )
    return nano.vae.decode(out).movedim(-1, 1)


@torch.inference_mode()
def test_the_host_gives_the_training_codes_own_picture(nano, lr):
    from ugc_sr.host.nano import WEIGHTS

    network = Nano().eval()
    state = {k: v.float() for k, v in load_file(WEIGHTS).items()}
    state["text"] = state.pop("text.")
    network.load_state_dict(state)
    torch.testing.assert_close(sampled(nano, lr), restore(network, lr, seed=3), atol=1e-3, rtol=0)


@torch.inference_mode()
def test_decoding_without_sampling_gives_the_anchor(nano, lr):
    hint = enlarge(lr)
    picture = nano.vae.decode(nano.vae.encode(hint.movedim(1, -1))).movedim(-1, 1)
    assert picture.shape == hint.shape
    assert (picture - hint).abs().mean() < 0.1


@torch.inference_mode()
def test_more_steps_refine_and_do_not_add_speckle(nano, lr):
    one, four = sampled(nano, lr, steps=1), sampled(nano, lr, steps=4)
    assert (one - four).abs().mean() < 0.02


@torch.inference_mode()
def test_the_tokens_reach_the_picture(nano, lr):
    assert not torch.equal(sampled(nano, lr), sampled(nano, lr, tokens_of=1 - lr))


def test_the_bundled_file_is_small_enough():
    from ugc_sr.host.nano import WEIGHTS

    assert WEIGHTS.stat().st_size <= 25_000_000


def test_a_missing_file_says_what_to_do(tmp_path):
    from ugc_sr.host.nano import load_nano

    with pytest.raises(FileNotFoundError, match=r"nano.safetensors is missing .* Install the extension again"):
        load_nano(tmp_path / "nano.safetensors")


def test_the_preview_shows_the_picture():
    from comfy.latent_formats import LatentFormat
    from ugc_sr.host.nano import NanoLatent

    factors = torch.tensor(NanoLatent().latent_rgb_factors)
    assert isinstance(NanoLatent(), LatentFormat)
    picture = torch.rand(1, 3, 8, 8) * 2 - 1
    latent = torch.nn.functional.pixel_unshuffle(picture, 4) * NanoLatent.scale_factor
    preview = torch.einsum("bchw,cr->brhw", latent, factors)
    torch.testing.assert_close(preview, torch.nn.functional.avg_pool2d(picture, 4))
