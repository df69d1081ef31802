"""Blur by a Gaussian point-spread function, round or stretched."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def gaussian_kernel(sigma_x: float, sigma_y: float, angle: float) -> Tensor:
    """Gaussian of standard deviations `sigma_x`, `sigma_y` in pixels, turned by `angle` in radians.

    Returns:
        (K, K) float32 that sums to 1; K is odd and spans three deviations on each side.

    Raises:
        ValueError: if a deviation is not positive.
    """
    if sigma_x <= 0 or sigma_y <= 0:
        raise ValueError(f"blur: sigma_x and sigma_y must be > 0 pixels, got {sigma_x} and {sigma_y}.")
    radius = max(1, math.ceil(3 * max(sigma_x, sigma_y)))
    axis = torch.arange(-radius, radius + 1, dtype=torch.float32)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    u = x * math.cos(angle) + y * math.sin(angle)
    v = y * math.cos(angle) - x * math.sin(angle)
    kernel = torch.exp(-0.5 * ((u / sigma_x) ** 2 + (v / sigma_y) ** 2))
    return kernel / kernel.sum()


def blur(image: Tensor, sigma: float, stretch: float = 1.0, angle: float = 0.0) -> Tensor:
    """Blur (B, 3, H, W) by `sigma` pixels, `stretch` times that across `angle`; borders are replicated."""
    kernel = gaussian_kernel(sigma, sigma * stretch, angle).to(image)
    radius = kernel.shape[0] // 2
    channels = image.shape[1]
    padded = F.pad(image, (radius,) * 4, mode="replicate")
    return F.conv2d(padded, kernel.expand(channels, 1, -1, -1), groups=channels)
