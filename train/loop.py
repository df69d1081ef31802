"""The training loop: AdamW, cosine schedule, averaged weights, resumable safetensors checkpoints."""

import copy
import csv
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .presets import Stage

Network = TypeVar("Network", bound=nn.Module)
_LOG_EVERY = 50


def fit(
    network: Network,
    loss: Callable[[int], Tensor],
    stage: Stage,
    run: Path,
    name: str,
    save_every_s: float = 120,
) -> Network:
    """Train `network` in place and return its averaged copy.

    Args:
        network: whose parameters with `requires_grad` are trained.
        loss: step number -> scalar; draws its own batch from the number, so that a resumed run
            sees what an uninterrupted one would have seen.
        stage: how long and how fast.
        run: folder for `<name>.safetensors` (resumed from, if there) and `<name>.csv`.
        name: of the stage.
        save_every_s: seconds between checkpoints.
    """
    average = copy.deepcopy(network).eval().requires_grad_(False)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=stage.learning_rate, betas=(0.9, 0.99), weight_decay=1e-3)
    checkpoint = run / f"{name}.safetensors"
    start = _load(checkpoint, network, average, optimizer) if checkpoint.exists() else 0
    losses: list[float] = []
    saved = began = time.monotonic()
    for step in range(start, stage.steps):
        for group in optimizer.param_groups:
            group["lr"] = stage.learning_rate * _schedule(step, stage)
        value = loss(step)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        _average(average, network, decay=min(0.999, (step + 1) / (step + 10)))
        losses.append(value.item())
        if (step + 1) % _LOG_EVERY == 0:
            speed = (step + 1 - start) / (time.monotonic() - began)
            _log(run / f"{name}.csv", step + 1, sum(losses) / len(losses), speed)
            losses.clear()
        if time.monotonic() - saved >= save_every_s or step + 1 == stage.steps:
            _save(checkpoint, network, average, optimizer, step + 1)
            saved = time.monotonic()
    return average


def _schedule(step: int, stage: Stage) -> float:
    progress = step / stage.steps
    return min(1.0, (step + 1) / stage.warmup) * (0.02 + 0.49 * (1 + math.cos(math.pi * progress)))


@torch.no_grad()
def _average(average: nn.Module, network: nn.Module, decay: float) -> None:
    for mean, parameter in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(parameter, 1 - decay)


def _log(path: Path, step: int, loss: float, speed: float) -> None:
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(["step", "loss", "steps_per_s"])
        writer.writerow([step, f"{loss:.6f}", f"{speed:.3f}"])


def _save(
    path: Path, network: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, step: int
) -> None:
    tensors = {f"network.{key}": value for key, value in network.state_dict().items()}
    tensors |= {f"average.{key}": value for key, value in average.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in state.items()}
    temporary = path.with_suffix(".part")
    save_file({key: value.contiguous() for key, value in tensors.items()}, temporary, {"step": str(step)})
    temporary.replace(path)


def _load(path: Path, network: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "optimizer": {}}
    with safe_open(path, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118 (not a dict)
            part, rest = key.split(".", 1)
            parts[part][rest] = file.get_tensor(key)
        step = int(file.metadata()["step"])
    network.load_state_dict(parts["network"])
    average.load_state_dict(parts["average"])
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in parts["optimizer"].items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return step
