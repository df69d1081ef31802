"""The way of a photo through a still-picture file: 8 bits, Pillow, and back."""

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...photos.formats import opened


def to_bytes(image: Tensor) -> np.ndarray:
    """(B, 3, H, W) -> (B, H, W, 3) uint8 on the CPU, rounded and clamped."""
    levels = image.detach().mul(255).round_().clamp_(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def from_bytes(pixels: np.ndarray, like: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) in [0, 1], of the device and dtype of `like`."""
    levels = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    return levels.to(like.device).to(like.dtype).div_(255)


def round_trip(image: Tensor, encode: Callable[[Image.Image], bytes]) -> Tensor:
    """Each photo of (B, 3, H, W) as a file made by `encode`, opened again."""
    return from_bytes(np.stack([_decode(encode(Image.fromarray(photo))) for photo in to_bytes(image)]), image)


def save(picture: Image.Image, kind: str, **options: int | str) -> bytes:
    """The file's bytes as `PIL.Image.save` makes them.

    Raises:
        ValueError: if the format can't hold a photo of this size.
    """
    buffer = io.BytesIO()
    try:
        picture.save(buffer, kind, **options)
    except (OSError, RuntimeError, ValueError) as error:  # which one, depends on the encoder
        width, height = picture.size
        raise ValueError(
            f"{kind.lower()}: can't save a photo of {width}x{height} px ({error}). "
            "Make it smaller or crop it first."
        ) from error
    return buffer.getvalue()


def _decode(file: bytes) -> np.ndarray:
    picture = opened(io.BytesIO(file))
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
