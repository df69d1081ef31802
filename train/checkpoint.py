"""The state of a run in one safetensors file, whole or not there, and the weights' moving average."""

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

from .task import Task


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors beside `path` and put the file in its place when it is whole and on the disk.

    Raises:
        OSError: if there is no room; what was at `path` is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file(
            {key: value.detach().contiguous() for key, value in tensors.items()}, temporary, dict(metadata)
        )
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    finally:
        temporary.unlink(missing_ok=True)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and notes of a file of `save`.

    Raises:
        ValueError: if it is no such file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            notes = json.loads((file.metadata() or {})["notes"])
            return {key: file.get_tensor(key) for key in file.keys()}, notes  # noqa: SIM118 (not a dict)
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"'{path}' is no state of a run ({error}).") from error


def save(path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
    """Write tensors and what else a run must know, as JSON in the file's head."""
    write(path, tensors, {"notes": json.dumps(notes)})


def trained(task: Task) -> dict[str, Tensor]:
    """What training changes, by its name: parameters that are trained, and buffers that are saved."""
    parameters = dict(task.named_parameters())
    return {
        name: value
        for name, value in task.state_dict(keep_vars=True).items()
        if name not in parameters or parameters[name].requires_grad
    }


@torch.no_grad()
def fill(present: Mapping[str, Tensor], saved: Mapping[str, Tensor], what: str) -> None:
    """Copy saved tensors into present ones, which must be the same by name and shape.

    Raises:
        ValueError: naming what differs.
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
    """The exponential moving average of the trained parameters of `task.averaged()`, in their own precision.

    Attributes:
        weights: by their names in the task; none with a decay of 0.
    """

    def __init__(self, task: Task, decay: float) -> None:
        self.decay = decay
        kept = {id(parameter) for parameter in task.averaged().parameters()} if decay else set()
        self._live: dict[str, nn.Parameter] = {
            name: value
            for name, value in task.named_parameters()
            if value.requires_grad and id(value) in kept
        }
        self.weights = {name: value.detach().clone() for name, value in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step number `step`; the first steps soon forget where they began."""
        decay = min(self.decay, (step + 1) / (step + 10))
        for name, value in self._live.items():
            self.weights[name].lerp_(value, 1 - decay)

    @contextmanager
    def worn(self) -> Iterator[None]:
        """The task has the averaged weights inside of the `with`."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, value in self._live.items():
            value.data, self.weights[name] = self.weights[name], value.data
