"""CIE L*a*b* and the colour difference that people see (CIEDE2000)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Linear sRGB -> XYZ: the primaries of ITU-R BT.709 with the white of D65.
XYZ_OF_RGB = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
D65 = (0.95047, 1.0, 1.08883)  # 2 degree observer


def lab(rgb: Tensor) -> Tensor:
    """(B, 3, H, W) sRGB in [0, 1] -> L* in [0, 100], a* and b*, white D65."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp(min=0) + 0.055) / 1.055) ** 2.4)
    xyz = torch.einsum("xc,bchw->bxhw", rgb.new_tensor(XYZ_OF_RGB), linear)
    ratio = xyz / rgb.new_tensor(D65).view(1, 3, 1, 1)
    knee = 6 / 29
    x, y, z = torch.where(ratio > knee**3, ratio ** (1 / 3), ratio / (3 * knee**2) + 4 / 29).unbind(dim=1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=1)


def ciede2000(lab_1: Tensor, lab_2: Tensor) -> Tensor:
    """Colour difference of (B, 3, H, W) L*a*b* pairs: (B, H, W), about 1 where people begin to see it.

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
    # 0 if one of them is grey; then h_mean, for which the paper makes an exception, has no effect.
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
    """Chroma, and hue in degrees from 0 to 360."""
    return torch.hypot(a, b), torch.atan2(b, a) * (180 / math.pi) % 360
