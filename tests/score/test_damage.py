import pytest
import torch
from torch.nn import functional as F

from ugc_sr.degrade.effects.codecs import jpeg
from ugc_sr.image import resize
from ugc_sr.score.damage import STATISTICS, measure


def of(name, photo):
    return STATISTICS[name].measure(photo)


def smooth(height=96, width=128):
    """A photo without fine detail, in three colours."""
    return resize(0.2 + 0.6 * torch.rand(1, 3, 6, 8), height, width).clamp(0, 1)


def bars(lip=0.0, soft=1):
    """Steps of half the range every 24 px, each with a lip of that share of the step on both sides."""
    low, high = 0.25, 0.75
    profile = torch.full((24,), low)
    profile[9:12] -= lip / 2
    profile[12:] = high
    profile[12:15] += lip / 2
    row = torch.cat([profile, profile.flip(0)]).repeat(4)
    photo = row.expand(1, 3, 64, -1)
    return F.avg_pool2d(photo, (1, soft), stride=1, padding=(0, soft // 2), count_include_pad=False)


def textured():
    return (smooth() + 0.08 * F.avg_pool2d(torch.randn(1, 1, 96, 128), 3, 1, 1)).clamp(0, 1)


@pytest.mark.parametrize("sigma", [1.0, 4.0, 12.0])
def test_noise_is_measured_to_a_tenth(sigma):
    photo = smooth()
    noisy = photo + sigma / 255 * torch.randn(1, 1, *photo.shape[2:])
    assert of("noise", noisy) == pytest.approx(sigma, rel=0.1)


def test_noise_made_coarse_by_a_blur_is_measured_as_grain():
    coarse = 8 / 255 * torch.randn(1, 1, 64, 64).repeat_interleave(3, 2).repeat_interleave(3, 3)
    noisy = (0.5 + F.avg_pool2d(coarse, 3, 1, 1)).expand(-1, 3, -1, -1)
    assert of("noise", noisy) < 2
    assert of("grain", noisy) > 8
    fine = 0.5 + 8 / 255 * torch.randn(1, 3, 192, 192).mean(1, keepdim=True).expand(-1, 3, -1, -1) * 3**0.5
    assert of("grain", fine) == pytest.approx(8, rel=0.2)
    assert of("noise", fine) == pytest.approx(8, rel=0.1)


def test_noise_is_not_taken_for_texture_elsewhere_in_the_photo():
    photo = torch.full((1, 3, 96, 128), 0.4)
    photo[..., 64:] += F.avg_pool2d(torch.randn(1, 1, 96, 64), 3, 1, 1)
    assert of("noise", photo.clamp(0, 1)) < 1


def test_clipped_places_do_not_hide_noise():
    photo = smooth()
    photo[:, :, :48] = 2.0
    noisy = (photo + 5 / 255 * torch.randn(1, 1, 96, 128)).clamp(0, 1)
    assert of("noise", noisy) == pytest.approx(5, rel=0.15)


@pytest.mark.parametrize("lip", [0.1, 0.3])
def test_a_halo_is_measured_as_a_share_of_its_edge(lip):
    assert of("overshoot", bars(lip)) == pytest.approx(lip, abs=0.01)
    assert of("overshoot", bars(lip).transpose(2, 3)) == pytest.approx(lip, abs=0.01)


@pytest.mark.parametrize("soft", [1, 3, 5])
def test_an_edge_without_halo_has_none_however_soft(soft):
    assert of("overshoot", bars(soft=soft)) == pytest.approx(0, abs=1e-4)


def test_blocks_grow_as_jpeg_quality_falls_and_a_crop_does_not_hide_them():
    photo = textured()
    blocky = [of("blockiness", jpeg(photo, quality, "4:4:4")) for quality in (90, 50, 15)]
    assert blocky == sorted(blocky)
    assert of("blockiness", photo) < 1.1
    assert blocky[-1] > 1.5
    assert of("blockiness", jpeg(photo, 15, "4:4:4")[:, :, 3:, 5:]) == pytest.approx(blocky[-1], rel=0.1)


def test_sharpness_and_detail_tell_an_enlargement_from_a_photo():
    photo = textured()
    fake = resize(resize(photo, 48, 64), 96, 128)
    assert of("sharpness", fake) < 0.8 * of("sharpness", photo)
    assert of("detail", fake) > of("detail", photo) + 3


def test_saturation_is_the_distance_of_the_channels():
    photo = torch.tensor([0.2, 0.5, 0.6]).view(1, 3, 1, 1).expand(1, 3, 40, 40)
    assert of("saturation", photo) == pytest.approx(0.4)
    assert of("saturation", photo.mean(1, keepdim=True).expand(-1, 3, -1, -1)) == 0


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_flat_photo_has_finite_figures(level):
    figures = measure(torch.full((1, 3, 33, 40), level))
    expected = {
        "noise": 0,
        "grain": 0,
        "sharpness": 0,
        "overshoot": 0,
        "blockiness": 1,
        "saturation": 0,
        "detail": 100,
    }
    assert figures == pytest.approx(expected, abs=0.01)


def test_of_a_large_photo_the_middle_is_measured():
    photo = torch.zeros(1, 3, 40, 1200)
    photo[..., 88:1112] = textured()[:, :, :40].repeat(1, 1, 1, 8)
    assert measure(photo) == measure(photo[..., 88:1112])


def test_a_photo_too_small_to_measure_is_refused():
    with pytest.raises(ValueError, match=r"40x31 px is too small to measure; 32 px a side are needed"):
        measure(torch.rand(1, 3, 31, 40))
