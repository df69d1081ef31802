"""Tile layouts that fit into memory with as few tiles as possible, and the memory use of each stage."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ..image import round_up
from .tiles import split

GIB = 1024**3
STEP = 64  # pixels; tile sides are multiples of it
SMALLEST, LARGEST = 256, 4096  # pixels; limits of the tile side in the nodes that work in tiles
AT_ONCE = 64  # largest number of tiles that are sampled at once
VAE_DEFAULT = 512  # pixels; default tile side of the host's tiled VAE nodes


class TileSizes(NamedTuple):
    """Tile sizes that suit a model, in pixels of the restored photo.

    Attributes:
        largest: largest side of a tile.
        smallest: smallest side of a tile, unless memory requires a smaller one.
        share: neighbours overlap by at least 1 / `share` of a tile.
    """

    largest: int
    smallest: int
    share: int


# SeeSR and SRlab use tiles of 768 px that overlap by a third; Stable Diffusion 2-base was trained at 512 px.
# An overlap of a quarter needs six tiles for 1920x1080 px instead of eight, and an even grid widens it.
SD2 = TileSizes(largest=768, smallest=512, share=4)
NANO = TileSizes(largest=1024, smallest=512, share=8)  # as the quick start; 512 is assumed


@dataclass(frozen=True)
class Layout:
    """Grid of `rows` x `columns` tiles over a canvas; `tile` and `overlap` are in pixels."""

    tile: int
    overlap: int
    rows: int
    columns: int

    @property
    def count(self) -> int:
        """Number of tiles."""
        return self.rows * self.columns


@dataclass(frozen=True)
class Memory:
    """Memory of a device in bytes; if it `offloads`, weights that don't fit wait in another memory."""

    size: float
    offloads: bool

    def beside(self, weights: float) -> float:
        """Return the bytes left for activations beside `weights` bytes of weights.

        On a device that offloads weights, at least half of the memory (assumed) is left.
        """
        return max(self.size - weights, self.size / 2 if self.offloads else 0)


@dataclass(frozen=True)
class Stage:
    """One stage of a restoration and its memory use.

    Attributes:
        name: name of the stage.
        description: short description of its work, for the report.
        weights: bytes of its weights.
        work: bytes of its activations.
        memory: memory of the device that it runs on.
    """

    name: str
    description: str
    weights: float
    work: float
    memory: Memory

    @property
    def share(self) -> float:
        """Memory use of the stage divided by the size of the memory."""
        return (self.weights + self.work) / max(self.memory.size, 1)

    def __str__(self) -> str:
        missing = self.weights + self.work - self.memory.size
        work, weights = readable_bytes(self.work), readable_bytes(self.weights)
        line = f"{self.name}: {self.description}; {work} and {weights} of weights."
        if missing <= 0:
            return line
        if self.memory.offloads and missing <= self.weights:
            return f"{line} {readable_bytes(missing)} of the weights wait in RAM, which takes longer."
        return f"{line} {readable_bytes(missing)} more than there is: close other programs, or lower 'scale'."


@dataclass(frozen=True)
class Plan:
    """Sizes for the nodes that work in tiles, with the memory use of each stage; str() is the report.

    Attributes:
        canvas: (photos, height, width), in pixels.
        layout: tiles of the sampling.
        tile_batch: number of tiles that are sampled at once.
        vae_tile: side of a tile of the VAE, in pixels.
        stages: stages in the order in which they run.
    """

    canvas: tuple[int, int, int]
    layout: Layout
    tile_batch: int
    vae_tile: int
    stages: tuple[Stage, ...]

    def __str__(self) -> str:
        photos, height, width = self.canvas
        most = max(self.stages, key=lambda stage: stage.share)
        lines = [
            f"{photos} x {width}x{height} px, {photos * height * width / 1e6:.1f} megapixels.",
            *map(str, self.stages),
            f"{most.name} sets the limit: {100 * most.share:.0f} % of {readable_bytes(most.memory.size)}.",
        ]
        return "\n".join(lines)


def lay_out(height: int, width: int, sizes: TileSizes, fits: Callable[[int], bool]) -> Layout:
    """Return the layout with the fewest tiles, and among those the one with the smallest tiles.

    Args:
        height: height of the canvas, in pixels.
        width: width of the canvas, in pixels.
        sizes: sizes that suit the model; tiles are no larger than the canvas.
        fits: function that returns True if a tile with that side, in pixels, fits into memory. Tiles become
            smaller than `sizes` only if larger ones don't fit; if none fits, the smallest size is used.
    """
    largest = largest_square(height, width, fits, sizes.largest)
    fewest = _layout(height, width, largest, sizes.share)
    smaller = range(min(sizes.smallest, largest), largest, STEP)
    layouts = (_layout(height, width, tile, sizes.share) for tile in smaller)
    return next((layout for layout in layouts if layout.count == fewest.count), fewest)


def fixed(height: int, width: int, tile: int, sizes: TileSizes) -> Layout:
    """Return the layout for tiles of a given side, in pixels, which is limited to the canvas."""
    return _layout(height, width, _within(tile // STEP * STEP, height, width), sizes.share)


def tiles_at_once(count: int, fits: Callable[[int], bool]) -> int:
    """Return the number of tiles, out of `count`, to compute at once.

    It is the smallest number that needs no more rounds than the largest number for which `fits` is true.
    """
    most = next((n for n in range(min(count, AT_ONCE), 1, -1) if fits(n)), 1)
    return math.ceil(count / math.ceil(count / most))


def largest_square(height: int, width: int, fits: Callable[[int], bool], limit: int = LARGEST) -> int:
    """Return the side in pixels of the largest tile up to `limit` for which `fits` is true.

    The tile is limited to the canvas, and is never smaller than SMALLEST.
    """
    largest = _within(limit, height, width)
    return next((tile for tile in range(largest, SMALLEST, -STEP) if fits(tile)), SMALLEST)


def readable_bytes(size: float) -> str:
    """Return a number of bytes as text, such as "1.5 GiB" or "300 MiB"."""
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / GIB * 1024:.0f} MiB"


def _layout(height: int, width: int, tile: int, share: int) -> Layout:
    overlap = round_up(tile, 32 * share) // share
    tiles = split(height, width, tile, overlap)
    rows = len({box.top for box in tiles})
    return Layout(tile, overlap, rows, len(tiles) // rows)


def _within(tile: int, height: int, width: int) -> int:
    return min(max(tile, SMALLEST), max(round_up(max(height, width), STEP), SMALLEST), LARGEST)
