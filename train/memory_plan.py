"""The memory of a training step, measured beforehand by running it on tensors without data."""

import os
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from .distributed import Distributed
from .loop import Trainer
from .task import Batch

GIB, MIB = 2**30, 2**20


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes in one process at the peak of a step."""

    weights: int  # all networks, trained or not, and their buffers
    average: int  # averages of the trained weights
    optimizer: int  # AdamW's two moments
    gradients: int  # gradients of the trained weights
    activations: int  # saved activations and temporary tensors of both passes
    total: int  # less than the sum if gradients and activations don't peak together


def measure(trainer: Trainer, batch: Batch, processes: Distributed) -> MemoryPlan:
    """Return the memory of one step with this process's share of a batch; nothing is computed or changed."""
    task, stage, device = trainer.task, trainer.stage, processes.device
    trained = [value for value in task.parameters() if value.requires_grad]
    part = batch.split(stage.accumulate)[0]
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        static = [mode.from_tensor(value) for value in (*task.parameters(), *task.buffers())]
        fakes = {name: mode.from_tensor(value.to(device)) for name, value in part.tensors().items()}
        with _LiveBytes(static) as live:
            with trainer.autocast():
                loss = task(replace(part, **fakes))["loss"]
            forward = live.peak
            gradients = torch.autograd.grad(loss, trained, allow_unused=True)
            peak = live.peak
        del loss, gradients, static
    gradients = _bytes(trained)
    if stage.accumulate > 1:  # the gradients of earlier parts exist from the start
        peak = max(peak, forward + gradients)
    if device.type == "cuda":  # AdamW takes the root of all second moments at once
        peak = max(peak, 2 * gradients)
    weights = _bytes([*task.parameters(), *task.buffers()])
    average = _bytes(trainer.average.weights.values())
    lasting = weights + average + 2 * gradients
    return MemoryPlan(
        weights, average, 2 * gradients, gradients, max(peak - gradients, 0), lasting + max(peak, gradients)
    )


def table(plan: MemoryPlan, room: int | None = None) -> str:
    """Return the plan as lines of text, with advice if it exceeds `room` bytes."""
    lines = [f"{name:<12}{size / MIB:10,.0f} MiB" for name, size in vars(plan).items()]
    text = "Memory of a step, in each process:\n" + "\n".join(lines)
    if room is not None and plan.total > room:
        text += (
            f"\nThe device has {room / GIB:.2f} GiB. What helps, as --set STAGE.NAME=VALUE: "
            "gradient_checkpointing=True, a larger accumulate, precision=bf16, ema=0, a smaller crop."
        )
    return text


def device_bytes(device: torch.device) -> int:
    """Return the total memory of a device in bytes."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of storages that operations create, until they are freed; `peak` is the most."""

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


def _bytes(tensors: Iterable[Tensor]) -> int:
    storages = {value.untyped_storage()._cdata: value.untyped_storage().nbytes() for value in tensors}
    return sum(storages.values())
