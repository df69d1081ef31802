"""Codecs of still pictures: photos through 8-bit files, and JPEG by kornia, which passes gradients."""

import io
from typing import Annotated

import numpy as np
import torch
from PIL import Image, features
from torch import Tensor

from ...image import to_levels
from ...photos.formats import opened
from .effect import OneOf, Range, effect

SUBSAMPLING = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}


@effect(lambda p: ((100 - p["quality"]) / 50, f"JPEG {p['quality']}"))
def jpeg(
    image: Tensor,
    quality: Annotated[int, Range(1, 100)],
    subsampling: Annotated[str, OneOf(tuple(SUBSAMPLING))] = "4:2:0",
    codec: Annotated[str, OneOf(("libjpeg", "kornia"))] = "libjpeg",
) -> Tensor:
    """Encode as JPEG and decode: 8x8 blocks, ringing, blurred colour edges.

    libjpeg rounds to 8 bits and runs on the CPU. kornia stays on the image's device and passes gradients
    (arXiv 2309.06978); it rounds softly, always uses 4:2:0, and doesn't return 8-bit values. In a batch its
    results agree to 1e-6 only.

    Raises:
        ValueError: for kornia with another subsampling.
    """
    if codec == "libjpeg":
        return _round_trip(image, "JPEG", quality=quality, subsampling=SUBSAMPLING[subsampling])
    if subsampling != "4:2:0":
        raise ValueError(
            f"jpeg: codec kornia knows subsampling 4:2:0 only, got {subsampling}. Use codec libjpeg."
        )
    from kornia.enhance import jpeg_codec_differentiable

    return jpeg_codec_differentiable(image.clamp(0, 1), image.new_tensor([quality]))


@effect(lambda p: ((100 - p["quality"]) / 50, f"WebP {p['quality']}"), in_torch=False)
def webp(image: Tensor, quality: Annotated[int, Range(1, 100)]) -> Tensor:
    """Encode as lossy WebP (VP8, always 4:2:0) and decode, which smears fine texture.

    Effort 2 of 6 takes half the time of Pillow's default, 4.
    """
    return _round_trip(image, "WEBP", quality=quality, method=2)


@effect(lambda p: ((100 - p["quality"]) / 50, f"AVIF {p['quality']}"), in_torch=False)
def avif(
    image: Tensor, quality: Annotated[int, Range(1, 100)], speed: Annotated[int, Range(0, 10)] = 8
) -> Tensor:
    """Encode as AVIF (4:2:0) and decode, which flattens texture; one thread for reproducible bytes.

    Raises:
        RuntimeError: if this Pillow was built without AVIF.
    """
    if not features.check("avif"):
        raise RuntimeError("avif: this Pillow has no AVIF. Update it: pip install --upgrade 'pillow>=11.3'.")
    return _round_trip(image, "AVIF", quality=quality, speed=speed, max_threads=1)


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


def from_batch(pixels: np.ndarray, like: Tensor) -> Tensor:
    """Return (B, H, W, 3) uint8 as (B, 3, H, W) in [0, 1], with the device and dtype of `like`."""
    levels = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    return levels.to(like.device).to(like.dtype).div_(255)


def _round_trip(image: Tensor, kind: str, **options: int | str) -> Tensor:
    """Return each photo of (B, 3, H, W) saved as a file and decoded again."""
    files = (save(Image.fromarray(photo), kind, **options) for photo in to_levels(image))
    pictures = (opened(io.BytesIO(file)) for file in files)
    return from_batch(np.stack([np.asarray(picture.convert("RGB")) for picture in pictures]), image)
