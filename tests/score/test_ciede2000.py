from io import StringIO

import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000, rgb2lab

from ugc_sr.color import lab
from ugc_sr.score.ciede2000 import ciede2000
from ugc_sr.score.measures import color_difference

# Sharma, Wu, Dalal 2005, table 1: L*, a*, b* of both colours and their difference.
PAIRS = np.loadtxt(
    StringIO("""
    50 2.6772 -79.7751 50 0 -82.7485 2.0425
    50 3.1571 -77.2803 50 0 -82.7485 2.8615
    50 2.8361 -74.0200 50 0 -82.7485 3.4412
    50 -1.3802 -84.2814 50 0 -82.7485 1
    50 -1.1848 -84.8006 50 0 -82.7485 1
    50 -0.9009 -85.5211 50 0 -82.7485 1
    50 0 0 50 -1 2 2.3669
    50 -1 2 50 0 0 2.3669
    50 2.4900 -0.0010 50 -2.4900 0.0009 7.1792
    50 2.4900 -0.0010 50 -2.4900 0.0010 7.1792
    50 2.4900 -0.0010 50 -2.4900 0.0011 7.2195
    50 2.4900 -0.0010 50 -2.4900 0.0012 7.2195
    50 -0.0010 2.4900 50 0.0009 -2.4900 4.8045
    50 -0.0010 2.4900 50 0.0010 -2.4900 4.8045
    50 -0.0010 2.4900 50 0.0011 -2.4900 4.7461
    50 2.5 0 50 0 -2.5 4.3065
    50 2.5 0 73 25 -18 27.1492
    50 2.5 0 61 -5 29 22.8977
    50 2.5 0 56 -27 -3 31.9030
    50 2.5 0 58 24 15 19.4535
    50 2.5 0 50 3.1736 0.5854 1
    50 2.5 0 50 3.2972 0 1
    50 2.5 0 50 1.8634 0.5757 1
    50 2.5 0 50 3.2592 0.3350 1
    60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
    63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
    61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
    35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
    22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
    36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
    90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
    90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
    6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
    2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
    """)
)


def colors(rows):
    """(N, 3) -> (1, 3, 1, N)."""
    return torch.from_numpy(rows.T.copy())[None, :, None]


def test_the_published_pairs_have_their_published_differences():
    found = ciede2000(colors(PAIRS[:, :3]), colors(PAIRS[:, 3:6]))[0, 0]
    assert found.numpy() == pytest.approx(PAIRS[:, 6], abs=5.1e-5)


def test_random_colors_differ_as_in_scikit_image():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 100, 100, 3), dtype=np.uint8)
    theirs = [rgb2lab(p) for p in pixels]
    expected = deltaE_ciede2000(*theirs)
    same_lab = ciede2000(*(torch.from_numpy(p).movedim(-1, 0)[None] for p in theirs))
    assert same_lab[0].numpy() == pytest.approx(expected, abs=1e-9)
    from_rgb = ciede2000(*(lab(torch.from_numpy(p / 255).movedim(-1, 0)[None]) for p in pixels))
    assert from_rgb.mean().item() == pytest.approx(expected.mean(), abs=1e-5)
    # its straight part of L*a*b*, near black, has rounded constants
    assert from_rgb[0].numpy() == pytest.approx(expected, abs=2e-4)


def test_white_grey_and_black_have_no_hue():
    greys = torch.tensor([0.0, 0.01, 0.5, 1.0], dtype=torch.float64).view(1, 1, 1, 4).expand(1, 3, 1, 4)
    lightness, a, b = lab(greys)[0, :, 0]
    assert lightness[0].item() == pytest.approx(0, abs=1e-9)
    assert lightness[3].item() == pytest.approx(100, abs=1e-9)
    assert torch.stack([a, b]).abs().max() < 0.02


def test_texture_of_the_right_mean_is_no_color_difference():
    flat = torch.full((1, 3, 64, 64), 128 / 255)
    checks = flat.clone()
    checks[..., ::2] += 20 / 255
    checks[..., 1::2] -= 20 / 255
    assert color_difference(checks, flat).item() < 0.05
    assert color_difference(flat + 20 / 255, flat).item() > 4
