"""The image convention: RGB in [0, 1], (B, C, H, W) in our code and (B, H, W, C) at ComfyUI's sockets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from numpy import ndarray


def from_socket(image: Tensor) -> Tensor:
    """Return an IMAGE (B, H, W, C) of any precision as (B, C, H, W) float32."""
    return image.movedim(-1, 1).to(torch.float32)


def from_levels(levels: ndarray) -> Tensor:
    """Return the pixels of a photo, (H, W, 3) uint8 or uint16, as (1, 3, H, W) float32 in [0, 1]."""
    white = 255 if levels.dtype.itemsize == 1 else 65535
    return torch.from_numpy(levels.transpose(2, 0, 1).astype("float32", order="C"))[None] / white


def to_levels(image: Tensor) -> ndarray:
    """Return (B, 3, H, W) in [0, 1] as (B, H, W, 3) uint8 on the CPU, rounded and clamped."""
    levels = image.detach().mul(255).round_().clamp_(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def to_socket(image: Tensor) -> Tensor:
    """Return (B, C, H, W) as an IMAGE (B, H, W, C), float32, clamped to [0, 1]."""
    return image.to(torch.float32).clamp(0, 1).movedim(1, -1).contiguous()


def opaque(image: Tensor) -> Tensor:
    """Return an IMAGE (B, H, W, 3 or 4) as (B, 3, H, W) float32, composed over white."""
    image = from_socket(image)
    rgb, alpha = image[:, :3], image[:, 3:]
    return rgb * alpha + 1 - alpha if alpha.numel() else rgb


def check_image(image: Tensor, socket: str = "image") -> None:
    """Check an image that comes from a socket.

    Args:
        image: expected as (B, H, W, 3 or 4), floats in [0, 1].
        socket: name of the node's input, for the message.

    Raises:
        ValueError: for other shapes, no pixels, integers, and NaN or infinite values.
    """
    head = f"'{socket}'"
    if image.ndim != 4:
        raise ValueError(
            f"{head} has shape {tuple(image.shape)}; expected (batch, height, width, channels). "
            "Connect an IMAGE, such as the output of Load Image."
        )
    batch, height, width, channels = image.shape
    if channels not in (3, 4):
        raise ValueError(
            f"{head} has {channels} channels; expected 3 (RGB) or 4 (RGBA). Convert it to RGB first."
        )
    if not image.numel():
        raise ValueError(
            f"{head} is empty: {batch} photos of {width}x{height} px. "
            "Connect a photo that has at least one pixel."
        )
    if not image.is_floating_point():
        raise ValueError(
            f"{head} holds {str(image.dtype).removeprefix('torch.')}; expected floats from 0 to 1. "
            "The node before it makes no IMAGE as ComfyUI has them."
        )
    if not image.isfinite().all():
        raise ValueError(
            f"{head} holds NaN or infinite values; expected numbers from 0 to 1. "
            "The node before it failed: check its model, VAE and precision."
        )


def check_batch(batch: int, **given: Tensor) -> None:
    """Check that each input (B, ...), by its name, is for one photo or for `batch` photos.

    Raises:
        ValueError: if it isn't; the message names the first such input.
    """
    for name, tensor in given.items():
        if len(tensor) not in (1, batch):
            raise ValueError(
                f"'{name}' is for {len(tensor)} photos, but there are {batch}. "
                "Connect one for all, or one for each."
            )


def same_aspect(size: tuple[int, int], other: tuple[int, int], slack_px: float) -> bool:
    """Return whether two (width, height) have the same aspect ratio.

    Args:
        size: sides that were rounded, each off by up to `slack_px`.
        other: exact sides.
        slack_px: in pixels of `size`.
    """
    (width, height), (wide, high) = size, other
    return abs(width * high - height * wide) <= slack_px * (wide + high) + 1e-9


def is_scaled(size: Sequence[int], to: Sequence[int], padding: int = 0) -> bool:
    """Return True if `size`, scaled, rounded and padded by at most `padding` px a side, can become `to`."""
    sides = list(zip(size, to, strict=True))
    smallest = max((side - padding - 0.5) / length for length, side in sides)
    largest = min((side + 0.5) / length for length, side in sides)
    return smallest <= largest


def mirror_indices(size: int, start: int, stop: int, device: torch.device | None = None) -> Tensor:
    """Return the pixels at places `start` to `stop` - 1 of an axis of `size` pixels, mirrored at its ends.

    Places 0 to `size` - 1 are the axis itself; the end pixels are not repeated.
    """
    period = max(2 * size - 2, 1)
    place = torch.arange(start, stop, device=device) % period
    return torch.minimum(place, period - place)


def round_up(length: int, multiple: int) -> int:
    """Return the smallest multiple of `multiple` that is at least `length`."""
    return -(-length // multiple) * multiple


def resize(image: Tensor, height: int, width: int, mode: str = "bicubic") -> Tensor:
    """Return (B, C, H, W) resized with antialiasing; not clamped, as bicubic overshoots at edges."""
    if tuple(image.shape[-2:]) == (height, width):
        return image
    try:
        return F.interpolate(image, size=(height, width), mode=mode, antialias=True)
    except NotImplementedError:  # Apple's GPUs before PyTorch 2.8
        return F.interpolate(image.cpu(), size=(height, width), mode=mode, antialias=True).to(image.device)
