"""JPEG by libjpeg (Pillow), as in real uploads, or by kornia, which passes gradients."""

from functools import partial
from typing import Annotated

from torch import Tensor

from .effect import OneOf, Range, effect
from .round_trip import round_trip, save

SUBSAMPLING = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}


@effect(lambda p: ((100 - p["quality"]) / 50, f"JPEG {p['quality']}"))
def jpeg(
    image: Tensor,
    quality: Annotated[int, Range(1, 100)],
    subsampling: Annotated[str, OneOf(tuple(SUBSAMPLING))] = "4:2:0",
    codec: Annotated[str, OneOf(("libjpeg", "kornia"))] = "libjpeg",
) -> Tensor:
    """Encode as JPEG and decode: 8x8 blocks, ringing, blurred colour edges.

    libjpeg rounds to 8 bits and runs on the CPU. kornia stays on the image's device and passes gradients
    (arXiv 2309.06978); it rounds softly, always uses 4:2:0, and doesn't return 8-bit values. In a batch its
    results agree to 1e-6 only.

    Raises:
        ValueError: for kornia with another subsampling.
    """
    if codec == "libjpeg":
        encode = partial(save, kind="JPEG", quality=quality, subsampling=SUBSAMPLING[subsampling])
        return round_trip(image, encode)
    if subsampling != "4:2:0":
        raise ValueError(
            f"jpeg: codec kornia knows subsampling 4:2:0 only, got {subsampling}. Use codec libjpeg."
        )
    from kornia.enhance import jpeg_codec_differentiable

    return jpeg_codec_differentiable(image.clamp(0, 1), image.new_tensor([quality]))
