"""The Bayer mosaic of a camera: one measured colour per pixel, two interpolated ones."""

from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from ...image import mirror_indices
from .effect import OneOf, effect

PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")  # the 2x2 cell, row by row

# Filters of Malvar, He and Cutler (2004), in eighths: green at red or blue; a colour from the same row
# (transposed: column); a colour from the diagonals.
_GREEN = ((0, 0, -1, 0, 0), (0, 0, 2, 0, 0), (-1, 2, 4, 2, -1), (0, 0, 2, 0, 0), (0, 0, -1, 0, 0))
_ROW = ((0, 0, 0.5, 0, 0), (0, -1, 0, -1, 0), (-1, 4, 5, 4, -1), (0, -1, 0, -1, 0), (0, 0, 0.5, 0, 0))
_CROSS = ((0, 0, -1.5, 0, 0), (0, 2, 0, 2, 0), (-1.5, 0, 6, 0, -1.5), (0, 2, 0, 2, 0), (0, 0, -1.5, 0, 0))


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
