"""The tiles of one sampling run, and access to them from the options of the run."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..sample.tiles import Grid, Tile, TilePlan
from .progress import SamplingProgress

# Keys of transformer_options.
RUN_KEY = "ugcsr_tile_run"  # of the TileRun
PLAN_KEY = "ugcsr_tile"  # of the TilePlan of the tiles that are evaluated now
LEVEL_KEY = "ugcsr_noise_level"  # of the noise level of this step, a float
SMALLEST = 16  # latent cells; 2x2 after the three halvings of a UNet


@dataclass
class TileRun:
    """The tiles of one sampling run; they become smaller each time the memory runs out.

    Attributes:
        tile: side of a tile, in latent cells.
        overlap: least overlap of neighbours, in latent cells.
        batch: largest number of tiles that are evaluated together.
        grid: method of tiling.
        photos: number of photos in the latent; 0 if it isn't one of images.
        height: height of the latent, in cells.
        width: width of the latent, in cells.
        encoded_hints: cache of hints that a VAE encoded, by control and tiles.
        shown: progress of the run, from the first step on.
    """

    tile: int
    overlap: int
    batch: int
    grid: Grid
    photos: int = 0
    height: int = 0
    width: int = 0
    encoded_hints: dict[Any, Tensor] = field(default_factory=dict)
    shown: SamplingProgress | None = None

    @property
    def boxes(self) -> list[Tile]:
        """The tiles of the latent."""
        return self.grid.split(self.height, self.width, self.tile, self.overlap)

    @property
    def at_once(self) -> int:
        """Number of tiles that are evaluated together."""
        return min(self.batch, len(self.boxes))

    @property
    def cells(self) -> int:
        """Number of latent cells in all tiles of all photos; overlaps count several times."""
        return self.photos * sum(box.height * box.width for box in self.boxes)

    def batches(self) -> Iterator[tuple[Tile, ...]]:
        """Yield batches of tiles whose sizes differ by one at most.

        9 tiles with at most 4 at once become 3 + 3 + 3.
        """
        boxes = self.boxes
        count = math.ceil(len(boxes) / self.batch)
        for i in range(count):
            yield tuple(boxes[i * len(boxes) // count : (i + 1) * len(boxes) // count])

    def progress(self, transformer_options: Mapping) -> SamplingProgress:
        """Return the progress of this run; its noise levels are copied from the device once."""
        if self.shown is None:
            levels = transformer_options.get("sample_sigmas")
            self.shown = SamplingProgress(() if levels is None else tuple(levels.cpu().tolist()))
        return self.shown

    def shrink(self) -> bool:
        """Halve the batch of tiles, or else the tile; return False if nothing is left to halve."""
        self.encoded_hints.clear()
        if self.at_once > 1:
            self.batch = self.at_once // 2
            return True
        tile = min(self.tile, max(self.height, self.width))
        half = max(tile // 2 // 8 * 8, SMALLEST)
        if half >= tile:
            return False
        self.overlap = self.overlap * half // self.tile
        self.tile = half
        return True


def tile_run(transformer_options: Mapping) -> TileRun | None:
    """Return the tiles of the present run, or None if the latent is sampled whole."""
    run = transformer_options.get(RUN_KEY)
    return run if run is not None and run.photos else None


def tile_plan(transformer_options: Mapping) -> TilePlan | None:
    """Return the tiles that are evaluated now, or None if the whole latent is."""
    return transformer_options.get(PLAN_KEY)


def noise_level(transformer_options: Mapping, sigma: Tensor) -> float:
    """Return the largest of `sigma` as a float.

    Reading it waits for the device, so with tiles it is read once a step for all of them.
    """
    level = transformer_options.get(LEVEL_KEY)
    return float(sigma.max()) if level is None else level
