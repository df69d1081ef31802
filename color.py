"""Colour spaces: BT.601 luma, the sRGB transfer curve, CIE L*a*b*."""

from __future__ import annotations

import torch
from torch import Tensor

BT601 = (0.299, 0.587, 0.114)  # weights of R, G and B in luma
# Linear sRGB -> XYZ: the primaries of ITU-R BT.709 with the white point D65.
XYZ_OF_RGB = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
D65 = (0.95047, 1.0, 1.08883)  # 2 degree observer


def grey(rgb: Tensor) -> Tensor:
    """Return full-range BT.601 luma, as in JPEG, of RGB (B, 3, H, W): (B, 1, H, W), of the same range."""
    red, green, blue = rgb.unbind(1)
    return (BT601[0] * red + BT601[1] * green + BT601[2] * blue).unsqueeze(1)


def luma(rgb: Tensor) -> Tensor:
    """Return studio-range BT.601 luma of RGB (B, 3, H, W) in [0, 1]: (B, 1, H, W) in [16/255, 235/255]."""
    return (219 * grey(rgb) + 16) / 255


def srgb_to_linear(rgb: Tensor) -> Tensor:
    """Return linear light of gamma-coded sRGB, both 1 at white (IEC 61966-2-1); negatives stay negative."""
    return torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp(min=0) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(light: Tensor) -> Tensor:
    """Return the inverse of `srgb_to_linear`."""
    curved = 1.055 * light.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(light <= 0.0031308, light * 12.92, curved)


def lab(rgb: Tensor) -> Tensor:
    """Return CIE L*a*b* of sRGB (B, 3, H, W) in [0, 1]: L* in [0, 100], a* and b*, white point D65."""
    xyz = torch.einsum("xc,bchw->bxhw", rgb.new_tensor(XYZ_OF_RGB), srgb_to_linear(rgb))
    ratio = xyz / rgb.new_tensor(D65).view(1, 3, 1, 1)
    knee = 6 / 29
    x, y, z = torch.where(ratio > knee**3, ratio ** (1 / 3), ratio / (3 * knee**2) + 4 / 29).unbind(dim=1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=1)
