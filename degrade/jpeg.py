"""JPEG by libjpeg (Pillow), the codec that the real uploads went through."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SUBSAMPLING = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}


def jpeg(image: Tensor, quality: int, subsampling: str = "4:2:0") -> Tensor:
    """Encode and decode each photo of (B, 3, H, W); values are rounded to 8 bits as the file demands.

    Raises:
        ValueError: if `quality` is outside 1..100 or `subsampling` is unknown.
    """
    if not 1 <= quality <= 100:
        raise ValueError(f"jpeg: quality must be in 1..100, got {quality}.")
    if subsampling not in SUBSAMPLING:
        raise ValueError(f"jpeg: subsampling must be one of {tuple(SUBSAMPLING)}, got {subsampling!r}.")
    pixels = image.mul(255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    decoded = np.stack([_round_trip(photo, quality, SUBSAMPLING[subsampling]) for photo in pixels])
    return torch.from_numpy(decoded).permute(0, 3, 1, 2).to(image) / 255


def _round_trip(photo: np.ndarray, quality: int, subsampling: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(buffer).convert("RGB"))
