"""Screenshots: a photo displayed at some zoom, captured, and resized back."""

from typing import Annotated

from torch import Tensor

from ...image import to_levels
from .codecs import from_batch
from .effect import Range, effect
from .resize import bilinear


@effect(lambda p: (0.4, f"screenshot at {p['factor']:.0%}"))
def screenshot(
    image: Tensor, factor: Annotated[float, Range(0.3, 3)], shift: Annotated[float, Range(0, 1)]
) -> Tensor:
    """Display (B, 3, H, W) at `factor` times its size, in 8 bits, and resize it back.

    The display is `shift` screen pixels off the pixel grid. Both resizes are bilinear without antialiasing,
    as on screens, so a small factor leaves jagged edges.
    """
    height, width = image.shape[2:]
    shown = bilinear(image, max(1, round(height * factor)), max(1, round(width * factor)), shift, shift)
    back = -shift * height / shown.shape[2], -shift * width / shown.shape[3]
    return bilinear(from_batch(to_levels(shown), image), height, width, *back)
