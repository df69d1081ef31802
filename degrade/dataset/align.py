"""How far a damaged photo lies off its clean one, to a fraction of a pixel."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, grid_sample, pad

from ...image import luma

MEASURED_PX = 512  # the middle of larger photos is enough
SOFTENED = 1.0  # sigma in LR pixels: noise and blocks go, what both photos share stays
FLAT = 3 / 255  # standard deviation of a clean photo that shows too little to be found again
ROUNDS = 8


class Offset(NamedTuple):
    """Where the damaged photo shows what the clean one does, in pixels of the damaged one.

    Args:
        down: offset.
        right: offset.
        error: standard error of both.
        likeness: correlation of the two once laid upon each other; 1 is equal.
    """

    down: float
    right: float
    error: float
    likeness: float


def measure_offset(hr: Tensor, lr: Tensor) -> Offset | None:
    """Offset of lr (1, 3, H, W) from hr (1, 3, H * scale, W * scale), both in [0, 1].

    Least squares on the gradient of the clean photo (Lucas and Kanade, 1981), so that noise, which is in
    the damaged one alone, can't draw the result to zero. It starts from no offset and from the peak of the
    phase correlation; the better end counts.

    Returns:
        None if the clean photo is too small or too flat to tell.
    """
    scale = hr.shape[-1] // lr.shape[-1]
    clean, damaged = _soften(_middle(avg_pool2d(luma(hr), scale))), _soften(_middle(luma(lr)))
    if min(clean.shape) < 16 or clean.std() < FLAT:
        return None
    height, width = clean.shape
    weight = torch.hann_window(height)[:, None] * torch.hann_window(width)
    starts = {(0.0, 0.0), _peak(_centred(clean, weight) * weight, _centred(damaged, weight) * weight)}
    return max((_refine(clean, damaged, weight, start) for start in starts), key=lambda found: found.likeness)


def _middle(image: Tensor) -> Tensor:
    height, width = (min(side, MEASURED_PX) for side in image.shape[2:])
    top, left = (image.shape[2] - height) // 2, (image.shape[3] - width) // 2
    return image[:, :, top : top + height, left : left + width]


def _soften(image: Tensor) -> Tensor:
    """Gaussian blur of (1, 1, H, W), returned as (H, W)."""
    reach = math.ceil(3 * SOFTENED)
    kernel = torch.exp(-(torch.arange(-reach, reach + 1) ** 2) / (2 * SOFTENED**2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    image = pad(image, (reach, reach, reach, reach), mode="replicate")
    return conv2d(conv2d(image, kernel), kernel.mT)[0, 0]


def _centred(image: Tensor, weight: Tensor) -> Tensor:
    return image - (image * weight).sum() / weight.sum()


def _peak(clean: Tensor, damaged: Tensor) -> tuple[float, float]:
    """Offset in whole pixels by phase correlation of two (H, W), faded out to the borders."""
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
        step = step / step.abs().max().clamp_min(1)  # at most a pixel, as far as the gradient reaches
        down, right = down + float(step[0]), right + float(step[1])
    return Offset(down, right, error, likeness)


def _moved(image: Tensor, down: float, right: float) -> Tensor:
    """(H, W) moved by a fraction of pixels, bicubic."""
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
    """The offset still left, down and right, with its standard error.

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
    # Softening makes neighbours alike: 4 pi sigma^2 pixels count as one.
    variance = variance * 4 * math.pi * SOFTENED**2
    error = (variance * normal.diagonal()[:2].amax().clamp_min(0)).sqrt() / gain
    return solution[:2] / solution[2].sign() / gain, float(error)


def _likeness(moved: Tensor, damaged: Tensor, weight: Tensor) -> float:
    moved, damaged = _centred(moved, weight), _centred(damaged, weight)
    product = (weight * moved * damaged).sum()
    sizes = (weight * moved**2).sum() * (weight * damaged**2).sum()
    return float(product / sizes.sqrt().clamp_min(1e-12))
