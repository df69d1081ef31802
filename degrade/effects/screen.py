"""Screenshots: a photo shown at an odd zoom, captured, and brought back to its size."""

from typing import Annotated

import torch
from torch import Tensor

from .effect import Range, effect
from .picture import from_bytes, to_bytes


@effect
def screenshot(
    image: Tensor, factor: Annotated[float, Range(0.3, 3)], shift: Annotated[float, Range(0, 1)]
) -> Tensor:
    """Show at `factor` times its size, 8 bits, `shift` screen pixels off the grid; back to its size.

    Both ways bilinear as screens do it, without antialias, so that a small factor leaves jagged edges.
    """
    height, width = image.shape[2:]
    shown = _zoomed(image, max(1, round(height * factor)), max(1, round(width * factor)), shift, shift)
    back = -shift * height / shown.shape[2], -shift * width / shown.shape[3]
    return _zoomed(from_bytes(to_bytes(shown), image), height, width, *back)


def _zoomed(image: Tensor, height: int, width: int, down: float, right: float) -> Tensor:
    """Bilinear resize, moved by `down` and `right` of the new pixels."""
    across = _rows(image, height, down).transpose(2, 3).contiguous()  # rows are quicker to pick than columns
    return _rows(across, width, right).transpose(2, 3).contiguous()


def _rows(image: Tensor, size: int, shift: float) -> Tensor:
    """Linear interpolation at `size` heights; beyond the border it repeats."""
    height = image.shape[2]
    place = (torch.arange(size, device=image.device, dtype=torch.float64) + 0.5 + shift) * (
        height / size
    ) - 0.5
    place = place.clamp(0, height - 1)
    near = place.floor().long()
    weight = (place - near).to(image.dtype)[:, None]
    return torch.lerp(
        image.index_select(2, near), image.index_select(2, (near + 1).clamp(max=height - 1)), weight
    )
