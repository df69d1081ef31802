import pytest
import torch
from torch.testing import assert_close

from ugc_sr.image import resize
from ugc_sr.sample.color import METHODS, adain, lab, match, wavelet


def photo(height=96, width=128, batch=1, seed=0):
    """Smooth colours with a fine texture, in [.1, .9]."""
    generator = torch.Generator().manual_seed(seed)
    smooth = resize(torch.rand(batch, 3, 5, 6, generator=generator), height, width, mode="bilinear")
    texture = torch.rand(batch, 1, height, width, generator=generator) - 0.5
    return 0.15 + 0.6 * smooth + 0.1 * texture


def cast(image):
    return image + torch.tensor([0.08, -0.05, 0.04]).view(1, 3, 1, 1)


def test_wavelet_of_an_image_with_itself_is_the_image():
    image = photo()
    assert_close(wavelet(image, image), image, rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_an_image_that_has_the_right_colours_is_left_alone(method):
    image = photo()
    assert_close(match(image, image, method), image, rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_colour_cast_goes_away(method):
    clean = photo()
    before = (cast(clean) - clean).abs().mean()
    after = (match(cast(clean), clean, method) - clean).abs().mean()
    assert after < before / 10


@pytest.mark.parametrize("method", METHODS)
def test_the_mean_colour_becomes_that_of_the_reference(method):
    image, reference = cast(photo(seed=0)), photo(seed=1)
    before = (image - reference).mean(dim=(2, 3)).abs().mean()
    after = (match(image, reference, method) - reference).mean(dim=(2, 3)).abs().mean()
    assert after < before / 10


def test_wavelet_leaves_high_frequencies_unchanged():
    generator = torch.Generator().manual_seed(3)
    detail = torch.rand(1, 3, 128, 128, generator=generator) - 0.5
    checker = (torch.arange(128).view(-1, 1) + torch.arange(128)) % 2 - 0.5
    base = torch.full((1, 3, 128, 128), 0.5)
    out = wavelet(base + 0.1 * checker, base)
    assert_close(out[..., 32:-32, 32:-32], (base + 0.1 * checker)[..., 32:-32, 32:-32], rtol=0, atol=1e-6)
    kept = wavelet(base + 0.1 * detail, base) - base
    assert (kept - 0.1 * detail).abs().mean() < 0.05 * (0.1 * detail).abs().mean()


def test_wavelet_takes_low_frequencies_from_the_reference():
    ramp = torch.linspace(0.2, 0.8, 256).expand(1, 3, 256, 256)
    flat = torch.full_like(ramp, 0.5)
    assert_close(wavelet(flat, ramp)[..., 64:-64], ramp[..., 64:-64], rtol=0, atol=1e-3)


def test_adain_gives_each_channel_the_moments_of_the_reference():
    reference = photo(seed=1)
    out = adain(photo(seed=0), reference)
    assert_close(out.mean(dim=(2, 3)), reference.mean(dim=(2, 3)), rtol=0, atol=1e-5)
    assert_close(out.std(dim=(2, 3)), reference.std(dim=(2, 3)), rtol=1e-3, atol=0)


def test_lab_keeps_a_grey_image_grey_beside_a_colourful_reference():
    grey = torch.full((1, 3, 32, 32), 0.5) + 1e-5 * torch.rand(1, 3, 32, 32)
    out = lab(grey, photo(32, 32))
    assert out.std(dim=(2, 3)).max() < 1e-3


def test_lab_round_trip_holds_outside_the_gamut():
    image = 1.6 * torch.rand(1, 3, 32, 32) - 0.3
    assert_close(lab(image, image), image, rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_clamped(method):
    bright = photo() + 0.4
    assert match(bright, bright, method).max() > 1.05


@pytest.mark.parametrize("method", METHODS)
def test_each_image_of_a_batch_is_matched_as_if_alone(method):
    image, reference = photo(batch=3), photo(batch=3, seed=1)
    together = match(image, reference, method)
    for k in range(3):
        alone = match(image[k : k + 1], reference[k : k + 1], method)
        assert_close(together[k : k + 1], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 3)])
def test_tiny_images_have_finite_results(method, size):
    assert match(torch.rand(1, 3, *size), torch.rand(1, 3, *size), method).isfinite().all()


def test_a_reference_of_another_size_is_resized_and_serves_the_whole_batch():
    image, reference = photo(batch=2), photo(seed=1)
    small = resize(reference, 24, 32)
    expected = match(image, resize(small, 96, 128), "wavelet")
    assert_close(match(image, small, "wavelet"), expected)


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="'method' must be one of wavelet, adain, lab; got 'hsv'"):
        match(photo(), photo(), "hsv")


def test_batches_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="'reference' holds 2 photos but 'image' holds 3"):
        match(photo(batch=3), photo(batch=2), "wavelet")
