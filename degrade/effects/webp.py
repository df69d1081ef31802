"""WebP, as messengers and shops store uploads."""

from functools import partial
from typing import Annotated

from torch import Tensor

from .effect import Range, effect
from .round_trip import round_trip, save


@effect(lambda p: ((100 - p["quality"]) / 50, f"WebP {p['quality']}"), in_torch=False)
def webp(image: Tensor, quality: Annotated[int, Range(1, 100)]) -> Tensor:
    """Encode as lossy WebP (VP8, always 4:2:0) and decode, which smears fine texture.

    Effort 2 of 6 takes half the time of Pillow's default, 4.
    """
    return round_trip(image, partial(save, kind="WEBP", quality=quality, method=2))
