"""The saved state of a run, one safetensors file, and the moving average of the weights."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..files import atomic_write
from .task import Task


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file completely, and flushed to the disk, or not at all.

    Raises:
        OSError: if there is no space; an older file at `path` is kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_write(path) as temporary:
            contiguous = {key: value.detach().contiguous() for key, value in tensors.items()}
            save_file(contiguous, temporary, dict(metadata))
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
    except SafetensorError as error:
        raise OSError(str(error)) from error


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and notes that `save` wrote.

    Raises:
        ValueError: if the file is not a saved state.
    """
    try:
        with safe_open(path, framework="pt") as file:
            notes = json.loads((file.metadata() or {})["notes"])
            return {key: file.get_tensor(key) for key in file.keys()}, notes  # noqa: SIM118 (not a dict)
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"'{path}' is not a saved state of a run ({error}).") from error


def save(path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
    """Write tensors, and notes as JSON in the file's metadata."""
    write(path, tensors, {"notes": json.dumps(notes)})


def trained(task: Task) -> dict[str, Tensor]:
    """Return what training changes, by name: parameters that are trained, and buffers that are saved."""
    parameters = dict(task.named_parameters())
    return {
        name: value
        for name, value in task.state_dict(keep_vars=True).items()
        if name not in parameters or parameters[name].requires_grad
    }


@torch.no_grad()
def fill(present: Mapping[str, Tensor], saved: Mapping[str, Tensor], what: str) -> None:
    """Copy saved tensors into present ones of the same names and shapes.

    Raises:
        ValueError: naming the first difference.
    """
    shapes = [{name: tuple(tensor.shape) for name, tensor in some.items()} for some in (present, saved)]
    if shapes[0] != shapes[1]:
        names = sorted(name for name in {*present, *saved} if shapes[0].get(name) != shapes[1].get(name))
        raise ValueError(
            f"The saved {what} don't fit this task: {len(names)} differ, such as '{names[0]}', which is "
            f"{shapes[1].get(names[0], 'missing')} there and {shapes[0].get(names[0], 'missing')} here. "
            "Go on with the code and the base that the run began with."
        )
    for name, tensor in present.items():
        tensor.copy_(saved[name])


class Average:
    """The exponential moving average of the trained parameters, in their own precision."""

    def __init__(self, task: Task, decay: float) -> None:
        self.decay = decay
        self._live: dict[str, nn.Parameter] = {
            name: value for name, value in task.named_parameters() if decay and value.requires_grad
        }
        # averages by parameter name; empty for decay 0
        self.weights = {name: value.detach().clone() for name, value in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the averages towards the weights after step `step`; the decay grows during the first steps."""
        decay = min(self.decay, (step + 1) / (step + 10))
        for name, value in self._live.items():
            self.weights[name].lerp_(value, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the task the averaged weights during the `with` statement."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, value in self._live.items():
            value.data, self.weights[name] = self.weights[name], value.data
