"""Gaussian blur."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def blur(x: Tensor, sigma: float, radius: int) -> Tensor:
    """Return each channel of (B, C, H, W) blurred by a Gaussian, with mirrored borders."""
    single = F.pad(x, (radius,) * 4, mode="reflect").flatten(0, 1)[:, None]
    return gaussian(single, sigma=sigma, radius=radius).view_as(x)


def gaussian(x: Tensor, sigma: float, radius: int) -> Tensor:
    """Return (B, 1, H, W) blurred where the kernel fits, 2 * radius pixels smaller each way."""
    at = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    kernel = (-(at**2) / (2 * sigma**2)).exp()
    kernel = kernel / kernel.sum()
    return F.conv2d(F.conv2d(x, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
