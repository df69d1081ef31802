"""Conditioning of a stack of tiles: cropped masks, areas, concatenated latents and control hints."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from comfy.conds import CONDConstant
from comfy.controlnet import ControlNet, T2IAdapter
from comfy.utils import common_upscale, repeat_to_batch_size
from torch import Tensor

from ..sample.tiles import TilePlan
from .controlnet import SemanticControlNet
from .memory_request import controls_of

FUZZ = 8  # latent cells over which the host fades an area without mask (samplers.get_area_and_mult)


def cut_cond(cond: dict[str, Any], plan: TilePlan, device: torch.device) -> dict[str, Any] | None:
    """Return the cond of one stack of tiles, or None if its area covers none of them.

    The tiles of a stack lie in different places, so an area becomes a mask with the weights that the host
    would give it. The uuid is unchanged, so that hooks and schedules still find the cond.

    Raises:
        ValueError: if the cond uses GLIGEN, which can't be tiled.
    """
    if "gligen" in cond:
        raise ValueError(
            "Tile Diffusion: GLIGEN boxes are positions in the whole image, which tiles can't keep. "
            "Remove GLIGEN Textbox Apply or Tile Diffusion."
        )
    cut = cond.copy()
    cut["model_conds"] = {name: _cut_model_cond(c, plan) for name, c in cond["model_conds"].items()}
    mask = cond.get("mask")
    if "area" in cond:
        area = _clip(cut.pop("area"), plan.full)
        if not any(_meet(area, box) for box in plan.boxes):
            return None
        mask = (
            _faded(area, plan.full).to(device) if mask is None else mask * _inside(area, plan.full).to(mask)
        )
    if mask is not None:
        cut["mask"] = _cut(mask, plan)
    return cut


@contextmanager
def cropped_hints(conds: Any, plan: TilePlan, encoded: dict[Any, Tensor]) -> Iterator[None]:
    """Replace the hints of the host's own ControlNets by their crops under the tiles, for one call.

    Semantic ControlNets read the plan themselves. `encoded` caches, over the steps, hints that a VAE encoded.
    """
    controls = _controls(conds)
    kept = [(control.cond_hint_original, control.extra_concat_orig) for control in controls]
    stack = len(plan.boxes) * plan.batch
    try:
        for control in controls:
            control.cond_hint_original = _cut_image(control, control.cond_hint_original, plan)
            control.extra_concat_orig = [_cut_image(control, c, plan) for c in control.extra_concat_orig]
            control.cond_hint = encoded.get((control, plan.boxes))
        yield
        for control in controls:
            if control.vae is not None and control.cond_hint is not None:
                encoded[control, plan.boxes] = control.cond_hint[:stack]
    finally:
        for control, (hint, extra) in zip(controls, kept, strict=True):
            control.cond_hint_original, control.extra_concat_orig, control.cond_hint = hint, extra, None


def _cut(x: Tensor, plan: TilePlan) -> Tensor:
    """Return the crops (tiles * batch, ..., h, w) of x (b, ..., H, W), tile-major.

    Rows of x cycle as in the host.
    """
    x = repeat_to_batch_size(x, plan.batch)
    return torch.cat([box.of(x) for box in plan.boxes])


def _cut_model_cond(cond: Any, plan: TilePlan) -> Any:
    """Return a cond cropped if it has the latent's size, or else repeated to the image batch."""
    if isinstance(cond, CONDConstant):
        return cond
    x = getattr(cond, "cond", None)
    if isinstance(x, Tensor) and x.ndim >= 4 and tuple(x.shape[-2:]) == plan.full:
        return cond._copy_with(_cut(x, plan))
    return cond.process_cond(batch_size=plan.batch, area=None)


def _clip(area: Any, full: tuple[int, int]) -> tuple[int, int, int, int]:
    height, width, top, left = area
    return min(full[0] - top, height), min(full[1] - left, width), top, left


def _meet(area: tuple[int, int, int, int], box: Any) -> bool:
    height, width, top, left = area
    rows = min(top + height, box.top + box.height) - max(top, box.top)
    columns = min(left + width, box.left + box.width) - max(left, box.left)
    return rows > 0 and columns > 0


def _inside(area: tuple[int, int, int, int], full: tuple[int, int]) -> Tensor:
    height, width, top, left = area
    mask = torch.zeros(1, *full)
    mask[:, top : top + height, left : left + width] = 1
    return mask


def _faded(area: tuple[int, int, int, int], full: tuple[int, int]) -> Tensor:
    """Return the host's weights of an area without mask, which fade towards sides inside the image."""
    height, width, top, left = area
    rows, columns = _fade(height, top, full[0]), _fade(width, left, full[1])
    mask = _inside(area, full)
    mask[:, top : top + height, left : left + width] = torch.outer(rows, columns)
    return mask


def _fade(length: int, start: int, full: int) -> Tensor:
    weight = torch.ones(length)
    steps = min(FUZZ, length // 4)
    ramp = torch.arange(1, steps + 1) / max(steps, 1)
    if start:
        weight[:steps] *= ramp
    if start + length < full:
        weight[length - steps :] *= ramp.flip(0)
    return weight


def _controls(conds: Any) -> list[Any]:
    """Return the controls of the conds' chains that aren't semantic ControlNets, each once.

    Raises:
        ValueError: if a control is of a kind whose hint can't be cropped.
    """
    foreign = [control for control in controls_of(conds) if not isinstance(control, SemanticControlNet)]
    for control in foreign:
        if not isinstance(control, (ControlNet, T2IAdapter)):
            raise ValueError(
                f"Tile Diffusion: can't cut the hint of a {type(control).__name__} into tiles; "
                "expected a ControlNet or a T2I-Adapter. Remove that control or Tile Diffusion."
            )
    return foreign


def _cut_image(control: Any, image: Tensor, plan: TilePlan) -> Tensor:
    """Return the crops of a hint (b, c, H, W), resized as the host would for the whole latent."""
    cell = control.compression_ratio
    if control.vae is not None:
        cell *= control.vae.spacial_compression_encode()
    height, width = (n * cell for n in plan.full)
    if tuple(image.shape[-2:]) != (height, width):
        image = common_upscale(image, width, height, control.upscale_algorithm, "center")
    boxes = tuple(box.scaled(cell) for box in plan.boxes)
    return _cut(image, plan._replace(boxes=boxes))
