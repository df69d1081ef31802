"""Colour at half the resolution of brightness, as cameras and codecs store it."""

from typing import Annotated

from torch import Tensor
from torch.nn.functional import pad

from .effect import OneOf, effect
from .resize import resize

LAYOUTS = ("4:2:0", "4:2:2")  # halved both ways; halved across
LUMA = (0.299, 0.587, 0.114)  # BT.601


def luma(image: Tensor) -> Tensor:
    """Brightness of gamma-coded RGB, (B, 3, H, W) -> (B, 1, H, W), of the same range."""
    red, green, blue = image.unbind(1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue).unsqueeze(1)


@effect
def chroma_subsample(image: Tensor, layout: Annotated[str, OneOf(LAYOUTS)]) -> Tensor:
    """Average the chroma of BT.601 YCbCr over pairs of pixels and bring it back bilinearly; luma stays.

    Works on R-Y, G-Y and B-Y, which are Cb and Cr in other units, so that no matrix is needed.
    """
    height, width = image.shape[2:]
    grey = luma(image)
    colour = pad(image - grey, (0, width % 2, 0, height % 2), mode="replicate")
    halved = 0.5 * (colour[..., ::2] + colour[..., 1::2])
    if layout == "4:2:0":
        halved = 0.5 * (halved[:, :, ::2] + halved[:, :, 1::2])
    smooth = resize(halved, *colour.shape[2:], mode="bilinear", antialias=False)
    return grey + smooth[:, :, :height, :width]
