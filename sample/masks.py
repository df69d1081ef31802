"""Masked regions of a photo: masks fitted to a picture, and the photo's pixels blended back inside a mask."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..image import check_batch, is_scaled, resize
from .bands import in_bands
from .color_match import REACH, with_low
from .frame import Frame

LEVELS = 2.0**24  # of a mask: the resolution of float32 near 1

KEEPS = {
    "detail": with_low,  # the photo's details below about 60 px, with the colours of the restoration
    "all": lambda original, _: original,
}


def lay(mask: Tensor, height: int, width: int, frame: Frame | None = None) -> Tensor:
    """Return a mask resized to a picture of height x width px, as (B, 1, height, width) in [0, 1].

    An empty mask fits every picture, because Load Image returns one of 64x64 px for every opaque photo.

    Args:
        mask: (B, H, W) or (H, W), with the aspect ratio of the picture; values are clamped to [0, 1].
        height: height of the picture, in pixels.
        width: width of the picture, in pixels.
        frame: if given, the picture is the frame's canvas, and the mask belongs to the photo on it.

    Raises:
        ValueError: if the mask is invalid or has another aspect ratio, or the frame has another canvas.
    """
    _check_mask(mask)
    if not mask.any():
        return mask.new_zeros((1, 1, height, width))
    if frame and frame.canvas != (height, width):
        raise ValueError(
            f"'frame' belongs to a canvas of {_px(*frame.canvas)} but the photo has "
            f"{_px(height, width)}. Connect the 'frame' that came with this photo's 'hint', or none if "
            "the photo was cut to its final size."
        )
    size, photo = mask.shape[-2:], (frame.height, frame.width) if frame else (height, width)
    if not is_scaled(size, photo) and not is_scaled(photo, size):
        raise ValueError(
            f"'mask' has {_px(*size)} but lies on {_px(*photo)}, another aspect. Draw it on the same "
            "photo; if that was before the photo was padded, connect 'frame' too."
        )
    laid = resize(mask.reshape(-1, 1, *size).float(), *photo, mode="bilinear").clamp(0, 1)
    if not frame:
        return laid
    return F.pad(laid, (0, width - frame.width, 0, height - frame.height), mode="replicate")


def with_transparency(photo: Tensor, mask: Tensor | None) -> Tensor:
    """Return a photo (B, 3 or 4, H, W) made transparent where a mask (B or 1, H, W) is 1, as (B, 4, H, W).

    Without a mask, or with an empty one, the photo is returned unchanged.

    Raises:
        ValueError: if the mask is invalid, as for `lay`, or the numbers of masks and photos differ.
    """
    if mask is None or not mask.any():
        return photo
    count, _, height, width = photo.shape
    opacity = 1 - lay(mask, height, width)
    check_batch(count, mask=opacity)
    own = photo[:, 3:] if photo.shape[1] > 3 else 1
    return torch.cat([photo[:, :3], own * opacity.expand(count, -1, -1, -1)], dim=1)


def feathered(mask: Tensor, reach: int, device: torch.device | None = None) -> Tensor:
    """Return a mask (B, 1, H, W) in [0, 1] with soft edges that end `reach` px outside of it.

    Pixels inside the mask keep their value. The computation runs in bands on `device`, by default that of the
    mask.
    """
    grow, blur = (reach + 1) // 2, reach // 2

    def soft(mask: Tensor) -> Tensor:
        if not mask.any():
            return mask
        grown = 0
        while grown < grow:  # maxima of three values at growing distances
            apart = min(2 * grown + 1, grow - grown)
            mask = _largest(_largest(mask, apart, dim=2), apart, dim=3)
            grown += apart
        return _mean(_mean(mask, blur, dim=2), blur, dim=3)

    return in_bands(soft, [mask], reach, device) if reach else mask


def put_back(
    sr: Tensor, original: Tensor, mask: Tensor, keep: str, device: torch.device | None = None
) -> Tensor:
    """Return the restored photo with the original blended in by the mask: (B, 3 or 4, H, W), not clamped.

    The computation runs in bands.

    Args:
        sr: restored photo (B, 3 or 4, H, W) in [0, 1]; a fourth channel is kept unchanged.
        original: (B, 3, H, W) in [0, 1], enlarged to the same size; one serves a whole batch.
        mask: (B, 1, H, W) in [0, 1]; one serves a whole batch.
        keep: part of the original to keep, a key of KEEPS.
        device: device of the computation; by default that of `sr`.

    Raises:
        ValueError: if sizes or batch sizes differ.
    """
    size, size_of_original = sr.shape[-2:], original.shape[-2:]
    if size != size_of_original:
        raise ValueError(
            f"'sr' has {_px(*size)} but 'original' has {_px(*size_of_original)}. Connect the 'hint' that the "
            "photo was restored from, and blend before the photo is cut to its final size."
        )
    check_batch(sr.shape[0], original=original, mask=mask)

    def blend(sr: Tensor, original: Tensor, mask: Tensor) -> Tensor:
        if not mask.any():
            return sr
        rgb = sr[:, :3]
        return torch.cat([torch.lerp(rgb, KEEPS[keep](original, rgb), mask), sr[:, 3:]], dim=1)

    return in_bands(blend, [sr, original, mask], REACH if keep == "detail" else 0, device)


def _mean(x: Tensor, radius: int, dim: int) -> Tensor:
    """Return the mean of x in [0, 1] over `radius` px on both sides along one dimension, with edges repeated.

    Sums are in integers, so that the result is the same in every band and on every device, and exact for a
    constant x.
    """
    if not radius:
        return x
    length, window = x.shape[dim], 2 * radius + 1
    pad = (0, 0, radius + 1, radius) if dim == 2 else (radius + 1, radius, 0, 0)
    sums = F.pad(x * LEVELS, pad, mode="replicate").round_().long().cumsum(dim)
    total = sums.narrow(dim, window, length) - sums.narrow(dim, 0, length)
    return (total + radius).div_(window, rounding_mode="floor").to(x).div_(LEVELS)


def _largest(x: Tensor, apart: int, dim: int) -> Tensor:
    """Return the maximum of each value and the two values `apart` px from it along one dimension.

    Edges are repeated.
    """
    length = x.shape[dim]
    padded = F.pad(x, (0, 0, apart, apart) if dim == 2 else (apart, apart, 0, 0), mode="replicate")
    sides = torch.maximum(padded.narrow(dim, 0, length), padded.narrow(dim, 2 * apart, length))
    return torch.maximum(sides, x)


def _check_mask(mask: Tensor) -> None:
    if mask.ndim not in (2, 3) or not mask.numel():
        raise ValueError(
            f"'mask' has shape {tuple(mask.shape)}; expected (batch, height, width), each at least 1. "
            "Connect a MASK, such as that of Load Image."
        )
    if not mask.isfinite().all():
        raise ValueError(
            "'mask' holds NaN or infinite values; expected numbers from 0 to 1. The node before it failed."
        )


def _px(height: int, width: int) -> str:
    return f"{width}x{height} px"
