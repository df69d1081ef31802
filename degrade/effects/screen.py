"""Screenshots: a photo shown at an odd zoom, captured, and brought back to its size."""

from typing import Annotated

from torch import Tensor

from .effect import Range, effect
from .picture import from_bytes, to_bytes
from .resize import bilinear


@effect
def screenshot(
    image: Tensor, factor: Annotated[float, Range(0.3, 3)], shift: Annotated[float, Range(0, 1)]
) -> Tensor:
    """Show at `factor` times its size, 8 bits, `shift` screen pixels off the grid; back to its size.

    Both ways bilinear as screens do it, without antialias, so that a small factor leaves jagged edges.
    """
    height, width = image.shape[2:]
    shown = bilinear(image, max(1, round(height * factor)), max(1, round(width * factor)), shift, shift)
    back = -shift * height / shown.shape[2], -shift * width / shown.shape[3]
    return bilinear(from_bytes(to_bytes(shown), image), height, width, *back)
