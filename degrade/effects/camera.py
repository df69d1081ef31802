"""The processing of a camera: the Bayer mosaic, noise reduction, and chroma at half the resolution."""

from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, pad

from ...color import BT601, grey
from ...image import mirror_indices
from .effect import OneOf, Range, effect
from .resize import resize

PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")  # the 2x2 cell, row by row

# Filters of Malvar, He and Cutler (2004), in eighths: green at red or blue; a colour from the same row
# (transposed: column); a colour from the diagonals.
_GREEN = ((0, 0, -1, 0, 0), (0, 0, 2, 0, 0), (-1, 2, 4, 2, -1), (0, 0, 2, 0, 0), (0, 0, -1, 0, 0))
_ROW = ((0, 0, 0.5, 0, 0), (0, -1, 0, -1, 0), (-1, 4, 5, 4, -1), (0, -1, 0, -1, 0), (0, 0, 0.5, 0, 0))
_CROSS = ((0, 0, -1.5, 0, 0), (0, 2, 0, 2, 0), (-1.5, 0, 6, 0, -1.5), (0, 2, 0, 2, 0), (0, 0, -1.5, 0, 0))
_TEXTURE = 0.05  # contrast below which strength 1 treats texture as noise; assumed
LAYOUTS = ("4:2:0", "4:2:2")  # half resolution both ways; horizontally


@effect(lambda _: (0.2, "Bayer mosaic"))
def demosaic(image: Tensor, pattern: Annotated[str, OneOf(PATTERNS)]) -> Tensor:
    """Keep one colour per pixel of (B, 3, H, W) and interpolate the others along gradients.

    Leaves zippers and false colours at edges; a flat photo is unchanged. Works on gamma-coded values and
    does not clamp.
    """
    height, width = image.shape[2:]
    whole = pad(image, (0, int(width < 2), 0, int(height < 2)), mode="replicate")  # at least one cell
    raw = _mosaic(whole, pattern)
    # Mirrored about the border pixel, the mosaic goes on.
    rows, columns = (mirror_indices(size, -2, size + 2, image.device) for size in raw.shape[2:])
    padded = raw.index_select(2, rows).index_select(3, columns)
    row = torch.tensor(_ROW)
    filters = torch.stack((torch.tensor(_GREEN), row, row.T, torch.tensor(_CROSS)))[:, None] / 8
    green, along, down, cross = conv2d(padded, filters.to(image)).unbind(1)
    out = torch.empty_like(whole)
    for cell, colour in enumerate(pattern):
        y, x = divmod(cell, 2)
        here = (slice(None), slice(y, None, 2), slice(x, None, 2))
        own = "RGB".index(colour)
        if colour == "G":
            beside = "RGB".index(pattern[cell ^ 1])  # the other colour of this row
            guesses = {1: raw[:, 0], beside: along, 2 - beside: down}
        else:
            guesses = {own: raw[:, 0], 1: green, 2 - own: cross}
        for channel, guess in guesses.items():
            out[:, channel][here] = guess[here]
    return out[:, :, :height, :width]


def _mosaic(image: Tensor, pattern: str) -> Tensor:
    """Return the one measured colour of each pixel: (B, 1, H, W)."""
    raw = torch.empty_like(image[:, :1])
    for cell, colour in enumerate(pattern):
        y, x = divmod(cell, 2)
        raw[:, 0, y::2, x::2] = image[:, "RGB".index(colour), y::2, x::2]
    return raw


@effect(lambda p: (p["strength"] / 2, f"smoothed {p['strength']:.1f}"), smooths=True)
def denoise(
    image: Tensor, strength: Annotated[float, Range(0, 1)], radius: Annotated[int, Range(1, 15)]
) -> Tensor:
    """Smooth (B, 3, H, W) over 2 * radius + 1 pixels and keep strong edges. Strength 0 changes nothing.

    The fast guided filter (He and Sun, arXiv 1505.00996) with luma as the guide. Colour is smoothed twice as
    strongly as luma. The statistics are taken at half size from radius 2 and at a quarter from radius 6.
    """
    if not strength:
        return image
    guide = grey(image)
    colour = image[:, ::2] - guide  # R - Y, B - Y
    slope, offset = _fit(guide, torch.cat((guide, colour), 1), radius, (_TEXTURE * strength) ** 2)
    smooth = torch.addcmul(offset, slope, guide)
    colour = torch.lerp(colour, smooth[:, 1:], min(1.0, 2 * strength))
    green = -(BT601[0] * colour[:, :1] + BT601[2] * colour[:, 1:]) / BT601[1]
    return torch.cat((colour[:, :1], green, colour[:, 1:]), 1).add_(smooth[:, :1])


def _fit(guide: Tensor, signal: Tensor, radius: int, texture: float) -> tuple[Tensor, Tensor]:
    """Return slope and offset, each of the size of `signal`, of its local linear fit to the guide."""
    height, width = guide.shape[2:]
    step = 1 if radius < 2 else 2 if radius < 6 else 4
    margin = (0, -width % step, 0, -height % step)
    whole = pad(signal, margin, mode="replicate")
    small = avg_pool2d(whole, step)
    means = _mean(torch.cat((small, small * small[:, :1]), 1), round(radius / step))
    mean, product = means.chunk(2, 1)
    covariance = product - mean * mean[:, :1]
    slope = covariance / (covariance[:, :1].clamp(min=0) + texture)
    line = _mean(torch.cat((slope, mean - slope * mean[:, :1]), 1), round(radius / step))
    line = resize(line, *whole.shape[2:], mode="bilinear", antialias=False)[:, :, :height, :width]
    slope, offset = line.chunk(2, 1)
    return slope, offset


def _mean(image: Tensor, radius: int) -> Tensor:
    """Return the mean over a square of side 2 * radius + 1; outside the image, the border repeats."""
    padded = pad(image, (radius,) * 4, mode="replicate")
    for dim in (2, 3):
        size = image.shape[dim]
        shifted = [padded.narrow(dim, start, size) for start in range(2 * radius + 1)]
        padded = sum(shifted[1:], shifted[0])
    return padded / (2 * radius + 1) ** 2


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
