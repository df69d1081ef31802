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
    return torch.nn.functional.interpolate(coarse, size=(16, 32), mode="bicubic").clamp(0, 1)


def sampled(nano, lr, **options):
    """The quick-start graph without Match Color, which the training code does not know."""
    from ugc_sr.benchmarks import quality

    return quality.sampled(nano, lr, **options)


@torch.inference_mode()
def test_the_host_gives_the_training_codes_own_picture(nano, lr):
    from ugc_sr.host.nano import WEIGHTS

    network = Nano().eval()
    state = {k: v.float() for k, v in load_file(WEIGHTS).items()}
    state["text"] = state.pop("text.")
    network.load_state_dict(state)
    torch.testing.assert_close(sampled(nano, lr), restore(network, lr, seed=0), atol=1e-3, rtol=0)


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
    from ugc_sr.benchmarks.quality import zero

    assert not torch.equal(sampled(nano, lr), sampled(nano, lr, tokens=zero))


def test_the_bundled_file_is_small_enough():
    from ugc_sr.host.nano import WEIGHTS

    assert WEIGHTS.stat().st_size <= 25_000_000


def test_a_missing_file_says_what_to_do(tmp_path):
    from ugc_sr.host.nano import load_nano

    with pytest.raises(
        FileNotFoundError, match=r"nano.safetensors is missing .* Install the extension again"
    ):
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
