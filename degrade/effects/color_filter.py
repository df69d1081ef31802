"""Colour filters of photo apps."""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor

from ...color import BT601
from .effect import Range, effect


def _label(p: Mapping[str, Any]) -> tuple[float, str]:
    usual = {"saturation": 1, "contrast": 1}
    changes = {name: abs(value - usual.get(name, 0)) for name, value in p.items()}
    return sum(changes.values()), f"filter ({max(changes, key=lambda name: changes[name])})"


@effect(_label)
def color_filter(
    image: Tensor,
    saturation: Annotated[float, Range(0, 3)] = 1.0,
    contrast: Annotated[float, Range(0, 3)] = 1.0,
    brightness: Annotated[float, Range(-1, 1)] = 0.0,
    warmth: Annotated[float, Range(-1, 1)] = 0.0,
    fade: Annotated[float, Range(0, 1)] = 0.0,
    vignette: Annotated[float, Range(0, 1)] = 0.0,
) -> Tensor:
    """Change saturation, contrast, brightness, warmth, black level and vignette of (B, 3, H, W).

    Works on gamma-coded values; does not clamp. The strengths are assumed: `warmth` 1 raises red and
    lowers blue by 30 %, `fade` 1 leaves 40 % of the contrast on light grey, `vignette` 1 makes the corners
    black.
    """
    matrix = saturation * torch.eye(3) + (1 - saturation) * torch.tensor([BT601] * 3)
    matrix = torch.tensor([1 + 0.3 * warmth, 1.0, 1 - 0.3 * warmth])[:, None] * contrast * matrix
    offset = 0.5 - 0.5 * contrast + brightness
    share = 1 - 0.6 * fade
    matrix, offset = share * matrix, share * offset + 0.25 * fade
    toned = torch.einsum("oc,bchw->bohw", matrix.to(image), image).add_(offset)
    return toned * _vignette(image, vignette) if vignette else toned


def _vignette(image: Tensor, strength: float) -> Tensor:
    """Return a mask (H, W): 1 in the middle, 1 - strength in the corners, falling with radius^4."""
    rows, columns = (
        torch.linspace(-1 + 1 / size, 1 - 1 / size, size, device=image.device, dtype=image.dtype)
        for size in image.shape[2:]
    )
    radius = (rows[:, None] ** 2 + columns**2) / 2
    return 1 - strength * radius**2
