"""Blur by a point-spread function: lens, defocus, motion, and the low-pass filters of resampling."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...image import mirror_indices
from . import kernels
from .effect import OneOf, Range, effect

SIZES = tuple(range(3, 52, 2))

Sigma = Annotated[float, Range(0.01, 20)]
Other = Annotated[float, Range(0, 20)]  # 0 means the same as sigma_x
Angle = Annotated[float, Range(-3.15, 3.15)]
Size = Annotated[int, OneOf((0, *SIZES))]  # 0 means three standard deviations on each side
Beta = Annotated[float, Range(0.005, 8)]

BLOCK_PX = 16  # columns or rows that one convolution makes; the width of a vector unit
DIRECT_PX = 13  # largest kernel for which a Fourier transform is not faster
SAME = 1e-7  # difference between kernels that float32 can't resolve


def _label(p: Mapping[str, Any]) -> tuple[float, str]:
    width = max(p["sigma_x"], p["sigma_y"])
    return width / 2, f"blur {width:.1f} px"


@effect(_label, smooths=True)
def gaussian_blur(
    image: Tensor, sigma_x: Sigma, sigma_y: Other = 0.0, angle: Angle = 0.0, size: Size = 0
) -> Tensor:
    """Blur (B, 3, H, W) by a Gaussian of `sigma_x` and `sigma_y` pixels, turned by `angle` radians.

    `sigma_y` 0 makes it round. `size` is the odd side of the kernel; 0 covers three standard deviations.
    """
    return convolve(image, kernels.gaussian(size, sigma_x, sigma_y, angle))


@effect(_label, smooths=True)
def generalized_blur(
    image: Tensor, sigma_x: Sigma, beta: Beta, sigma_y: Other = 0.0, angle: Angle = 0.0, size: Size = 0
) -> Tensor:
    """Blur (B, 3, H, W) by a generalized Gaussian (arXiv 1302.6498); `beta` 1 is the Gaussian."""
    return convolve(image, kernels.generalized_gaussian(size, sigma_x, sigma_y, angle, beta))


@effect(_label, smooths=True)
def plateau_blur(
    image: Tensor, sigma_x: Sigma, beta: Beta, sigma_y: Other = 0.0, angle: Angle = 0.0, size: Size = 0
) -> Tensor:
    """Blur (B, 3, H, W) by the flat-topped kernel of Real-ESRGAN (arXiv 2107.10833), steeper with `beta`."""
    return convolve(image, kernels.plateau(size, sigma_x, sigma_y, angle, beta))


@effect(lambda p: ((math.pi - p["cutoff"]) / 2, "ringing"), smooths=True)
def sinc_blur(
    image: Tensor, size: Annotated[int, OneOf(SIZES)], cutoff: Annotated[float, Range(0.1, 3.1416)]
) -> Tensor:
    """Remove frequencies above `cutoff` radians per pixel from (B, 3, H, W), which leaves ringing."""
    return convolve(image, kernels.sinc(size, cutoff))


@effect(lambda p: (p["radius"] / 2.5, f"out of focus {p['radius']:.1f} px"), smooths=True)
def defocus_blur(image: Tensor, radius: Annotated[float, Range(0.1, 20)]) -> Tensor:
    """Defocus (B, 3, H, W): every point becomes a disc of `radius` pixels."""
    return convolve(image, kernels.disc(radius))


@effect(lambda p: (p["length"] / 6, f"shaken {p['length']:.0f} px"), smooths=True)
def motion_blur(image: Tensor, length: Annotated[float, Range(1, 50)], angle: Angle) -> Tensor:
    """Add camera shake to (B, 3, H, W): every point becomes a line of `length` pixels."""
    return convolve(image, kernels.line(length, angle))


def convolve(image: Tensor, kernel: Tensor) -> Tensor:
    """Return each channel of (B, C, H, W) convolved with a kernel (K, K), K odd; borders are mirrored.

    A kernel of a single 1 returns the photo itself. For one channel of 512x512 px on one core, torch's
    convolution takes 28 ms with 7x7 and 44 ms with 21x21 taps. Making BLOCK_PX columns at a time takes 2 and
    7 ms, a Fourier transform 5 ms at any size, and two passes 1.5 ms, for kernels that are the product of a
    column and a row, such as a round Gaussian.
    """
    size = kernel.shape[0]
    if kernel[size // 2, size // 2] == 1:
        return image
    planes = image.flatten(0, 1)
    if image.device.type != "cpu":  # a GPU is faster with all planes at once, and convolves with 10 bits
        return torch.cat(list(_by_fourier([planes], kernel))).view(image.shape)
    parts = planes.split(1)  # one plane at a time fits a CPU's cache
    column, row = kernel.sum(1, keepdim=True), kernel.sum(0, keepdim=True)  # the kernel sums to 1
    if (column * row - kernel).abs().max() < SAME:
        done = _in_blocks(parts, [column, row])
    elif size <= DIRECT_PX:
        done = _in_blocks(parts, [kernel])
    else:
        done = _by_fourier(parts, kernel)
    return torch.cat(list(done)).view(image.shape)


def _in_blocks(parts: Sequence[Tensor], passes: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yield each part convolved with all `passes`: BLOCK_PX rows at a time for a column, else columns."""
    height, width = parts[0].shape[1:]
    reach = max(passes[0].shape) - 1
    sizes = [-(-side // BLOCK_PX) * BLOCK_PX + reach for side in (height, width)]
    shifted = [_shifted(weights).to(parts[0]) for weights in passes]
    for part in parts:
        plane = _mirrored(part, reach // 2, sizes)
        for weights in shifted:
            if weights.shape[3] == 1:
                blocks = F.conv2d(plane[:, None], weights, stride=(BLOCK_PX, 1))
                plane = blocks.transpose(1, 2).flatten(1, 2)  # (n, BLOCK_PX, blocks, w) before
            else:
                # With channels last, torch returns the BLOCK_PX channels side by side.
                blocks = F.conv2d(plane[..., None].permute(0, 3, 1, 2), weights, stride=(1, BLOCK_PX))
                plane = blocks.permute(0, 2, 3, 1).flatten(2)
        yield plane[:, :height, :width]


def _shifted(weights: Tensor) -> Tensor:
    """(h, w) -> (BLOCK_PX, 1, h, w + BLOCK_PX - 1): copies, each one further right; columns move down."""
    if weights.shape[1] == 1:
        return _shifted(weights.T).mT
    width = weights.shape[1] + BLOCK_PX - 1
    windows = F.pad(weights, (BLOCK_PX - 1, BLOCK_PX - 1)).unfold(1, width, 1)  # (h, BLOCK_PX, width)
    return windows.flip(1).transpose(0, 1)[:, None]


def _by_fourier(parts: Sequence[Tensor], kernel: Tensor) -> Iterator[Tensor]:
    height, width = parts[0].shape[1:]
    reach = kernel.shape[0] - 1
    sizes = [_fast(side + reach) for side in (height, width)]
    turned = kernel.flip(0, 1).to(parts[0])  # correlation, as in networks and OpenCV
    # Rows first, then columns: a 2-D transform would also process the empty rows.
    spectrum = torch.fft.fft(torch.fft.rfft(turned, n=sizes[1]), n=sizes[0], dim=0)
    for part in parts:
        padded = _mirrored(part, reach // 2, sizes)
        whole = torch.fft.irfft2(torch.fft.rfft2(padded).mul_(spectrum), s=sizes)
        # Circular wrap-around affects only the first rows and columns.
        yield whole[:, reach : reach + height, reach : reach + width]


def _mirrored(planes: Tensor, before: int, sizes: Sequence[int]) -> Tensor:
    """Return planes mirrored out to `sizes`, with `before` of the new pixels above and to the left."""
    height, width = planes.shape[1:]
    below, right = sizes[0] - height - before, sizes[1] - width - before
    if max(before, below) < height and max(before, right) < width:
        return F.pad(planes, (before, right, before, below), mode="reflect")
    for dim, size in enumerate(sizes, start=1):
        index = mirror_indices(planes.shape[dim], -before, size - before, planes.device)
        planes = planes.index_select(dim, index)
    return planes


def _fast(size: int) -> int:
    """Return the next even size without prime factors but 2, 3 and 5, fast for Fourier transforms."""
    size += size % 2
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 2
