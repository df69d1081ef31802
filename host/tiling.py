"""Tiled sampling: each evaluation of the MODEL runs on overlapping tiles of the latent."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..sample.tiles import GRIDS, Grid, TilePlan, blend
from .clone import clone, replace_wrapper
from .controlnet import SemanticControlNet
from .memory import is_out_of_memory
from .memory_request import controls_of, reserve
from .naming import naming
from .tile_conds import NODE, cropped_hints, cut_cond
from .tile_run import LEVEL_KEY, PLAN_KEY, RUN_KEY, TileRun

log = logging.getLogger(__name__)

KEY = "ugcsr_tiling"  # of our wrappers

Conds = list[list[dict[str, Any]] | None]


def tile_diffusion(model: Any, tile: int, overlap: int, batch: int, grid: str = "even") -> Any:
    """Return a clone of MODEL that samples in tiles with any sampler.

    It wraps CALC_COND_BATCH, inside which controls, masks, hooks and memory checks all see tiles, and
    PREPARE_SAMPLING, so that memory is reserved for one batch of tiles instead of the whole latent. The new
    tiles replace those of a MODEL that is tiled already.

    Args:
        model: the MODEL.
        tile: side of a tile, in latent cells.
        overlap: least overlap of neighbours, in latent cells.
        batch: number of tiles that are evaluated at once.
        grid: method of tiling, a key of GRIDS.

    Raises:
        ValueError: if no latent can be split into such tiles.
    """
    tiling = Tiling(tile=tile, overlap=overlap, batch=batch, grid=GRIDS[grid])
    tiling.grid.split(tile, tile, tile, overlap)  # raises for sizes that no latent can be split by
    tiled = clone(model)
    replace_wrapper(tiled, WrappersMP.PREPARE_SAMPLING, KEY, tiling.prepare_sampling)
    replace_wrapper(tiled, WrappersMP.CALC_COND_BATCH, KEY, tiling.calc_cond_batch)
    return tiled


def latent_ratio(model: Any) -> int:
    """Return the side of a latent cell of this MODEL in pixels, 8 for Stable Diffusion."""
    return model.get_model_object("latent_format").spacial_downscale_ratio


@dataclass(frozen=True)
class Tiling:
    """The two wrappers of a tiled MODEL.

    Clones of the MODEL share it, so it never changes; the state of a run is in its TileRun.

    Attributes:
        tile: side of a tile, in latent cells.
        overlap: least overlap of neighbours, in latent cells.
        batch: number of tiles that are evaluated at once.
        grid: method of tiling.
    """

    tile: int
    overlap: int
    batch: int
    grid: Grid

    def prepare_sampling(
        self, executor: Any, model: Any, shape: Any, conds: Any, model_options: Any = None, **options: Any
    ) -> Any:
        """Return what the host prepares for a run, with memory reserved for one batch of tiles."""
        run = self._run(shape)
        if model_options is not None:
            model_options.setdefault("transformer_options", {})[RUN_KEY] = run
        if run.photos:
            box = run.boxes[0]
            shape = torch.Size((run.photos * run.at_once, shape[1], box.height, box.width))
        requested = reserve(conds, KEY, lambda: _more_for_tiles(run, conds))
        real_model, _, models = executor(model, shape, requested, model_options=model_options, **options)
        return real_model, conds, models

    def calc_cond_batch(
        self, executor: Any, model: Any, conds: Conds, x: Tensor, timestep: Tensor, options: dict[str, Any]
    ) -> list[Tensor]:
        """Return the outputs of all conds for x (B, C, H, W), with smaller tiles if memory runs out.

        Raises:
            ValueError: if the latent isn't one of images.
        """
        if x.ndim != 4:
            raise ValueError(
                f"{NODE}: the latent has shape {tuple(x.shape)}; expected that of images, "
                "(batch, channels, height, width). Remove Tile Diffusion from this graph."
            )
        run = options.get("transformer_options", {}).get(RUN_KEY) or self._run(x.shape)
        while True:
            try:
                return self._evaluate(run, executor, model, conds, x, timestep, options)
            except Exception as error:
                if not is_out_of_memory(error) or not run.shrink():
                    raise
            log.warning(
                "%s: out of memory; going on with tiles of %d latent cells, %d at once.",
                NODE,
                run.tile,
                run.batch,
            )
            comfy.model_management.soft_empty_cache()

    def _run(self, shape: Any) -> TileRun:
        photos, _, height, width = shape if len(shape) == 4 else (0, 0, 0, 0)
        with naming(NODE):
            self.grid.split(height, width, self.tile, self.overlap)  # raises for a latent too narrow for it
        return TileRun(self.tile, self.overlap, self.batch, self.grid, photos, height, width)

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
        boxes = run.boxes
        if len(boxes) == 1:
            return executor(model, conds, x, timestep, options)
        level = float(timestep.max())
        progress = run.progress(options.get("transformer_options", {}))

        def cuts() -> Iterator[Tensor]:
            done = 0
            for stack in run.batches():
                comfy.model_management.throw_exception_if_processing_interrupted()
                progress.show(level, done, done + len(stack), len(boxes))
                done += len(stack)
                plan = TilePlan(boxes=stack, full=(height, width), batch=x.shape[0])
                present = {**options.get("transformer_options", {}), PLAN_KEY: plan, LEVEL_KEY: level}
                tiled = [None if cond is None else _cut_all(cond, plan, x.device) for cond in conds]
                stacked = torch.cat([box.of(x) for box in stack])
                with cropped_hints(conds, plan, run.encoded_hints):
                    out = executor(
                        model,
                        tiled,
                        stacked,
                        timestep.repeat(len(stack)),
                        {**options, "transformer_options": present},
                    )
                yield from torch.stack(out).unflatten(1, (len(stack), -1)).unbind(1)

        return list(blend(boxes, cuts(), height, width, run.grid.weights).unbind(0))


def _more_for_tiles(run: TileRun, conds: dict[str, Any]) -> float:
    """Return the bytes that controls keep for overlapping tiles beyond their own request."""
    if not run.photos:
        return 0
    return sum(
        control.cache_bytes(run.cells, run.at_once) - control.cache_bytes()
        for control in controls_of(conds.values())
        if isinstance(control, SemanticControlNet)
    )


def _cut_all(conds: list[dict[str, Any]], plan: TilePlan, device: torch.device) -> list[dict[str, Any]]:
    cut = (cut_cond(cond, plan, device) for cond in conds)
    return [cond for cond in cut if cond is not None]
