"""Memory of a run beyond the host's own estimate: keys and values, embedded hints."""

from collections.abc import Callable, Iterable

import comfy.controlnet
import comfy.model_base
import comfy.model_management
import torch

from ..models.semantics import VIEWS, Semantics
from .adapter import SemanticAdapter


class MemoryRequest(comfy.controlnet.ControlBase):
    """A control without effect that requests memory for a run.

    Controls are the only objects of an extension that the host asks for their memory.
    """

    def __init__(self, bytes_needed: Callable[[], float]) -> None:
        super().__init__()
        self._bytes_needed = bytes_needed

    def get_models(self) -> list:
        """Return no models."""
        return []

    def deepclone_multigpu(self, load_device: torch.device, autoregister: bool = False) -> "MemoryRequest":
        """Return the control itself, because the request is the same on every device."""
        if autoregister:
            self.multigpu_clones[load_device] = self
        return self

    def inference_memory_requirements(self, dtype: torch.dtype) -> float:  # noqa: ARG002
        """Return the bytes of the request.

        `dtype` is ignored: it is the dtype of the stored weights, which may be narrower than that of the
        computation.
        """
        return self._bytes_needed()


def reserve(conds: dict, key: str, bytes_needed: Callable[[], float]) -> dict:
    """Return the conds that the host prepares a run with, plus a request for memory."""
    return conds | {key: [{"control": MemoryRequest(bytes_needed)}]}


def controls_of(conds: Iterable[Iterable[dict] | None]) -> list[comfy.controlnet.ControlBase]:
    """Return every control in the conds' chains once, without requests for memory."""
    found: dict[comfy.controlnet.ControlBase, None] = {}
    for control in (cond["control"] for rows in conds for cond in rows or () if "control" in cond):
        while control is not None:
            found |= dict.fromkeys([control, *control.multigpu_clones.values()])
            control = control.previous_controlnet
    return [control for control in found if not isinstance(control, MemoryRequest)]


def cached_numbers(adapter: SemanticAdapter, semantics: Semantics, tiles: int) -> int:
    """Return how many numbers are cached for `semantics`: the tokens, and keys and values in each attention.

    `tiles` is the number of tiles that are evaluated at once; it counts if tiles are encoded on their own.
    """
    batch, count, token_dim = semantics.tokens.shape
    width = sum(len(a.transformer_blocks) * a.in_channels for a in adapter.attentions.values())
    view = VIEWS[semantics.view]
    return (view.whole + view.tile * tiles) * batch * count * (2 * width + token_dim)


def computing_size(model: "comfy.model_base.BaseModel") -> int:
    """Return the bytes of a number in the network's computation; stored weights may be narrower."""
    return comfy.model_management.dtype_size(model.get_dtype_inference())
