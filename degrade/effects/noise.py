"""Sensor noise, on gamma-coded RGB as in Real-ESRGAN (arXiv 2107.10833) or in linear light.

Noise is drawn once, on the CPU, for all photos of a batch, so that it is the same on every device and for a
photo alone.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor

from ...color import linear_to_srgb, srgb_to_linear
from . import kernels
from .blur import convolve
from .effect import Range, effect

Levels = Annotated[float, Range(0, 100)]

FEW = 3.0  # photons below which the approximation would be felt
MOST = 20  # counts with a mean of FEW exceed it once in 1e11
GREY = (0.2989, 0.587, 0.114)  # BT.601 as rounded in torchvision and BasicSR


def _label(p: Mapping[str, Any]) -> tuple[float, str]:
    return p["sigma"] / 15, f"{'grey ' if p['grey'] else ''}noise {p['sigma']:.0f}"


@effect(_label)
def gaussian_noise(image: Tensor, sigma: Levels, grey: bool, generator: torch.Generator) -> Tensor:
    """Add white noise of standard deviation `sigma` levels of 255; `grey` adds the same to all channels."""
    return torch.add(image, _normal(image, 1 if grey else 3, generator), alpha=sigma / 255)


@effect(_label)
def shot_noise(image: Tensor, sigma: Levels, grey: bool, generator: torch.Generator) -> Tensor:
    """Add noise that grows with the square root of the signal, `sigma` levels of 255 at white.

    This is the Gaussian limit of photon noise; `grey` adds the same to all channels.
    """
    return image + _normal(image, 1 if grey else 3, generator) * image.clamp(0, 1).sqrt() * (sigma / 255)


@effect(lambda p: (p["sigma"] / 15, f"coloured noise {p['sigma']:.0f}"))
def correlated_noise(image: Tensor, sigma: Levels, generator: torch.Generator) -> Tensor:
    """Add noise of a random colour to (B, 3, H, W), as in BSRGAN (arXiv 2103.14006).

    The covariance of the channels is drawn; no channel has a standard deviation above `sigma` levels of 255.
    """
    drawn = torch.rand((2, 3, 3), generator=generator, dtype=torch.float64)
    turn = torch.linalg.svd(drawn[0]).U
    covariance = (turn.mT @ drawn[1].diag().diag() @ turn).abs()
    variances, axes = torch.linalg.eigh(covariance)
    mixing = (axes * variances.abs().sqrt()).to(image) * (sigma / 255)
    return image + torch.einsum("ij,bjhw->bihw", mixing, _normal(image, 3, generator))


@effect(lambda p: (p["scale"], f"photon noise {p['scale']:.1f}"))
def poisson_noise(
    image: Tensor, scale: Annotated[float, Range(0, 5)], grey: bool, generator: torch.Generator
) -> Tensor:
    """Add photon noise to (B, 3, H, W), times `scale`, as in Real-ESRGAN.

    White is as many photons as the photo has 8-bit levels, rounded up to a power of two: 256 for most photos,
    whose standard deviation at white is `scale` * 16 levels. `grey` counts the photons of the grey photo and
    adds the same to all channels.
    """
    seen = (image * image.new_tensor(GREY).view(3, 1, 1)).sum(dim=1, keepdim=True) if grey else image
    levels = seen.mul(255).round_().clamp_(0, 255)
    normal = _normal(image, seen.shape[1], generator)
    noise = torch.cat([_photon_noise(photo, normal) for photo in levels.split(1)])
    return torch.add(image, noise, alpha=scale)


@effect(lambda p: (20 * p["shot"] + 40 * p["read"], "sensor noise"))
def sensor_noise(
    image: Tensor,
    shot: Annotated[float, Range(0, 1)],
    read: Annotated[float, Range(0, 0.1)],
    chroma: Annotated[float, Range(0, 1)],
    grain: Annotated[float, Range(0, 5)] = 1.5,
    *,
    generator: torch.Generator,
) -> Tensor:
    """Add sensor noise to (B, 3, H, W) in linear light: variance `shot`^2 * light + `read`^2.

    `shot` is the standard deviation at white, 1 / sqrt(photons per pixel at white), `read` that in the dark,
    both with white as 1. The share `chroma` of the variance is colour, blurred by a Gaussian of `grain`
    pixels (0: not at all), as denoisers leave it; the rest is luma.
    """
    light = srgb_to_linear(image)
    sigma = (light.clamp(0, 1) * shot**2 + read**2).sqrt()
    noise = (
        _normal(image, 1, generator) * (1 - chroma) ** 0.5 + _blotches(image, grain, generator) * chroma**0.5
    )
    return linear_to_srgb(light + sigma * noise)


def _normal(image: Tensor, channels: int, generator: torch.Generator, margin: int = 0) -> Tensor:
    """Return standard normal numbers (1, channels, H, W), with `margin` more pixels on every side."""
    shape = (1, channels, *(side + 2 * margin for side in image.shape[2:]))
    return torch.randn(shape, generator=generator, dtype=image.dtype).to(image.device)


def _photon_noise(levels: Tensor, normal: Tensor) -> Tensor:
    """Return the difference that counting photons makes to one photo, given in levels of 255."""
    count = torch.bincount(levels.flatten().to(torch.uint8), minlength=256).count_nonzero()
    white = 1 << (int(count) - 1).bit_length()
    return poisson_counts(levels, white / 255, normal).div_(white).sub_(levels, alpha=1 / 255)


def poisson_counts(levels: Tensor, photons: float, normal: Tensor) -> Tensor:
    """Return Poisson numbers with means `levels` * `photons`, at the quantiles of the numbers in `normal`.

    Levels are integers 0..255, of the shape of `normal`. From three photons on, this is the Cornish-Fisher
    expansion of the Poisson quantile (M. B. Giles, ACM TOMS 42(1), 2016, eq. 5), rounded down: mean and
    variance are right to 0.5 %. Below, it is the exact distribution.
    """
    mean = levels * photons
    root = mean.clamp(min=FEW).sqrt_()
    term = normal.square().add_(2)
    counts = torch.add(mean, term, alpha=1 / 6).addcmul_(normal, root)
    counts.sub_(term.mul_(normal).div_(root), alpha=1 / 72)
    counts = counts.floor_().clamp_(min=0).flatten()
    dark = (mean < FEW).flatten().nonzero().squeeze(1)
    if len(dark):
        counts[dark] = _few(levels.flatten()[dark], photons, normal.flatten()[dark])
    return counts.view(levels.shape)


def _few(levels: Tensor, photons: float, normal: Tensor) -> Tensor:
    """Return Poisson numbers from the exact distribution, for means below FEW."""
    counts = torch.zeros_like(normal)
    for level in torch.bincount(levels.to(torch.uint8)).nonzero().flatten().cpu().tolist():
        where = (levels == level).nonzero().squeeze(1)
        drawn = normal[where]
        few, most = torch.zeros_like(drawn), float(drawn.max())
        for threshold in _thresholds(level * photons):
            if threshold > most:
                break
            few += drawn > threshold
        counts[where] = few
    return counts


def _thresholds(mean: float) -> list[float]:
    """Return the normal numbers above which the count exceeds 0, 1, 2, ..."""
    counts = torch.arange(MOST, dtype=torch.float64)
    return (-torch.special.ndtri(torch.special.gammainc(counts + 1, torch.full_like(counts, mean)))).tolist()


def _blotches(image: Tensor, grain: float, generator: torch.Generator) -> Tensor:
    """Return smooth noise (1, 3, H, W) of variance 1 in each channel and no luma."""
    margin = math.ceil(3 * grain)  # the noise is mirrored there
    noise = _normal(image, 3, generator, margin)
    if grain:
        kernel = kernels.gaussian(0, grain)
        noise = convolve(noise, kernel) / float(kernel.square().sum().sqrt())
        noise = noise[:, :, margin : margin + image.shape[2], margin : margin + image.shape[3]]
    return (noise - noise.mean(dim=1, keepdim=True)) * 1.5**0.5
