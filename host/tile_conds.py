"""What a batch of tiles sees of the conditioning: cut masks, areas, concat latents and control hints."""

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
from .room import controls_of

FUZZ = 8  # latent cells over which the host fades an area without mask (samplers.get_area_and_mult)


def cut_cond(cond: dict[str, Any], plan: TilePlan, device: torch.device) -> dict[str, Any] | None:
    """The cond of one stack of tiles, or None where it has no say in any of them.

    Areas have no place in a stack of tiles that lie elsewhere: they become masks with the very
    weights that the host would give them. The uuid stays, so hooks and schedules still find it.

    Raises:
        ValueError: for GLIGEN, rather than a wrong picture.
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
    """Let the host's own ControlNets see the tiles' part of their hint for the time of one call.

    Ours read the plan themselves. `encoded` keeps, over the steps, hints that had to go through a VAE.
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
    """(b, ..., H, W) -> (tiles * batch, ..., h, w), tile-major; b cycles as the host would cycle it."""
    x = repeat_to_batch_size(x, plan.batch)
    return torch.cat([box.of(x) for box in plan.boxes])


def _cut_model_cond(cond: Any, plan: TilePlan) -> Any:
    """Cut what has the latent's size; bring the rest to the image batch, so that it cycles by tile."""
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
    """The host's weight of an area without mask: faded towards sides that aren't the image's own."""
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
    """The foreign controls of the conds' chains, each once.

    Raises:
        ValueError: for kinds of control whose hint we can't cut, rather than a wrong picture.
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
    """Cut a hint (b, c, H, W), resized as the host would for the whole latent."""
    cell = control.compression_ratio
    if control.vae is not None:
        cell *= control.vae.spacial_compression_encode()
    height, width = (n * cell for n in plan.full)
    if tuple(image.shape[-2:]) != (height, width):
        image = common_upscale(image, width, height, control.upscale_algorithm, "center")
    boxes = tuple(box.scaled(cell) for box in plan.boxes)
    return _cut(image, plan._replace(boxes=boxes))
