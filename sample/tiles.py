"""Tile geometry, and blending of results that were computed tile by tile."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

VARIANCE = 0.01  # of the Gaussian window, in squared tile lengths, as in SeeSR and SRlab


class Tile(NamedTuple):
    """A rectangle of a grid, by its first row and column and its sides, all in cells of that grid."""

    top: int
    left: int
    height: int
    width: int

    def of(self, x: Tensor) -> Tensor:
        """Return the part of x (..., H, W) inside the tile, as a view."""
        return x[..., self.top : self.top + self.height, self.left : self.left + self.width]

    def scaled(self, factor: int) -> "Tile":
        """Return the same rectangle on a grid that is `factor` times finer."""
        return Tile(*(n * factor for n in self))


class TilePlan(NamedTuple):
    """The tiles whose tensors are stacked in one call of the network.

    Stacks are tile-major: [tile 0 of image 0 .. batch-1, tile 1 of image 0 .. batch-1, ...].

    Attributes:
        boxes: tiles of the stack.
        full: (height, width) of the whole latent, in cells.
        batch: number of images.
    """

    boxes: tuple[Tile, ...]
    full: tuple[int, int]
    batch: int


def split(height: int, width: int, tile: int, overlap: int) -> list[Tile]:
    """Return evenly spaced tiles of one size that cover height x width and overlap by at least `overlap`.

    Raises:
        ValueError: if `tile` isn't positive or `overlap` isn't smaller than it.
    """
    _check(tile, overlap)
    rows, columns = _offsets(height, tile, overlap), _offsets(width, tile, overlap)
    return [Tile(top, left, min(tile, height), min(tile, width)) for top in rows for left in columns]


def split_seesr(height: int, width: int, tile: int, overlap: int) -> list[Tile]:
    """Return the tiles of SeeSR (arXiv 2311.16518) and SRlab, which overlap by at least `overlap`.

    A latent with no more cells than a tile stays whole, whatever its sides. Otherwise tiles are squares, no
    larger than the shorter side of the latent, every `tile - overlap` cells; the last tile is moved back
    inside.

    Raises:
        ValueError: as `split`, and if the shorter side isn't larger than `overlap`.
    """
    _check(tile, overlap)
    if height * width <= tile**2:
        return [Tile(0, 0, height, width)]
    side = min(tile, height, width)
    if overlap >= side:
        raise ValueError(
            f"Tiles of 'grid' seesr are no wider than the shorter side of the latent, {side} cells of "
            f"{width}x{height}, but would share {overlap}. Choose a smaller 'overlap', or 'grid' even."
        )
    rows, columns = (
        [min(start, length - side) for start in range(0, length - overlap, side - overlap)]
        for length in (height, width)
    )
    return [Tile(top, left, side, side) for top in rows for left in columns]


def weights(height: int, width: int) -> Tensor:
    """Return a Gaussian window (height, width), float32, centred and symmetric.

    The window has no lower bound: with one, the corners of neighbouring tiles would weigh as much as their
    edges, which causes an error of 2.5e-2 along the borders of the image.
    """
    return torch.outer(_bump(height, (height - 1) / 2), _bump(width, (width - 1) / 2))


def weights_seesr(height: int, width: int) -> Tensor:
    """Return the Gaussian window of SeeSR and SRlab, whose centre lies half a cell below that of the tile."""
    return torch.outer(_bump(height, height / 2), _bump(width, (width - 1) / 2))


class Grid(NamedTuple):
    """A tiling method: the function that lays out the tiles, and the one that returns their weights."""

    split: Callable[[int, int, int, int], list[Tile]]
    weights: Callable[[int, int], Tensor]


GRIDS = {"even": Grid(split, weights), "seesr": Grid(split_seesr, weights_seesr)}


def blend(
    tiles: Sequence[Tile],
    cuts: Iterable[Tensor],
    height: int,
    width: int,
    weights: Callable[[int, int], Tensor] = weights,
) -> Tensor:
    """Return the weighted mean (..., height, width) of `cuts` (..., tile height, tile width), one per tile.

    The sums are in float32 or better; the result has the dtype of the cuts.

    Args:
        tiles: position of each cut.
        cuts: results, in the order of the tiles; may be a generator.
        height: height of the result, in cells.
        width: width of the result, in cells.
        weights: function that returns the weights of a tile from its height and width.

    Raises:
        ValueError: if there are no tiles.
    """
    total, norm, dtype = None, None, None
    bumps: dict[tuple[int, int], Tensor] = {}  # one for each tile size, moved to the device once
    for tile, cut in zip(tiles, cuts, strict=True):
        if total is None or norm is None:
            dtype, precise = cut.dtype, torch.promote_types(cut.dtype, torch.float32)
            total = cut.new_zeros((*cut.shape[:-2], height, width), dtype=precise)
            norm = total.new_zeros((height, width))
        size = tile.height, tile.width
        if size not in bumps:
            bumps[size] = weights(*size).to(total)
        weight = bumps[size]
        tile.of(total).add_(cut * weight)
        tile.of(norm).add_(weight)
    if total is None or norm is None:
        raise ValueError("blend needs at least one tile; got none.")
    return (total / norm).to(dtype)


def _check(tile: int, overlap: int) -> None:
    if tile < 1:
        raise ValueError(f"tile must be at least 1; got {tile}.")
    if not 0 <= overlap < tile:
        raise ValueError(f"overlap must be in [0, {tile}), the tile size; got {overlap}.")


def _offsets(length: int, tile: int, overlap: int) -> list[int]:
    if length <= tile:
        return [0]
    last = math.ceil((length - overlap) / (tile - overlap)) - 1
    return [round(i * (length - tile) / last) for i in range(last + 1)]


def _bump(length: int, middle: float) -> Tensor:
    position = (torch.arange(length, dtype=torch.float32) - middle) / length
    return torch.exp(-(position**2) / (2 * VARIANCE))
