"""Between tensors and Pillow's pictures."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor


def from_picture(picture: Image.Image) -> Tensor:
    """Its RGB as (1, 3, H, W) float32 in [0, 1]."""
    rgb = picture.convert("RGB")
    pixels = torch.frombuffer(bytearray(rgb.tobytes()), dtype=torch.uint8).view(rgb.height, rgb.width, 3)
    return pixels.movedim(-1, 0)[None].float() / 255


def to_picture(photo: Tensor) -> Image.Image:
    """The one photo of (1, 3, H, W) RGB in [0, 1], rounded to 8 bits."""
    pixels = photo[0].clamp(0, 1).mul(255).round().byte().movedim(0, -1)
    return Image.fromarray(pixels.cpu().numpy())
