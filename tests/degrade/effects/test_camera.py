import pytest
import torch

from ugc_sr.color import grey
from ugc_sr.degrade.effects.camera import PATTERNS, chroma_subsample, demosaic, denoise
from ugc_sr.degrade.effects.color_filter import color_filter
from ugc_sr.degrade.effects.screenshot import screenshot


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_mosaic_keeps_the_pixels_it_has_sampled(pattern):
    image = noise(1, 3, 9, 12)
    out = demosaic(image, pattern)
    for cell, colour in enumerate(pattern):
        y, x = divmod(cell, 2)
        channel = "RGB".index(colour)
        assert torch.equal(out[:, channel, y::2, x::2], image[:, channel, y::2, x::2])
    assert not torch.allclose(out, image, atol=0.1)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_mosaic_reproduces_a_grey_ramp(pattern):
    ramp = (torch.arange(16) * 0.02 + torch.arange(14)[:, None] * 0.03).expand(1, 3, 14, 16)
    inside = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(demosaic(ramp, pattern)[inside], ramp[inside])


def test_a_mosaic_gives_grey_edges_false_colour_and_zippers():
    edge = torch.zeros(1, 3, 16, 16)
    edge[..., 7:] = 1
    out = demosaic(edge, "RGGB")
    assert (out.amax(1) - out.amin(1)).max() > 0.1
    assert out[0, 1, 4:12, 6:8].std(0).max() > 0.05  # along the edge, where the photo is constant


def test_denoise_takes_noise_and_keeps_a_strong_edge():
    clean = torch.full((1, 3, 48, 48), 0.2)
    clean[..., 24:] = 0.8
    noisy = clean + 0.02 * torch.randn(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    out = denoise(noisy, 0.8, 4)
    assert (out - clean)[..., :16].std() < 0.3 * (noisy - clean)[..., :16].std()
    assert (out[..., 25:27].mean() - out[..., 21:23].mean()) > 0.55


def test_denoise_takes_more_texture_as_strength_grows_and_none_at_zero():
    texture = 0.5 + 0.1 * (noise(1, 3, 32, 32) - 0.5)
    left = [denoise(texture, strength, 3).std().item() for strength in (0.0, 0.2, 0.5, 1.0)]
    assert torch.equal(denoise(texture, 0.0, 3), texture)
    assert left == sorted(left, reverse=True)
    assert left[3] < 0.4 * left[0]


@pytest.mark.parametrize("layout", ["4:2:0", "4:2:2"])
def test_chroma_is_halved_and_luma_is_not(layout):
    image = noise(1, 3, 16, 18)
    out = chroma_subsample(image, layout)
    torch.testing.assert_close(grey(out), grey(image))
    colour, smooth = (each - grey(each) for each in (image, out))
    assert smooth.std() < 0.8 * colour.std()


def test_422_keeps_colour_that_changes_from_row_to_row():
    rows = torch.zeros(1, 3, 16, 16)
    rows[:, 0, ::2] = 1
    assert torch.equal(chroma_subsample(rows, "4:2:2"), rows)
    assert (chroma_subsample(rows, "4:2:0") - rows).abs().mean() > 0.1


def test_a_screenshot_on_the_grid_at_its_own_size_is_the_photo():
    image = noise(1, 3, 20, 30)
    out = screenshot(image, 1.0, 0.0)
    torch.testing.assert_close(out, image.mul(255).round().div(255))


@pytest.mark.parametrize("factor", [0.5, 0.83, 1.4])
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_a_screenshot_moves_nothing(factor, shift):
    ramp = (torch.arange(64) / 80).expand(1, 3, 64, 64)
    inside = (..., slice(8, -8), slice(8, -8))
    torch.testing.assert_close(screenshot(ramp, factor, shift)[inside], ramp[inside], atol=0.005, rtol=0)


def test_a_screenshot_loses_detail_and_more_when_small_or_off_the_grid():
    image = noise(1, 3, 48, 48)
    lost = [(screenshot(image, *how) - image).square().mean() for how in ((1.3, 0.0), (1.0, 0.5), (0.5, 0.5))]
    assert 0.001 < lost[0] < lost[1] < lost[2]


def test_a_filter_that_is_off_changes_nothing():
    image = noise(1, 3, 8, 8)
    torch.testing.assert_close(color_filter(image), image)


def test_saturation_zero_is_grey_of_the_same_luma():
    image = noise(1, 3, 8, 8)
    torch.testing.assert_close(color_filter(image, saturation=0.0), grey(image).expand(1, 3, 8, 8))


def test_contrast_turns_about_mid_grey_and_brightness_adds():
    image = torch.tensor([0.25, 0.5, 0.75]).expand(1, 3, 1, 3)
    expected = torch.tensor([0.1, 0.6, 1.1]).expand(1, 3, 1, 3)
    torch.testing.assert_close(color_filter(image, contrast=2.0, brightness=0.1), expected)


def test_warmth_goes_from_blue_to_red():
    grey = torch.full((1, 3, 1, 1), 0.5)
    warm, cold = (color_filter(grey, warmth=warmth).flatten() for warmth in (0.5, -0.5))
    assert warm[0] > warm[1] > warm[2]
    assert torch.equal(warm, cold.flip(0))


def test_fade_lifts_black_and_dims_white():
    ends = torch.tensor([0.0, 1.0]).expand(1, 3, 1, 2)
    torch.testing.assert_close(color_filter(ends, fade=1.0)[0, 0, 0], torch.tensor([0.25, 0.65]))


def test_a_vignette_darkens_the_corners_and_not_the_middle():
    image = color_filter(torch.ones(1, 3, 65, 33), vignette=0.8)
    assert image[0, 0, 32, 16] == 1
    assert image[0, 0, 0, 0] < 0.3
    assert torch.equal(image, image.flip(2))
