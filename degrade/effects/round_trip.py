"""Photos through image files: 8 bits, Pillow, and back."""

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...image import to_levels
from ...photos.formats import opened


def from_batch(pixels: np.ndarray, like: Tensor) -> Tensor:
    """Return (B, H, W, 3) uint8 as (B, 3, H, W) in [0, 1], with the device and dtype of `like`."""
    levels = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    return levels.to(like.device).to(like.dtype).div_(255)


def round_trip(image: Tensor, encode: Callable[[Image.Image], bytes]) -> Tensor:
    """Return each photo of (B, 3, H, W) encoded by `encode` and decoded again."""
    return from_batch(
        np.stack([_decode(encode(Image.fromarray(photo))) for photo in to_levels(image)]), image
    )


def save(picture: Image.Image, kind: str, **options: int | str) -> bytes:
    """Return the bytes of a file that `PIL.Image.save` makes.

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
