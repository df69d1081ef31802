"""The tiles of one sampling run, and how the rest of the extension learns of them."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..sample.tiles import Grid, Tile, TilePlan
from .progress import SamplingProgress

# Keys of transformer_options.
RUN_KEY = "ugcsr_tile_run"  # the TileRun
PLAN_KEY = "ugcsr_tile"  # the TilePlan of the tiles that are evaluated now
LEVEL_KEY = "ugcsr_noise_level"  # the noise level of this step as a number
SMALLEST = 16  # latent cells; a UNet with three halvings still sees 2x2


@dataclass
class TileRun:
    """The tiles of one sampling run, smaller after each time the memory ran out.

    `photos`, `height` and `width` are those of the latent, in cells.
    """

    tile: int
    overlap: int
    batch: int
    grid: Grid
    photos: int = 0
    height: int = 0
    width: int = 0
    encoded_hints: dict[Any, Tensor] = field(default_factory=dict)
    told: SamplingProgress | None = None  # from the first step on

    @property
    def boxes(self) -> list[Tile]:
        """The tiles of the latent."""
        return self.grid.split(self.height, self.width, self.tile, self.overlap)

    @property
    def at_once(self) -> int:
        """How many tiles are evaluated together."""
        return min(self.batch, len(self.boxes))

    @property
    def cells(self) -> int:
        """How many cells all tiles of all photos have."""
        return self.photos * sum(box.height * box.width for box in self.boxes)

    def batches(self) -> Iterator[tuple[Tile, ...]]:
        """Batches that differ by one tile at most: 9 tiles, 4 at once, go as 3 + 3 + 3."""
        boxes = self.boxes
        count = math.ceil(len(boxes) / self.batch)
        for i in range(count):
            yield tuple(boxes[i * len(boxes) // count : (i + 1) * len(boxes) // count])

    def telling(self, transformer_options: Mapping) -> SamplingProgress:
        """Return who tells of this run; its noise levels are read from the device once."""
        if self.told is None:
            levels = transformer_options.get("sample_sigmas")
            self.told = SamplingProgress(() if levels is None else tuple(levels.cpu().tolist()))
        return self.told

    def shrink(self) -> bool:
        """Halve the batch of tiles, then the tile; False if there is nothing left to halve."""
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
    """Return the tiles of the present run, or None where the latent is sampled whole."""
    run = transformer_options.get(RUN_KEY)
    return run if run is not None and run.photos else None


def tile_plan(transformer_options: Mapping) -> TilePlan | None:
    """Return what lies under the tensors that are evaluated now, or None where that is the whole latent."""
    return transformer_options.get(PLAN_KEY)


def noise_level(transformer_options: Mapping, sigma: Tensor) -> float:
    """Return the largest of `sigma` as a number.

    Reading it waits for the device, so with tiles it is read once a step for all of them.
    """
    level = transformer_options.get(LEVEL_KEY)
    return float(sigma.max()) if level is None else level
