"""The plan of a restoration: tiles that fit into memory, as few as can be, and what each stage takes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from .tiles import split

GIB = 1024**3
STEP = 64  # pixels: tile sizes are multiples
SMALLEST, LARGEST = 256, 4096  # pixels: sides of tiles that the nodes for tiles take
AT_ONCE = 64  # tiles: the most that Tile Diffusion takes
VAE_DEFAULT = 512  # pixels: tiles of the host's tiled VAE nodes


class Suited(NamedTuple):
    """Tiles that suit a model, by their sides in pixels of the restored photo."""

    largest: int
    smallest: int  # while memory allows
    share: int  # neighbours have one part in so many of a tile in common, at least


# SeeSR and SRlab tile by 768 px and share a third; Stable Diffusion 2-base was trained at 512. A quarter
# makes six tiles of 1920x1080 instead of eight, and an even grid shares what is left over besides.
SD2 = Suited(largest=768, smallest=512, share=4)
NANO = Suited(largest=1024, smallest=512, share=8)  # 1024 and 128 are the quick start's, 512 is assumed


@dataclass(frozen=True)
class Layout:
    """Tiles over a canvas, in pixels of the restored photo."""

    tile: int
    overlap: int
    rows: int
    columns: int

    @property
    def count(self) -> int:
        """How many tiles."""
        return self.rows * self.columns


@dataclass(frozen=True)
class Memory:
    """Bytes of a device; where it `offloads`, weights that find no room wait elsewhere."""

    size: float
    offloads: bool

    def beside(self, weights: float) -> float:
        """Bytes left for work. Where weights can wait, at least half (assumed) whatever they take."""
        return max(self.size - weights, self.size / 2 if self.offloads else 0)


@dataclass(frozen=True)
class Stage:
    """What one stage does, and how many bytes its weights and its work take of a memory."""

    name: str
    does: str
    weights: float
    work: float
    memory: Memory

    @property
    def share(self) -> float:
        """What it takes / what there is."""
        return (self.weights + self.work) / max(self.memory.size, 1)

    def __str__(self) -> str:
        missing = self.weights + self.work - self.memory.size
        line = f"{self.name}: {self.does}; {in_words(self.work)} and {in_words(self.weights)} of weights."
        if missing <= 0:
            return line
        if self.memory.offloads and missing <= self.weights:
            return f"{line} {in_words(missing)} of the weights wait in RAM, which takes longer."
        return f"{line} {in_words(missing)} more than there is: close other programs, or lower 'scale'."


@dataclass(frozen=True)
class Plan:
    """Sizes for the nodes that work in tiles, and why; its text is for a person at the graph.

    `canvas` is (photos, height, width).
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
            f"{most.name} sets the limit: {100 * most.share:.0f} % of {in_words(most.memory.size)}.",
        ]
        return "\n".join(lines)


def lay_out(height: int, width: int, suited: Suited, fits: Callable[[int], bool]) -> Layout:
    """The fewest tiles that a canvas needs, and of such layouts the one whose tiles are smallest.

    Tiles are as `suited`, no larger than the canvas, and smaller where only that `fits` (by their side) into
    memory. Even if nothing fits there is a layout, of the smallest tiles.
    """
    largest = min(suited.largest, max(_up(max(height, width), STEP), SMALLEST))
    largest = next((tile for tile in range(largest, SMALLEST, -STEP) if fits(tile)), SMALLEST)
    fewest = _layout(height, width, largest, suited.share)
    smaller = range(min(suited.smallest, largest), largest, STEP)
    layouts = (_layout(height, width, tile, suited.share) for tile in smaller)
    return next((layout for layout in layouts if layout.count == fewest.count), fewest)


def fixed(height: int, width: int, tile: int, suited: Suited) -> Layout:
    """The layout of tiles of a size that was asked for, no larger than the canvas."""
    return _layout(height, width, _within(tile // STEP * STEP, height, width), suited.share)


def at_once(count: int, fits: Callable[[int], bool]) -> int:
    """How many of `count` tiles to compute at once: as few as need no more rounds than all that `fits`."""
    most = next((n for n in range(min(count, AT_ONCE), 1, -1) if fits(n)), 1)
    return math.ceil(count / math.ceil(count / most))


def largest_square(height: int, width: int, fits: Callable[[int], bool]) -> int:
    """The largest tile of the VAE that `fits` by its side, no larger than the canvas."""
    largest = _within(LARGEST, height, width)
    return next((tile for tile in range(largest, SMALLEST, -STEP) if fits(tile)), SMALLEST)


def in_words(size: float) -> str:
    """A number of bytes."""
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / GIB * 1024:.0f} MiB"


def _layout(height: int, width: int, tile: int, share: int) -> Layout:
    overlap = _up(tile, 32 * share) // share
    tiles = split(height, width, tile, overlap)
    rows = len({box.top for box in tiles})
    return Layout(tile, overlap, rows, len(tiles) // rows)


def _within(tile: int, height: int, width: int) -> int:
    return min(max(tile, SMALLEST), max(_up(max(height, width), STEP), SMALLEST), LARGEST)


def _up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
