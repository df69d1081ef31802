"""Memory of a training step, counted before it is made: it runs once on tensors that have shapes only."""

import os
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from .crew import Crew
from .loop import Trainer
from .task import Batch

GIB, MIB = 2**30, 2**20


@dataclass(frozen=True)
class Plan:
    """Bytes in one process, at the moment of a step when most are in use.

    Attributes:
        weights: of all networks, trained or not, and their buffers.
        average: of the trained weights.
        optimizer: AdamW's two moments.
        gradients: of the trained weights.
        activations: what the forward keeps and what both directions work in.
        total: of these; less than their sum where gradients and activations don't peak together.
    """

    weights: int
    average: int
    optimizer: int
    gradients: int
    activations: int
    total: int


def measure(trainer: Trainer, batch: Batch, crew: Crew) -> Plan:
    """Count one step of this process's share of a batch; nothing is computed, and nothing changes."""
    task, stage = trainer.task, trainer.stage
    trained = [value for value in task.parameters() if value.requires_grad]
    part = batch.split(stage.accumulate)[0]
    forward = peak = 0
    for player in task.players:
        parameters = task.parameters_of(player)
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            static = [mode.from_tensor(value) for value in (*task.parameters(), *task.buffers())]
            shapes = Batch(*_shapes(mode, part, crew.device))
            with _Live(static) as live:
                with trainer.autocast():
                    loss = task(shapes, 0, player)["loss"]
                forward = max(forward, live.peak)
                gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
                peak = max(peak, live.peak)
            del loss, gradients, static
    gradients = _bytes(trained)
    if stage.accumulate > 1:  # those of the parts before are there from the beginning
        peak = max(peak, forward + gradients)
    if crew.device.type == "cuda":  # AdamW's root of the second moments, of all weights at once
        peak = max(peak, 2 * gradients)
    weights = _bytes([*task.parameters(), *task.buffers()])
    average = _bytes(trainer.average.weights.values())
    held = weights + average + 2 * gradients
    return Plan(
        weights, average, 2 * gradients, gradients, max(peak - gradients, 0), held + max(peak, gradients)
    )


def table(plan: Plan, room: int | None = None) -> str:
    """The plan as lines, with advice if it exceeds `room` bytes."""
    names = ("weights", "average", "optimizer", "gradients", "activations", "total")
    lines = [f"{name:<12}{getattr(plan, name) / MIB:10,.0f} MiB" for name in names]
    text = "Memory of a step, in each process:\n" + "\n".join(lines)
    if room is not None and plan.total > room:
        text += (
            f"\nThe device has {room / GIB:.2f} GiB. What helps, as --set STAGE.NAME=VALUE: "
            "gradient_checkpointing=True, a larger accumulate, precision=bf16, ema=0, a smaller crop."
        )
    return text


def room(device: torch.device) -> int:
    """Bytes of memory that the device has."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class _Live(TorchDispatchMode):
    """Counts the bytes of storages that operations make, until they are dropped.

    Attributes:
        peak: most bytes at once.
    """

    def __init__(self, static: Iterable[Tensor]) -> None:
        super().__init__()
        self._known = WeakIdKeyDictionary()
        self._static = [value.untyped_storage() for value in static]
        for storage in self._static:
            self._known[storage] = 0
        self.now = self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._count(value.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        size = storage.nbytes()
        self._known[storage] = size
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, size)

    def _drop(self, size: int) -> None:
        self.now -= size


def _shapes(mode: FakeTensorMode, batch: Batch, device: torch.device) -> list[Any]:
    hr, lr, whole, target = (
        None if photo is None else mode.from_tensor(photo.to(device))
        for photo in (batch.hr, batch.lr, batch.whole, batch.target)
    )
    return [hr, lr, batch.seeds, batch.names, batch.captions, whole, target]


def _bytes(tensors: Iterable[Tensor]) -> int:
    storages = {value.untyped_storage()._cdata: value.untyped_storage().nbytes() for value in tensors}
    return sum(storages.values())
