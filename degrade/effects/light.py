"""Between the sRGB curve of files and the linear light that sensors count (IEC 61966-2-1)."""

import torch
from torch import Tensor


def to_linear(image: Tensor) -> Tensor:
    """Gamma-encoded sRGB -> linear light, both 1 at white; what is below black stays below."""
    return torch.where(image <= 0.04045, image / 12.92, ((image.clamp(min=0) + 0.055) / 1.055) ** 2.4)


def to_srgb(light: Tensor) -> Tensor:
    """The inverse of `to_linear`."""
    return torch.where(
        light <= 0.0031308, light * 12.92, 1.055 * light.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    )
