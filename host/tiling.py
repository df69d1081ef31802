"""Tiled sampling: a MODEL clone whose every evaluation runs on overlapping tiles of the latent."""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import comfy.model_management
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..sample.tiles import GRIDS, Grid, Tile, TilePlan, blend
from .clone import clone
from .tile_conds import cropped_hints, cut_cond

log = logging.getLogger(__name__)

KEY = "ugcsr_tile"  # of our wrappers, and of the TilePlan in transformer_options
RUN_KEY = "ugcsr_tile_run"
SMALLEST = 16  # latent cells; a UNet with three halvings still sees 2x2

Conds = list[list[dict[str, Any]] | None]


def tile_diffusion(model: Any, tile: int, overlap: int, batch: int, grid: str = "even") -> Any:
    """Clone of MODEL that samples in tiles, whatever the sampler.

    Wraps CALC_COND_BATCH, inside which controls, masks, hooks and memory checks all see tiles, and
    PREPARE_SAMPLING, so that memory is reserved for one batch of tiles instead of the whole latent.
    A MODEL that is tiled already gets the new tiles.

    Args:
        model: the MODEL.
        tile: side of a tile, in latent cells.
        overlap: what neighbours share at least, in latent cells.
        batch: tiles evaluated at once.
        grid: how the tiles are laid out, a key of GRIDS.
    """
    tiling = Tiling(tile=tile, overlap=overlap, batch=batch, grid=GRIDS[grid])
    tiling.grid.split(tile, tile, tile, overlap)  # refuses sizes that no latent could be cut by
    tiled = clone(model)
    for kind, wrapper in (
        (WrappersMP.PREPARE_SAMPLING, tiling.prepare_sampling),
        (WrappersMP.CALC_COND_BATCH, tiling.calc_cond_batch),
    ):
        tiled.remove_wrappers_with_key(kind, KEY)
        tiled.add_wrapper_with_key(kind, KEY, wrapper)
    return tiled


def latent_ratio(model: Any) -> int:
    """Pixels along the side of one latent cell of this MODEL: 8 for Stable Diffusion."""
    return model.get_model_object("latent_format").spacial_downscale_ratio


@dataclass
class TileRun:
    """The tiles of one sampling run, smaller after each time the memory ran out."""

    tile: int
    overlap: int
    batch: int
    grid: Grid
    encoded_hints: dict[Any, Tensor] = field(default_factory=dict)

    def boxes(self, height: int, width: int) -> list[Tile]:
        """Tiles of a latent."""
        return self.grid.split(height, width, self.tile, self.overlap)

    def batches(self, boxes: list[Tile]) -> Iterator[tuple[Tile, ...]]:
        """Batches that differ by one tile at most: 9 tiles, 4 at once, go as 3 + 3 + 3."""
        count = math.ceil(len(boxes) / self.batch)
        for i in range(count):
            yield tuple(boxes[i * len(boxes) // count : (i + 1) * len(boxes) // count])

    def shrink(self, height: int, width: int) -> bool:
        """Halve the batch of tiles, then the tile; False if there is nothing left to halve."""
        self.encoded_hints.clear()
        batch = min(self.batch, len(self.boxes(height, width)))
        if batch > 1:
            self.batch = batch // 2
            return True
        tile = min(self.tile, max(height, width))
        half = max(tile // 2 // 8 * 8, SMALLEST)
        if half >= tile:
            return False
        self.overlap = self.overlap * half // self.tile
        self.tile = half
        return True


@dataclass(frozen=True)
class Tiling:
    """The two wrappers. Shared by all clones of the MODEL, so it never changes: see TileRun."""

    tile: int
    overlap: int
    batch: int
    grid: Grid

    def prepare_sampling(
        self, executor: Any, model: Any, shape: Any, conds: Any, model_options: Any = None, **options: Any
    ) -> Any:
        """Start a run, and let the host reserve memory for one batch of tiles."""
        run = self._run()
        if model_options is not None:
            model_options.setdefault("transformer_options", {})[RUN_KEY] = run
        if len(shape) == 4:
            boxes = run.boxes(*shape[2:])
            stacked = shape[0] * min(run.batch, len(boxes))
            shape = torch.Size((stacked, shape[1], boxes[0].height, boxes[0].width))
        return executor(model, shape, conds, model_options=model_options, **options)

    def calc_cond_batch(
        self, executor: Any, model: Any, conds: Conds, x: Tensor, timestep: Tensor, options: dict[str, Any]
    ) -> list[Tensor]:
        """Evaluate all conds on x (B, C, H, W), retrying with less at once if memory runs out.

        Raises:
            ValueError: for latents other than images'.
        """
        if x.ndim != 4:
            raise ValueError(
                f"Tile Diffusion: the latent has shape {tuple(x.shape)}; expected that of images, "
                "(batch, channels, height, width). Remove Tile Diffusion from this graph."
            )
        run = options.get("transformer_options", {}).get(RUN_KEY) or self._run()
        height, width = x.shape[2:]
        while True:
            try:
                return self._evaluate(run, executor, model, conds, x, timestep, options)
            except Exception as error:
                comfy.model_management.raise_non_oom(error)
                if not run.shrink(height, width):
                    raise
            log.warning(
                "Tile Diffusion: out of memory; going on with tiles of %d latent cells, %d at once.",
                run.tile,
                run.batch,
            )
            comfy.model_management.soft_empty_cache()

    def _run(self) -> TileRun:
        return TileRun(tile=self.tile, overlap=self.overlap, batch=self.batch, grid=self.grid)

    def _evaluate(
        self,
        run: TileRun,
        executor: Any,
        model: Any,
        conds: Conds,
        x: Tensor,
        timestep: Tensor,
        options: dict[str, Any],
    ) -> list[Tensor]:
        height, width = x.shape[2:]
        boxes = run.boxes(height, width)
        if len(boxes) == 1:
            return executor(model, conds, x, timestep, options)

        def cuts() -> Iterator[Tensor]:
            for stack in run.batches(boxes):
                comfy.model_management.throw_exception_if_processing_interrupted()
                plan = TilePlan(boxes=stack, full=(height, width), batch=x.shape[0])
                published = {**options.get("transformer_options", {}), KEY: plan}
                tiled = [None if cond is None else _cut_all(cond, plan, x.device) for cond in conds]
                stacked = torch.cat([box.of(x) for box in stack])
                with cropped_hints(conds, plan, run.encoded_hints):
                    out = executor(
                        model,
                        tiled,
                        stacked,
                        timestep.repeat(len(stack)),
                        {**options, "transformer_options": published},
                    )
                yield from torch.stack(out).unflatten(1, (len(stack), -1)).unbind(1)

        return list(blend(boxes, cuts(), height, width, run.grid.weights).unbind(0))


def _cut_all(conds: list[dict[str, Any]], plan: TilePlan, device: torch.device) -> list[dict[str, Any]]:
    cut = (cut_cond(cond, plan, device) for cond in conds)
    return [cond for cond in cut if cond is not None]
