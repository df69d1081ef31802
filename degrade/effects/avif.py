"""AVIF, the AV1 still picture of newer phones and networks."""

from functools import partial
from typing import Annotated

from PIL import features
from torch import Tensor

from .effect import Range, effect
from .round_trip import round_trip, save


@effect(lambda p: ((100 - p["quality"]) / 50, f"AVIF {p['quality']}"), in_torch=False)
def avif(
    image: Tensor, quality: Annotated[int, Range(1, 100)], speed: Annotated[int, Range(0, 10)] = 8
) -> Tensor:
    """Encode as AVIF (4:2:0) and decode, which flattens texture; one thread for reproducible bytes.

    Raises:
        RuntimeError: if this Pillow was built without AVIF.
    """
    if not features.check("avif"):
        raise RuntimeError("avif: this Pillow has no AVIF. Update it: pip install --upgrade 'pillow>=11.3'.")
    return round_trip(image, partial(save, kind="AVIF", quality=quality, speed=speed, max_threads=1))
