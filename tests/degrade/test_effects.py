import math

import pytest
import torch

from ugc_sr.degrade.blur import blur, gaussian_kernel
from ugc_sr.degrade.jpeg import jpeg
from ugc_sr.degrade.noise import gaussian_noise, shot_noise
from ugc_sr.degrade.resize import resize


def grey(level, side=256):
    return torch.full((1, 3, side, side), level)


def generator():
    return torch.Generator().manual_seed(0)


def test_a_kernel_sums_to_one_and_has_the_deviations_it_was_given():
    kernel = gaussian_kernel(2.0, 1.0, 0.0)
    axis = torch.arange(kernel.shape[0]) - kernel.shape[0] // 2
    assert kernel.sum().item() == pytest.approx(1)
    assert (kernel.sum(0) * axis**2).sum().item() == pytest.approx(4, rel=0.06)
    assert (kernel.sum(1) * axis**2).sum().item() == pytest.approx(1, rel=0.06)


def test_a_quarter_turn_swaps_the_deviations():
    turned = gaussian_kernel(2.0, 1.0, math.pi / 2)
    torch.testing.assert_close(turned, gaussian_kernel(2.0, 1.0, 0.0).T, atol=1e-6, rtol=0)


def test_blur_keeps_a_flat_photo_flat():
    torch.testing.assert_close(blur(grey(0.4, 32), 1.5, stretch=0.5, angle=0.3), grey(0.4, 32))


def test_a_blur_without_width_is_refused():
    with pytest.raises(ValueError, match=r"must be > 0 pixels, got 0 and 1"):
        gaussian_kernel(0, 1, 0)


def test_gaussian_noise_has_the_deviation_it_was_given():
    noise = gaussian_noise(grey(0.5), 8.0, False, generator()) - 0.5
    assert noise.std().item() * 255 == pytest.approx(8, rel=0.02)
    assert noise.mean().abs().item() * 255 < 0.1


@pytest.mark.parametrize("noise", [gaussian_noise, shot_noise])
def test_grey_noise_is_the_same_in_all_channels(noise):
    noisy = noise(grey(0.5, 32), 8.0, True, generator())
    assert torch.equal(noisy[:, 0], noisy[:, 1])
    assert torch.equal(noisy[:, 0], noisy[:, 2])


def test_shot_noise_variance_grows_with_the_light():
    dark, bright = (shot_noise(grey(level), 8.0, False, generator()).var() for level in (0.2, 0.8))
    assert (bright / dark).item() == pytest.approx(4, rel=0.05)


def test_jpeg_damage_grows_as_quality_falls():
    photo = torch.rand(1, 3, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    photo = photo + 0.05 * torch.rand(1, 3, 64, 64)
    damage = [(jpeg(photo.clamp(0, 1), quality) - photo).square().mean() for quality in (95, 60, 20)]
    assert damage == sorted(damage)


def test_444_keeps_more_colour_than_420():
    stripes = torch.zeros(1, 3, 32, 32)
    stripes[:, 0, :, ::2] = 1
    stripes[:, 2, :, 1::2] = 1
    full, halved = ((jpeg(stripes, 90, s) - stripes).abs().mean() for s in ("4:4:4", "4:2:0"))
    assert full < halved / 2


@pytest.mark.parametrize("arguments", [(0, "4:2:0"), (101, "4:2:0"), (50, "4:1:0")])
def test_jpeg_refuses_what_no_encoder_takes(arguments):
    with pytest.raises(ValueError, match=r"jpeg: (quality must be in 1..100|subsampling must be one of)"):
        jpeg(grey(0.5, 16), *arguments)


def test_an_unknown_resize_mode_is_refused():
    with pytest.raises(ValueError, match=r"mode must be one of .* got 'magic'"):
        resize(grey(0.5, 16), 8, 8, "magic")
