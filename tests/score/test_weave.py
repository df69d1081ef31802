import numpy as np
import pytest
import torch
from skimage import data

from ugc_sr.score.measures import grid
from ugc_sr.score.weave import weave

# What 95 % of 155 crops of clean photos have, 512x512 px, at full and at half size.
LOW, HIGH = 0.77, 1.07


def photo(pixels):
    return torch.from_numpy(pixels[:448, :448].copy()).movedim(-1, 0)[None].double() / 255


@pytest.fixture(scope="module", params=[data.astronaut, data.coffee], ids=lambda f: f.__name__)
def clean(request):
    return photo(request.param()[..., :3])


def places(height, width):
    return torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")


# Each of 1 grey level from top to bottom, and of the period 4 px, the last of 2 px.
WEAVES = {
    "squares": lambda y, x: (y // 2 + x // 2) % 2,
    "columns": lambda y, x: x % 4 == 0,
    "lattice": lambda y, x: (x % 4 == 0) | (y % 4 == 0),
    "board": lambda y, x: (x + y) % 2,
}


def woven(clean, name="squares"):
    return clean + WEAVES[name](*places(*clean.shape[-2:])).double() / 255


def test_a_clean_photo_is_within_the_spread_of_clean_photos(clean):
    assert LOW < grid(clean).item() < HIGH


@pytest.mark.parametrize("name", WEAVES)
def test_a_weave_of_one_grey_level_is_out(clean, name):
    assert grid(woven(clean, name)).item() > HIGH


def test_the_place_of_the_weave_does_not_matter(clean):
    shifted = torch.cat([clean[..., 1:], clean[..., :1]], dim=-1)
    assert grid(woven(shifted)).item() == pytest.approx(grid(woven(clean)).item(), rel=0.05)


@pytest.mark.parametrize("period", [3, 5, 8])
def test_a_pattern_of_another_period_is_no_weave(period):
    """That of JPEG is 8 px, and another metric's."""
    _, x = places(512, 512)
    noise = torch.randn(512, 512, generator=torch.Generator().manual_seed(0)).double()
    pattern = 8 * torch.sin(2 * np.pi * x / period)
    assert weave((128 + noise + pattern)[None, None]).item() == pytest.approx(1, abs=0.2)


def test_a_wave_in_noise_has_the_ratio_that_the_window_gives():
    """A wave of amplitude A has A^2 / 4 of a Hann window's 1024^2 / 576, beside the noise and rounding.

    It is one of nine frequencies; each of the others has about 1.
    """
    _, x = places(512, 512)
    noise = torch.randn(512, 512, generator=torch.Generator().manual_seed(0)).double()
    wave = 2 * torch.sin(2 * np.pi * x / 4)
    expected = (2**2 / 4 * 1024**2 / 576 / (1 + 1 / 12) + 8) / 9
    assert weave((128 + noise + wave)[None, None]).item() == pytest.approx(expected, rel=0.25)


def test_white_noise_and_flat_pictures_have_none():
    noise = 128 + 10 * torch.randn(1, 1, 512, 512, generator=torch.Generator().manual_seed(0)).double()
    assert weave(noise).item() == pytest.approx(1, abs=0.2)
    assert weave(torch.full((2, 1, 128, 150), 7.0).double()).tolist() == pytest.approx([1, 1])
