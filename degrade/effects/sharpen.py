"""Sharpening as in editors and phones, and of Real-ESRGAN's targets."""

from typing import Annotated

import torch
from torch import Tensor

from . import kernels
from .blur import convolve
from .effect import OneOf, Range, effect


@effect(lambda p: (p["amount"] / 2, f"sharpened {p['amount']:.1f}"))
def sharpen(
    image: Tensor, amount: Annotated[float, Range(0, 5)], radius: Annotated[float, Range(0.3, 10)]
) -> Tensor:
    """Sharpen (B, 3, H, W) by an unsharp mask, which leaves halos at edges; the result is not clamped.

    It adds `amount` times the difference from the photo blurred by a Gaussian of `radius` pixels.
    """
    return torch.add(image, image - convolve(image, kernels.gaussian(0, radius)), alpha=amount)


@effect(lambda p: (p["weight"], "sharpened"))
def usm(
    image: Tensor,
    weight: Annotated[float, Range(0, 2)] = 0.5,
    radius: Annotated[int, OneOf(tuple(range(1, 102, 2)))] = 51,
    threshold: Annotated[float, Range(0, 255)] = 10,
) -> Tensor:
    """Sharpen (B, 3, H, W) in [0, 1] near edges only, as the targets of Real-ESRGAN (arXiv 2107.10833).

    The defaults are its own (it asks for radius 50 and takes the next odd one). Edges are pixels where the
    photo and its blur with a kernel of `radius` pixels differ by more than `threshold` levels of 255; there,
    `weight` times the difference is added.
    """
    kernel = kernels.aperture(radius)
    channels = [_usm(channel, weight, kernel, threshold) for channel in image.split(1, dim=1)]
    return torch.cat(channels, dim=1)


def _usm(image: Tensor, weight: float, kernel: Tensor, threshold: float) -> Tensor:
    residual = image - convolve(image, kernel)
    edges = convolve(residual.abs().mul_(255).gt_(threshold), kernel)
    change = torch.add(image, residual, alpha=weight).clamp_(0, 1).sub_(image)
    return torch.addcmul(image, edges, change)
