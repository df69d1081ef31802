"""Tile geometry, and blending of what was computed tile by tile."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

VARIANCE = 0.01  # of the Gaussian, in tile lengths squared: SeeSR's and SRlab's value


class Tile(NamedTuple):
    """A box, in the cells of one grid."""

    top: int
    left: int
    height: int
    width: int

    def of(self, x: Tensor) -> Tensor:
        """The cut of x (..., H, W) under this tile: a view."""
        return x[..., self.top : self.top + self.height, self.left : self.left + self.width]

    def scaled(self, factor: int) -> "Tile":
        """The same box on a grid that is `factor` times finer."""
        return Tile(*(n * factor for n in self))


class TilePlan(NamedTuple):
    """What lies under the stacked tensors of one call: `boxes` of a `full` (h, w) latent.

    Stacks are tile-major: [tile 0 of image 0 .. batch-1, tile 1 of image 0 .. batch-1, ...].
    """

    boxes: tuple[Tile, ...]
    full: tuple[int, int]
    batch: int


def split(height: int, width: int, tile: int, overlap: int) -> list[Tile]:
    """Tiles of one size, spread evenly, that cover height x width with at least `overlap` in common.

    Raises:
        ValueError: if `tile` isn't positive or `overlap` isn't smaller than it.
    """
    _check(tile, overlap)
    rows, columns = _offsets(height, tile, overlap), _offsets(width, tile, overlap)
    return [Tile(top, left, min(tile, height), min(tile, width)) for top in rows for left in columns]


def split_seesr(height: int, width: int, tile: int, overlap: int) -> list[Tile]:
    """The tiles of SeeSR (arXiv 2311.16518) and SRlab, whose neighbours share `overlap` or more.

    A latent of no more cells than a tile stays whole, whatever its sides. Else tiles are squares, no
    larger than its shorter side, every `tile - overlap` cells; the last is moved back inside.

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
    """Gaussian bump (height, width), float32, centred and symmetric.

    Never clamped: a floor makes the corners of neighbouring tiles weigh the same as their edges,
    which showed as an error of 2.5e-2 along the borders of the image.
    """
    return torch.outer(_bump(height, (height - 1) / 2), _bump(width, (width - 1) / 2))


def weights_seesr(height: int, width: int) -> Tensor:
    """The same bump as SeeSR and SRlab place it: half a cell lower than the middle of the tile."""
    return torch.outer(_bump(height, height / 2), _bump(width, (width - 1) / 2))


class Grid(NamedTuple):
    """How tiles are laid out, and how they weigh where they overlap."""

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
    """Weighted mean (..., height, width) of `cuts` (..., tile height, tile width), one for each tile.

    Sums in float32 or better and returns the cuts' dtype; `cuts` may be a generator. `weights` makes
    those of a tile from its height and width.

    Raises:
        ValueError: without tiles.
    """
    total, norm, dtype = None, None, None
    bumps: dict[tuple[int, int], Tensor] = {}  # one for all tiles of a size, brought to the device once
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
