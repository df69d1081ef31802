"""Alignment of a damaged photo with its clean one, to a fraction of a pixel."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, pad

from ...color import luma
from ...score.damage import middle
from ...score.gaussian import gaussian

MEASURED_PX = 512  # side of the central square that is compared
BLUR_SIGMA = 1.0  # LR pixels: removes noise and blocks, which the photos don't share
FLAT = 3 / 255  # standard deviation below which a clean photo shows too little to be aligned
ROUNDS = 8


class Offset(NamedTuple):
    """The offset of a damaged photo from its clean one, in pixels of the damaged one.

    Attributes:
        down: vertical offset.
        right: horizontal offset.
        error: standard error of both.
        likeness: correlation of the two photos after alignment; 1 is equal.
    """

    down: float
    right: float
    error: float
    likeness: float


def measure_offset(hr: Tensor, lr: Tensor) -> Offset | None:
    """Return the offset of lr (1, 3, H, W) from hr (1, 3, H * scale, W * scale), both in [0, 1].

    Least squares on the gradient of the clean photo (Lucas and Kanade, 1981): noise of the damaged photo then
    can't bias the result towards zero. The search starts at zero and at the peak of the phase correlation;
    the result with the higher correlation is returned.

    Returns:
        None if the clean photo is too small or too flat.
    """
    scale = hr.shape[-1] // lr.shape[-1]
    clean, damaged = _softened(avg_pool2d(luma(hr), scale)), _softened(luma(lr))
    if min(clean.shape) < 16 or clean.std() < FLAT:
        return None
    height, width = clean.shape
    weight = torch.hann_window(height)[:, None] * torch.hann_window(width)
    starts = {(0.0, 0.0), _peak(_centred(clean, weight) * weight, _centred(damaged, weight) * weight)}
    return max((_refine(clean, damaged, weight, start) for start in starts), key=lambda found: found.likeness)


def _softened(image: Tensor) -> Tensor:
    """Return the middle of (1, 1, H, W), blurred, as (H, W)."""
    radius = math.ceil(3 * BLUR_SIGMA)
    padded = pad(middle(image, MEASURED_PX), (radius,) * 4, mode="replicate")
    return gaussian(padded, BLUR_SIGMA, radius)[0, 0]


def _centred(image: Tensor, weight: Tensor) -> Tensor:
    return image - (image * weight).sum() / weight.sum()


def _peak(clean: Tensor, damaged: Tensor) -> tuple[float, float]:
    """Return the offset of two windowed images (H, W) in whole pixels, by phase correlation."""
    spectrum = torch.fft.rfft2(damaged) * torch.fft.rfft2(clean).conj()
    size = spectrum.abs()
    correlation = torch.fft.irfft2(spectrum / (size + 0.01 * size.mean() + 1e-12), s=clean.shape)
    peak = divmod(int(correlation.argmax()), clean.shape[1])
    down, right = (at - side if at > side // 2 else at for at, side in zip(peak, clean.shape, strict=True))
    return float(down), float(right)


def _refine(clean: Tensor, damaged: Tensor, weight: Tensor, start: tuple[float, float]) -> Offset:
    down, right = start
    error = likeness = 0.0
    for _ in range(ROUNDS):
        moved = _moved(clean, down, right)
        step, error = _step(moved, damaged, weight)
        likeness = _likeness(moved, damaged, weight)
        if step.abs().max() < 0.002:
            break
        step = step / step.abs().max().clamp_min(1)  # at most one pixel, the reach of the gradient
        down, right = down + float(step[0]), right + float(step[1])
    return Offset(down, right, error, likeness)


def _moved(image: Tensor, down: float, right: float) -> Tensor:
    """Return (H, W) moved by fractions of a pixel, bicubic."""
    grid = [
        (torch.arange(side) - by) * (2 / (side - 1)) - 1
        for side, by in zip(image.shape, (down, right), strict=True)
    ]
    rows, columns = torch.meshgrid(*grid, indexing="ij")
    sampled = grid_sample(
        image[None, None],
        torch.stack((columns, rows), dim=-1)[None],
        mode="bicubic",
        padding_mode="border",
        align_corners=True,
    )
    return sampled[0, 0]


def _step(moved: Tensor, damaged: Tensor, weight: Tensor) -> tuple[Tensor, float]:
    """Return the remaining offset, down and right, with its standard error.

    Solves damaged = gain * (moved - down * d/dy moved - right * d/dx moved) + bias.
    """
    rows, columns = torch.gradient(moved)
    terms = torch.stack((-rows, -columns, moved, torch.ones_like(moved)), dim=-1).reshape(-1, 4).double()
    weighted = terms * weight.reshape(-1, 1)
    normal = torch.linalg.pinv(weighted.mT @ terms)
    solution = normal @ (weighted.mT @ damaged.reshape(-1).double())
    residual = damaged.reshape(-1) - terms @ solution
    variance = (weight.reshape(-1) * residual**2).sum() / weight.sum()
    gain = solution[2].abs().clamp_min(1e-6)
    # The blur correlates neighbours: 4 pi sigma^2 pixels count as one.
    variance = variance * 4 * math.pi * BLUR_SIGMA**2
    error = (variance * normal.diagonal()[:2].amax().clamp_min(0)).sqrt() / gain
    return solution[:2] / solution[2].sign() / gain, float(error)


def _likeness(moved: Tensor, damaged: Tensor, weight: Tensor) -> float:
    moved, damaged = _centred(moved, weight), _centred(damaged, weight)
    product = (weight * moved * damaged).sum()
    sizes = (weight * moved**2).sum() * (weight * damaged**2).sum()
    return float(product / sizes.sqrt().clamp_min(1e-12))
