from functools import partial

import pytest
import torch
from torch.distributions import Poisson

from ugc_sr.color import linear_to_srgb, srgb_to_linear
from ugc_sr.degrade.effects.noise import (
    correlated_noise,
    gaussian_noise,
    poisson_counts,
    poisson_noise,
    sensor_noise,
    shot_noise,
)

GREY_OR_NOT = [
    partial(gaussian_noise, sigma=8.0),
    partial(shot_noise, sigma=8.0),
    partial(poisson_noise, scale=1.0),
]


def grey(level, side=256):
    return torch.full((1, 3, side, side), level)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def ramp(rows):
    """Every 8-bit level in a column of its own."""
    return (torch.arange(256) / 255).expand(1, 3, rows, 256).contiguous()


@pytest.mark.parametrize("noise", GREY_OR_NOT)
def test_grey_noise_is_the_same_in_all_channels_and_coloured_noise_is_not(noise):
    photo = grey(0.5, 32)
    photo[..., ::2] = 0.3
    same, other = (noise(photo, grey=grey, generator=generator()) - photo for grey in (True, False))
    torch.testing.assert_close(same[:, 0], same[:, 2], atol=1e-6, rtol=0)
    assert (other[:, 0] - other[:, 2]).abs().mean() > 0.01


def test_shot_noise_variance_grows_with_the_light():
    dark, bright = (shot_noise(grey(level), 8.0, False, generator()).var() for level in (0.2, 0.8))
    assert (bright / dark).item() == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("mean", [0.05, 0.7, 2.0, 3.9, 4.1, 7.0, 30.0, 256.0])
def test_counts_are_distributed_as_photons_are(mean):
    normal = torch.randn(1_000_000, generator=generator())
    counts = poisson_counts(torch.ones(1_000_000), mean, normal)
    assert torch.equal(counts, counts.round())
    assert counts.min() >= 0
    assert counts.mean().item() == pytest.approx(mean, rel=0.01)
    assert counts.var().item() == pytest.approx(mean, rel=0.02)
    steps = torch.arange(400.0)
    expected = Poisson(mean).log_prob(steps).exp()
    found = torch.bincount(counts.long(), minlength=400) / len(counts)
    assert (found - expected).abs().sum() / 2 < 0.01


def test_no_light_gives_no_count():
    counts = poisson_counts(torch.zeros(1000), 1.0, torch.linspace(-8, 8, 1000))
    assert (counts == 0).all()


def test_counts_grow_with_the_normal_number_and_with_the_light():
    normal, levels = torch.linspace(-4, 4, 81), torch.arange(256.0)
    counts = poisson_counts(levels[:, None].expand(256, 81), 1.0, normal.expand(256, 81))
    assert (counts.diff(dim=0) >= 0).all()
    assert (counts.diff(dim=1) >= 0).all()


def test_poisson_noise_counts_whole_photons():
    photo = ramp(rows=8)
    photons = poisson_noise(photo, 1.0, False, generator()) * 256
    torch.testing.assert_close(photons, photons.round(), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("levels", "photons"), [(1, 1), (2, 2), (3, 4), (5, 8), (200, 256)])
def test_white_is_as_many_photons_as_the_photo_has_levels_rounded_up(levels, photons):
    pattern = torch.arange(levels).repeat(-(-40000 // levels))[:40000].view(1, 1, 200, 200) + 256 - levels
    photo = (pattern / 255).expand(1, 3, 200, 200)
    noise = poisson_noise(photo, 1.0, False, generator()) - photo
    assert (noise.var() / (photo.mean() / photons)).item() == pytest.approx(1, rel=0.03)


def test_every_photo_of_a_batch_counts_its_own_levels():
    photos = torch.cat([grey(0.7, 32), torch.rand(1, 3, 32, 32)])
    together = poisson_noise(photos, 1.0, False, generator())
    alone = [poisson_noise(photo, 1.0, False, generator()) for photo in photos.split(1)]
    assert torch.equal(together, torch.cat(alone))


def test_correlated_noise_is_correlated_between_channels_and_no_stronger_than_asked():
    for seed in range(5):
        noise = correlated_noise(grey(0.5), 20.0, generator(seed)) - 0.5
        assert noise.std(dim=(2, 3)).max().item() * 255 < 20.5
        between = torch.corrcoef(noise[0].flatten(1))
        assert between.fill_diagonal_(0).max() > 0.05


def test_the_covariance_is_drawn_too():
    first, second = (correlated_noise(grey(0.5), 20.0, generator(seed)).std(dim=(2, 3)) for seed in (0, 1))
    assert (first / second - 1).abs().max() > 0.1


@pytest.mark.parametrize("level", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("chroma", [0.0, 0.5, 1.0])
def test_sensor_noise_has_its_variance_in_linear_light(level, chroma):
    photo = linear_to_srgb(grey(level))
    noisy = sensor_noise(photo, 0.02, 0.005, chroma, 1.0, generator=generator())
    variance = srgb_to_linear(noisy).var(dim=(2, 3)).mean().item()
    assert variance == pytest.approx(level * 0.02**2 + 0.005**2, rel=0.03)


def test_chroma_is_the_share_of_colour_and_comes_in_blotches():
    photo = grey(0.5)
    bright, coloured = (
        sensor_noise(photo, 0.05, 0, chroma, generator=generator()) - photo for chroma in (0, 1)
    )
    assert torch.equal(bright[:, 0], bright[:, 1])
    assert coloured.mean(dim=1).std() < coloured.std() / 20

    def neighbours(noise):
        return torch.corrcoef(torch.stack([noise[:, 0, :, 1:].flatten(), noise[:, 0, :, :-1].flatten()]))[
            0, 1
        ]

    assert neighbours(bright).abs() < 0.02
    assert neighbours(coloured) > 0.7


def test_light_and_srgb_are_inverse_and_agree_at_the_ends():
    values = torch.linspace(-0.2, 1.5, 100).view(1, 1, 10, 10)
    torch.testing.assert_close(linear_to_srgb(srgb_to_linear(values)), values, atol=1e-5, rtol=0)
    assert srgb_to_linear(torch.tensor(1.0)).item() == pytest.approx(1)
    assert srgb_to_linear(torch.tensor(0.5)).item() == pytest.approx(0.2140, abs=1e-4)
