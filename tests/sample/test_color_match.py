import pytest
import torch
import torch.nn.functional as F
from skimage.color import rgb2lab
from torch.testing import assert_close

from ugc_sr.image import resize
from ugc_sr.sample import bands, color_match
from ugc_sr.sample.color_match import METHODS, adain, lab, match, wavelet


def photo(height=96, width=128, batch=1, seed=0):
    """Smooth colours with a fine texture, in [.1, .9]."""
    generator = torch.Generator().manual_seed(seed)
    smooth = resize(torch.rand(batch, 3, 5, 6, generator=generator), height, width, mode="bilinear")
    texture = torch.rand(batch, 1, height, width, generator=generator) - 0.5
    return 0.15 + 0.6 * smooth + 0.1 * texture


def in_lab(image):
    """(3, H, W) of the first photo, by another's formulas."""
    return torch.from_numpy(rgb2lab(image[0].double().movedim(0, -1).numpy())).movedim(-1, 0)


def cast(image):
    return image + torch.tensor([0.08, -0.05, 0.04]).view(1, 3, 1, 1)


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


def test_wavelet_is_the_decomposition_of_stablesr():
    """Five times a 3x3 window, its taps twice as far apart each time; what they take away is the detail."""

    def split(x):
        detail, window = torch.zeros_like(x), torch.tensor([1.0, 2.0, 1.0]) / 4
        for apart in (1, 2, 4, 8, 16):
            kernel = torch.outer(window, window).expand(3, 1, 3, 3)
            low = F.conv2d(F.pad(x, [apart] * 4, mode="replicate"), kernel, dilation=apart, groups=3)
            detail, x = detail + x - low, low
        return detail, x

    image, reference = photo(seed=0), photo(seed=1)
    assert_close(wavelet(image, reference), split(image)[0] + split(reference)[1], rtol=0, atol=1e-5)


def test_adain_gives_each_channel_the_moments_of_the_reference():
    reference = photo(seed=1)
    out = adain(photo(seed=0), reference)
    assert_close(out.mean(dim=(2, 3)), reference.mean(dim=(2, 3)), rtol=0, atol=1e-5)
    assert_close(out.std(dim=(2, 3)), reference.std(dim=(2, 3)), rtol=1e-3, atol=0)


def test_lab_keeps_a_grey_image_grey_beside_a_colourful_reference():
    grey = torch.full((1, 3, 32, 32), 0.5) + 1e-5 * torch.rand(1, 3, 32, 32)
    out = lab(grey, photo(32, 32))
    assert out.std(dim=(2, 3)).max() < 1e-3


def test_its_lab_is_everyones_lab():
    image = torch.rand(1, 3, 40, 40) ** 2
    image[..., 0] *= 0.01  # on the linear foot
    ours = color_match._rgb_to_lab(image)[0] - torch.tensor([16.0, 0, 0]).view(3, 1, 1)
    assert_close(ours.double(), in_lab(image), rtol=0, atol=0.02)


def test_lab_takes_the_spread_of_the_chroma_and_the_mean_lightness_but_keeps_the_contrast():
    image, reference = photo(seed=0), photo(seed=1)
    grey = image.mean(dim=1, keepdim=True)
    image = 0.25 + 0.5 * grey + 0.4 * (image - grey)
    reference[..., :40] *= 0.3
    out, before, wanted = in_lab(lab(image, reference)), in_lab(image), in_lab(reference)
    assert_close(out[0].mean(), wanted[0].mean(), rtol=0, atol=0.05)
    assert_close(out[0].std(), before[0].std(), rtol=0.1, atol=0)
    assert abs(before[0].std() - wanted[0].std()) > 5
    ranks = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    for i in (1, 2):
        assert wanted[i].std() > 1.3 * before[i].std()
        assert_close(out[i].quantile(ranks), wanted[i].quantile(ranks), rtol=0, atol=0.15 * wanted[i].std())


@pytest.mark.parametrize("size", [(96, 128), (128, 96), (30, 600), (600, 30), (24, 3000)])
def test_lab_of_a_large_photo_is_measured_on_a_part_of_it_and_made_in_bands(size, monkeypatch):
    image, reference = photo(*size, seed=0), photo(*size, seed=1)
    whole = lab(image, reference)
    monkeypatch.setattr(color_match, "SAMPLES", 2000)
    monkeypatch.setattr(bands, "BAND_PX", 2000)
    assert (lab(image, reference) - whole).abs().mean() < 0.02
    convert, pixels = color_match._rgb_to_lab, []
    monkeypatch.setattr(color_match, "_rgb_to_lab", lambda x: pixels.append(x[0, 0].numel()) or convert(x))
    lab(image, reference)
    sampled, converted = pixels[:2], pixels[2:]
    assert 500 <= min(sampled) <= max(sampled) <= 2000
    assert max(converted) <= max(2000, size[1])
    assert sum(converted) == image[0, 0].numel() > len(converted) * 1000


def test_lab_leaves_colours_beyond_those_that_were_measured_as_far_out_as_they_were(monkeypatch):
    image = photo()
    image[0, :, 1, 1] = torch.tensor([1.0, 0.0, 0.0])
    image[0, :, 3, 3] = torch.tensor([0.0, 1.0, 1.0])
    monkeypatch.setattr(color_match, "SAMPLES", image[0, 0].numel() // 4)  # every second row and column
    assert_close(lab(image, image), image, rtol=0, atol=1e-4)


def test_lab_bounds_how_far_it_stretches_noise():
    noise = 1e-3 * torch.rand(1, 3, 64, 64)
    out = in_lab(lab(0.5 + noise, photo(64, 64)))
    before, wanted = in_lab(0.5 + noise), in_lab(photo(64, 64))
    for i in (1, 2):
        assert wanted[i].std() > 50 * before[i].std()
        assert out[i].std() < wanted[i].std() / 2


@pytest.mark.parametrize("method", METHODS)
def test_a_photo_with_values_that_are_no_numbers_ends_no_process(method):
    broken = photo()
    broken[0, 1, 5, 7] = torch.nan
    for pair in ((broken, photo()), (photo(), broken)):
        assert match(*pair, method).shape == broken.shape


def test_lab_round_trip_holds_outside_the_gamut():
    image = 1.6 * torch.rand(1, 3, 32, 32) - 0.3
    assert_close(lab(image, image), image, rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_clamped(method):
    bright = photo() + 0.4
    assert match(bright, bright, method).max() > 1.05


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 3)])
def test_tiny_images_have_finite_results(method, size):
    assert match(torch.rand(1, 3, *size), torch.rand(1, 3, *size), method).isfinite().all()


@pytest.mark.parametrize("method", METHODS)
def test_a_reference_of_another_size_is_resized_and_serves_the_whole_batch(method):
    image, reference = photo(batch=2), photo(seed=1)
    small = resize(reference, 24, 32)
    expected = match(image, resize(small, 96, 128).repeat(2, 1, 1, 1), method)
    assert_close(match(image, small, method), expected)


@pytest.mark.parametrize("method", METHODS)
def test_the_result_has_the_type_of_the_image(method):
    expected = match(photo(), photo(seed=1), method)
    assert_close(match(photo(), photo(seed=1).double(), method), expected)
    assert_close(match(photo().double(), photo(seed=1), method), expected.double(), rtol=0, atol=1e-4)


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="'method' must be one of wavelet, adain, lab; got 'hsv'"):
        match(photo(), photo(), "hsv")


def test_batches_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="'reference' is for 2 photos, but there are 4"):
        match(photo(batch=4), photo(batch=2), "wavelet")
