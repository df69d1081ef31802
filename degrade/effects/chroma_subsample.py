"""Chroma subsampling, as cameras and codecs store colour."""

from typing import Annotated

from torch import Tensor
from torch.nn.functional import pad

from ...color import grey
from .effect import OneOf, effect
from .resize import resize

LAYOUTS = ("4:2:0", "4:2:2")  # half resolution both ways; horizontally


@effect(lambda p: (0.15, f"chroma {p['layout']}"))
def chroma_subsample(image: Tensor, layout: Annotated[str, OneOf(LAYOUTS)]) -> Tensor:
    """Average the chroma of (B, 3, H, W) over pairs of pixels and enlarge it bilinearly; luma is unchanged.

    The BT.601 chroma is R-Y, G-Y and B-Y here, which are Cb and Cr in other units.
    """
    height, width = image.shape[2:]
    luma = grey(image)
    colour = pad(image - luma, (0, width % 2, 0, height % 2), mode="replicate")
    halved = 0.5 * (colour[..., ::2] + colour[..., 1::2])
    if layout == "4:2:0":
        halved = 0.5 * (halved[:, :, ::2] + halved[:, :, 1::2])
    smooth = resize(halved, *colour.shape[2:], mode="bilinear", antialias=False)
    return luma + smooth[:, :, :height, :width]
