"""Conversion between tensors and Pillow's pictures."""

from __future__ import annotations

import numpy as np
from PIL import Image
from torch import Tensor

from ..image import from_levels, to_levels


def from_picture(picture: Image.Image) -> Tensor:
    """Return the RGB of a picture as (1, 3, H, W) float32 in [0, 1]."""
    return from_levels(np.asarray(picture.convert("RGB")))


def to_picture(photo: Tensor) -> Image.Image:
    """Return the photo of (1, 3, H, W) RGB in [0, 1], rounded to 8 bits."""
    return Image.fromarray(to_levels(photo)[0])
