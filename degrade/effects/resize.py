"""Resizing as in cameras, editors and social networks."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ...image import resize as smooth_resize
from .effect import OneOf, Range, effect

MODES = ("area", "bilinear", "bicubic", "nearest", "lanczos")
Mode = Annotated[str, OneOf(MODES)]

LANCZOS_LOBES = 3
LARGEST_PX = 256_000_000  # as floats 3 GB; steps that each enlarge would soon need more than there is
BLOCK_PX = 64  # rows that one matrix makes


def _label(p: Mapping[str, Any]) -> tuple[float, str]:
    return max(0.0, -math.log2(p["factor"])), f"shrunk to {p['factor']:.0%}"


@effect(_label)
def rescale(
    image: Tensor, factor: Annotated[float, Range(0.02, 8)], mode: Mode, antialias: bool = True
) -> Tensor:
    """Resize (B, 3, H, W) by `factor`, to integer sizes of at least 1."""
    height, width = _times(tuple(image.shape[2:]), factor)
    return resize(image, height, width, mode, antialias)


@effect(_label)
def shrink(
    image: Tensor,
    mode: Mode,
    factor: Annotated[float, Range(0.05, 8)] = 1.0,
    antialias: bool = True,
    *,
    lr_size: tuple[int, int],
) -> Tensor:
    """Resize (B, 3, H, W) to `factor` times the size of the finished photo."""
    return resize(image, *_times(lr_size, factor), mode, antialias)


@effect(lambda p: (p["factor"] - 1, f"upscaled {p['factor']:.1f} times"), smooths=True)
def fake_hd(image: Tensor, factor: Annotated[float, Range(1, 4)], down: Mode, up: Mode) -> Tensor:
    """Shrink (B, 3, H, W) by `factor` and enlarge it to its size again, which loses detail."""
    height, width = image.shape[2:]
    return resize(resize(image, *_times((height, width), 1 / factor), down), height, width, up)


def resize(image: Tensor, height: int, width: int, mode: str, antialias: bool = True) -> Tensor:
    """Return (B, C, H, W) resized.

    With `antialias`, shrinking averages over all pixels, as in Pillow (bicubic with a = -0.5); without, it
    interpolates between the nearest ones, as torch's default (a = -0.75) and Real-ESRGAN do. 'area' always
    averages, 'nearest' never.

    Raises:
        ValueError: if `mode` is not one of `MODES`, or the result exceeds `LARGEST_PX`.
    """
    if mode not in MODES:
        raise ValueError(f"resize: mode must be one of {', '.join(MODES)}, got {mode!r}.")
    if height * width > LARGEST_PX:
        raise ValueError(
            f"resize: the photo would become {width}x{height} px; more than {LARGEST_PX // 1_000_000} "
            "megapixels can't be held. Use smaller factors, or a smaller photo."
        )
    if tuple(image.shape[2:]) == (height, width):
        return image
    if mode == "lanczos":
        return _lanczos(_lanczos(image, height, antialias).mT, width, antialias).mT.contiguous()
    if mode == "bilinear" and not antialias:
        return bilinear(image, height, width)
    if mode in ("bilinear", "bicubic"):
        if antialias:
            return smooth_resize(image, height, width, mode)
        return interpolate(image, size=(height, width), mode=mode)
    # Plain 'nearest' of torch shifts the photo by half a pixel.
    return interpolate(image, size=(height, width), mode="nearest-exact" if mode == "nearest" else mode)


def bilinear(image: Tensor, height: int, width: int, down: float = 0.0, right: float = 0.0) -> Tensor:
    """Return (B, C, H, W) resized bilinearly, moved by `down` and `right` pixels of the result.

    torch's own function differs in the last bit with the number of threads.
    """
    # Rows are quicker to pick than columns.
    across = _linear(image, height, down).transpose(2, 3).contiguous()
    return _linear(across, width, right).transpose(2, 3).contiguous()


def _linear(image: Tensor, size: int, shift: float) -> Tensor:
    """Interpolate linearly at `size` heights; outside, the border repeats."""
    height = image.shape[2]
    ratio = float(torch.tensor(height / size))  # in single precision, as torch has it
    place = (torch.arange(size, dtype=torch.float64) + 0.5 + shift) * ratio - 0.5  # Apple's GPUs lack float64
    place = place.clamp(0, height - 1).float().to(image.device)
    near = place.floor().long()
    weight = (place - near).to(image.dtype)[:, None]
    far = image.index_select(2, (near + 1).clamp(max=height - 1))
    return torch.lerp(image.index_select(2, near), far, weight)


def _times(size: tuple[int, ...], factor: float) -> tuple[int, int]:
    height, width = (max(1, round(side * factor)) for side in size)
    return height, width


def _lanczos(image: Tensor, height: int, antialias: bool) -> Tensor:
    """Resize the rows of (B, C, H, W) by a windowed sinc of three lobes."""
    ratio = image.shape[2] / height
    stretch = max(1.0, ratio) if antialias else 1.0
    reach = LANCZOS_LOBES * stretch
    blocks = []
    for start in range(0, height, BLOCK_PX):
        centres = (torch.arange(start, min(start + BLOCK_PX, height), dtype=torch.float64) + 0.5) * ratio
        low = max(0, int(centres[0] - reach))
        high = min(image.shape[2], int(centres[-1] + reach) + 1)
        places = torch.arange(low, high, dtype=torch.float64) + 0.5
        x = (places - centres[:, None]) / stretch
        weights = torch.where(x.abs() < LANCZOS_LOBES, torch.sinc(x) * torch.sinc(x / LANCZOS_LOBES), 0)
        weights = weights / weights.sum(dim=1, keepdim=True)
        blocks.append(weights.to(image) @ image[:, :, low:high])
    return torch.cat(blocks, dim=2)
