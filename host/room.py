"""Memory that a run needs beside the host's own estimate: keys and values, frozen answers, embedded hints."""

import math
from collections.abc import Callable, Iterable

import comfy.controlnet
import comfy.model_base
import comfy.model_management
import torch

from ..models.semantics import Semantics
from .adapter import SemanticAdapter

HALVES = 2  # of CFG; with cfg 1 there is one, which isn't known before the run


class Room(comfy.controlnet.ControlBase):
    """A control that controls nothing: the host asks controls, and nothing else of ours, for their memory."""

    def __init__(self, bytes_needed: Callable[[], float]) -> None:
        super().__init__()
        self._bytes_needed = bytes_needed

    def get_models(self) -> list:
        """Return no models: there are none."""
        return []

    def deepclone_multigpu(self, load_device: torch.device, autoregister: bool = False) -> "Room":
        """Return itself, which needs as much on every device."""
        if autoregister:
            self.multigpu_clones[load_device] = self
        return self

    def inference_memory_requirements(self, dtype: torch.dtype) -> float:  # noqa: ARG002
        """Return bytes. `dtype` doesn't matter: it is that of stored weights, which may be narrower."""
        return self._bytes_needed()


def reserve(conds: dict, key: str, bytes_needed: Callable[[], float]) -> dict:
    """Return `conds`, as the host prepares a run with them, with a request for memory added."""
    return conds | {key: [{"control": Room(bytes_needed)}]}


def controls_of(conds: Iterable[Iterable[dict] | None]) -> list[comfy.controlnet.ControlBase]:
    """Return every control of the conds' chains once, without those that only reserve memory."""
    found: dict[comfy.controlnet.ControlBase, None] = {}
    for control in (cond["control"] for rows in conds for cond in rows or () if "control" in cond):
        while control is not None:
            found |= dict.fromkeys([control, *control.multigpu_clones.values()])
            control = control.previous_controlnet
    return [control for control in found if not isinstance(control, Room)]


def kept_numbers(adapter: SemanticAdapter, semantics: Semantics, tiles: int) -> int:
    """Return how many numbers are kept of `semantics`: tokens, and keys and values in every attention.

    `tiles` is how many of them are evaluated at once; it matters where tiles are read on their own.
    """
    width = sum(len(a.transformer_blocks) * a.in_channels for a in adapter.attentions.values())
    views = {"global": 1, "tile": tiles, "both": 1 + tiles}[semantics.view]
    return views * math.prod(semantics.tokens.shape[:2]) * (2 * width + semantics.tokens.shape[2])


def frozen_numbers(adapter: SemanticAdapter, reductions: dict[str, int], cells: int) -> int:
    """Return how many numbers frozen answers are for `cells` of latent, over tiles, photos and CFG halves.

    `reductions` is by what each place divides the sides of the latent.
    """
    return sum(
        len(attention.transformer_blocks) * attention.in_channels * math.ceil(cells / reductions[site] ** 2)
        for site, attention in adapter.attentions.items()
    )


def computing_size(model: "comfy.model_base.BaseModel") -> int:
    """Return the bytes of a number as the network computes; weights may be stored in fewer."""
    return comfy.model_management.dtype_size(model.get_dtype_inference())
