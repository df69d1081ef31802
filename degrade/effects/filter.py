"""Colour filters, as apps offer them."""

from typing import Annotated

import torch
from torch import Tensor

from .chroma import LUMA
from .effect import Range, effect


@effect
def color_filter(
    image: Tensor,
    saturation: Annotated[float, Range(0, 3)] = 1.0,
    contrast: Annotated[float, Range(0, 3)] = 1.0,
    brightness: Annotated[float, Range(-1, 1)] = 0.0,
    warmth: Annotated[float, Range(-1, 1)] = 0.0,
    fade: Annotated[float, Range(0, 1)] = 0.0,
    vignette: Annotated[float, Range(0, 1)] = 0.0,
) -> Tensor:
    """Saturation about luma, contrast about mid-grey, warmth from blue to red, lifted blacks, dark corners.

    On gamma-coded values, not clamped. Strengths are assumed: `warmth` 1 turns red up and blue down by
    30 %, `fade` 1 leaves 40 % of the contrast on a light grey, `vignette` 1 makes the corners black.
    """
    matrix = saturation * torch.eye(3) + (1 - saturation) * torch.tensor([LUMA] * 3)
    matrix = torch.tensor([1 + 0.3 * warmth, 1.0, 1 - 0.3 * warmth])[:, None] * contrast * matrix
    offset = 0.5 - 0.5 * contrast + brightness
    kept = 1 - 0.6 * fade
    matrix, offset = kept * matrix, kept * offset + 0.25 * fade
    toned = torch.einsum("oc,bchw->bohw", matrix.to(image), image).add_(offset)
    return toned * _vignette(image, vignette) if vignette else toned


def _vignette(image: Tensor, strength: float) -> Tensor:
    """(H, W): 1 in the middle, 1 - strength in the corners, falling with the fourth power of the radius."""
    rows, columns = (
        torch.linspace(-1 + 1 / size, 1 - 1 / size, size, device=image.device, dtype=image.dtype)
        for size in image.shape[2:]
    )
    radius = (rows[:, None] ** 2 + columns**2) / 2
    return 1 - strength * radius**2
