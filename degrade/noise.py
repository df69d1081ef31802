"""Sensor noise on gamma-encoded RGB, as in Real-ESRGAN (arXiv 2107.10833)."""

import torch
from torch import Tensor


def gaussian_noise(image: Tensor, sigma: float, grey: bool, generator: torch.Generator) -> Tensor:
    """Add white noise of standard deviation `sigma` in grey levels of 255; `grey` hits all channels alike."""
    channels = 1 if grey else image.shape[1]
    shape = (image.shape[0], channels, *image.shape[2:])
    noise = torch.randn(shape, generator=generator, device=image.device, dtype=image.dtype)
    return image + noise * (sigma / 255)


def shot_noise(image: Tensor, sigma: float, grey: bool, generator: torch.Generator) -> Tensor:
    """Add noise that grows with the square root of the signal and is `sigma` grey levels of 255 at white.

    The Gaussian limit of photon noise; `grey` draws one value a pixel.
    """
    channels = 1 if grey else image.shape[1]
    shape = (image.shape[0], channels, *image.shape[2:])
    noise = torch.randn(shape, generator=generator, device=image.device, dtype=image.dtype)
    return image + noise * image.clamp(0, 1).sqrt() * (sigma / 255)
