import math

import pytest
import torch
from torch.testing import assert_close

from ugc_sr.sample.start import first_timestep, from_lr, from_noise

# Stable Diffusion's schedule: how much of the picture is left at each timestep.
ALPHAS = (1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2).cumprod(0)


def sigma(t):
    return math.sqrt((1 - ALPHAS[t]) / ALPHAS[t])


@pytest.fixture
def latent():
    return torch.randn(2, 4, 5, 3, dtype=torch.float64)


@pytest.fixture
def noise():
    return torch.randn(2, 4, 5, 3, dtype=torch.float64)


@pytest.mark.parametrize("t", [1, 501, 901, 981, 999])
def test_the_network_is_shown_t_999_whatever_it_is_told(latent, noise, t):
    x = from_lr(latent, noise, sigma(t), noisiest=sigma(999))
    shown = x / math.sqrt(sigma(t) ** 2 + 1)
    assert_close(shown, ALPHAS[999].sqrt() * latent + (1 - ALPHAS[999]).sqrt() * noise)


@pytest.mark.parametrize("t", [751, 981])
def test_a_start_from_noise_shows_the_noise_as_it_is(noise, t):
    assert_close(from_noise(noise, sigma(t)) / math.sqrt(sigma(t) ** 2 + 1), noise)


def test_told_the_last_level_it_is_the_hosts_own_start(latent, noise):
    assert_close(from_lr(latent, noise, sigma(999), noisiest=sigma(999)), latent + sigma(999) * noise)


@pytest.mark.parametrize(
    ("steps", "t"), [(1, 1), (2, 501), (4, 751), (7, 853), (10, 901), (30, 958), (50, 981), (1000, 1000)]
)
def test_ddpm_begins_at_the_last_multiple_of_its_stride(steps, t):
    assert first_timestep(steps) == t
