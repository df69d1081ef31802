"""The colour mosaic of a camera: one colour a pixel, the other two guessed."""

from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from .effect import OneOf, effect

PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")  # of a 2x2 cell, row by row

# Malvar, He and Cutler (2004), in eighths: green at red or blue; colour from its row (transposed: from its
# column); colour from the diagonals.
_GREEN = ((0, 0, -1, 0, 0), (0, 0, 2, 0, 0), (-1, 2, 4, 2, -1), (0, 0, 2, 0, 0), (0, 0, -1, 0, 0))
_ROW = ((0, 0, 0.5, 0, 0), (0, -1, 0, -1, 0), (-1, 4, 5, 4, -1), (0, -1, 0, -1, 0), (0, 0, 0.5, 0, 0))
_CROSS = ((0, 0, -1.5, 0, 0), (0, 2, 0, 2, 0), (-1.5, 0, 6, 0, -1.5), (0, 2, 0, 2, 0), (0, 0, -1.5, 0, 0))


@effect
def demosaic(image: Tensor, pattern: Annotated[str, OneOf(PATTERNS)]) -> Tensor:
    """Keep one colour a pixel and interpolate the rest along gradients: zippers and false colour at edges.

    On gamma-coded values, not clamped; a flat photo stays as it is.
    """
    height, width = image.shape[2:]
    whole = pad(image, (0, int(width < 2), 0, int(height < 2)), mode="replicate")  # a cell at least
    raw = _mosaic(whole, pattern)
    rows, columns = (_mirrored(size, image.device) for size in raw.shape[2:])
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
            beside = "RGB".index(pattern[cell ^ 1])  # the colour in the same row
            guesses = {1: raw[:, 0], beside: along, 2 - beside: down}
        else:
            guesses = {own: raw[:, 0], 1: green, 2 - own: cross}
        for channel, guess in guesses.items():
            out[:, channel][here] = guess[here]
    return out[:, :, :height, :width]


def _mirrored(size: int, device: torch.device) -> Tensor:
    """Where each of the places -2 .. size + 1 lies, mirrored about the border pixel: the mosaic goes on."""
    period = 2 * (size - 1)
    place = torch.arange(-2, size + 2, device=device) % period
    return torch.minimum(place, period - place)


def _mosaic(image: Tensor, pattern: str) -> Tensor:
    """The one colour of each pixel, (B, 1, H, W)."""
    raw = torch.empty_like(image[:, :1])
    for cell, colour in enumerate(pattern):
        y, x = divmod(cell, 2)
        raw[:, 0, y::2, x::2] = image[:, "RGB".index(colour), y::2, x::2]
    return raw
