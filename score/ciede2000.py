"""CIEDE2000, the colour difference that follows human perception."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def ciede2000(lab_1: Tensor, lab_2: Tensor) -> Tensor:
    """Return the colour difference of L*a*b* pairs (B, 3, H, W): (B, H, W); 1 is about just noticeable.

    Sharma, Wu, Dalal 2005, "The CIEDE2000 color-difference formula: implementation notes, supplementary
    test data, and mathematical observations", equations 2 to 22 with k_L = k_C = k_H = 1. Symmetric.
    """
    (l_1, a_1, b_1), (l_2, a_2, b_2) = lab_1.unbind(dim=1), lab_2.unbind(dim=1)
    chroma = (torch.hypot(a_1, b_1) + torch.hypot(a_2, b_2)) / 2
    stretch = 1.5 - 0.5 * _saturating(chroma)
    c_1, h_1 = _polar(stretch * a_1, b_1)
    c_2, h_2 = _polar(stretch * a_2, b_2)

    turn = h_2 - h_1
    turn = torch.where(turn > 180, turn - 360, torch.where(turn < -180, turn + 360, turn))
    h_mean = (h_1 + turn / 2) % 360
    # 0 if one colour is grey; h_mean, for which the paper makes an exception, then has no effect.
    d_hue = 2 * (c_1 * c_2).sqrt() * (turn / 2).deg2rad().sin()
    c_mean, l_mean = (c_1 + c_2) / 2, (l_1 + l_2) / 2

    waves = ((1, -30, -0.17), (2, 0, 0.24), (3, 6, 0.32), (4, -63, -0.20))
    t = 1 + sum(height * (times * h_mean + shift).deg2rad().cos() for times, shift, height in waves)
    s_l = 1 + 0.015 * (l_mean - 50) ** 2 / (20 + (l_mean - 50) ** 2).sqrt()
    lightness, chroma, hue = (
        (l_2 - l_1) / s_l,
        (c_2 - c_1) / (1 + 0.045 * c_mean),
        d_hue / (1 + 0.015 * c_mean * t),
    )
    rotation = 60 * (-(((h_mean - 275) / 25) ** 2)).exp()
    blue = -rotation.deg2rad().sin() * 2 * _saturating(c_mean)
    return (lightness**2 + chroma**2 + hue**2 + blue * chroma * hue).clamp(min=0).sqrt()


def _saturating(chroma: Tensor) -> Tensor:
    return (chroma**7 / (chroma**7 + 25**7)).sqrt()


def _polar(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return chroma, and hue in degrees in [0, 360)."""
    return torch.hypot(a, b), torch.atan2(b, a) * (180 / math.pi) % 360
