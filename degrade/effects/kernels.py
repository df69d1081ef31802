"""Blur kernels: (K, K) float32, K odd, that sum to 1; numbers follow the conventions of BasicSR.

The Gaussian and its relatives are turned by `angle` radians and have standard deviations of `sigma_x` and
`sigma_y` pixels. A `sigma_y` of 0 equals `sigma_x`. A `size` of 0 covers three deviations on each side.
"""

import math

import torch
from torch import Tensor


def gaussian(size: int, sigma_x: float, sigma_y: float = 0.0, angle: float = 0.0) -> Tensor:
    """Return a Gaussian."""
    return _normalised(torch.exp(-0.5 * _distance(size, sigma_x, sigma_y, angle)))


def generalized_gaussian(size: int, sigma_x: float, sigma_y: float, angle: float, beta: float) -> Tensor:
    """Return a Gaussian whose exponent is raised to `beta`: 1 is the Gaussian, more flattens the top."""
    return _normalised(torch.exp(-0.5 * _distance(size, sigma_x, sigma_y, angle) ** beta))


def plateau(size: int, sigma_x: float, sigma_y: float, angle: float, beta: float) -> Tensor:
    """Return a flat-topped kernel with slow decay: 1 / (1 + d^(2 beta)), d in standard deviations."""
    return _normalised(1 / (1 + _distance(size, sigma_x, sigma_y, angle) ** beta))


def sinc(size: int, cutoff: float) -> Tensor:
    """Return the ideal low-pass filter up to `cutoff` radians per pixel (pi: all pass), cut off at `size`."""
    x, y = _grid(size)
    radius = (x**2 + y**2).sqrt()
    centre = size // 2
    radius[centre, centre] = 1  # its limit is put in below
    kernel = cutoff * torch.special.bessel_j1(cutoff * radius) / (2 * math.pi * radius)
    kernel[centre, centre] = cutoff**2 / (4 * math.pi)
    return _normalised(kernel)


def disc(radius: float) -> Tensor:
    """Return a disc of `radius` pixels with a soft edge one pixel wide: a defocused point."""
    x, y = _grid(2 * math.ceil(radius) + 1)
    return _normalised((radius + 0.5 - (x**2 + y**2).sqrt()).clamp(0, 1))


def line(length: float, angle: float) -> Tensor:
    """Return a line of `length` pixels at `angle` radians: a point that moved during the exposure."""
    x, y = _grid(2 * math.ceil(length / 2) + 1)
    along = x * math.cos(angle) + y * math.sin(angle)
    across = y * math.cos(angle) - x * math.sin(angle)
    return _normalised((length / 2 + 0.5 - along.abs()).clamp(0, 1) * (1 - across.abs()).clamp(min=0))


def aperture(size: int) -> Tensor:
    """Return OpenCV's Gaussian for a kernel size above 9 without a given sigma."""
    return gaussian(size, 0.3 * ((size - 1) * 0.5 - 1) + 0.8)


def _grid(size: int) -> tuple[Tensor, Tensor]:
    axis = torch.arange(size, dtype=torch.float64) - size // 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return x, y


def _distance(size: int, sigma_x: float, sigma_y: float, angle: float) -> Tensor:
    """Return the squared distance from the centre in standard deviations."""
    sigma_y = sigma_y or sigma_x
    x, y = _grid(size or 2 * math.ceil(3 * max(sigma_x, sigma_y)) + 1)
    u = x * math.cos(angle) + y * math.sin(angle)
    v = y * math.cos(angle) - x * math.sin(angle)
    return (u / sigma_x) ** 2 + (v / sigma_y) ** 2


def _normalised(kernel: Tensor) -> Tensor:
    return (kernel / kernel.sum()).float()
