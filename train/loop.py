"""A stage in training: a step of every player, and a state that goes on exactly where it stopped."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from .checkpoint import Average, fill, trained
from .crew import Crew
from .presets import Stage
from .task import Batch, Task

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class NotFiniteError(RuntimeError):
    """A loss or gradient is infinite or not a number; the player that has it did not move."""


class Trainer:
    """A task with its optimizers and averaged weights, which move together, one step at a time.

    Attributes:
        task: what is trained.
        average: of its weights.
        step: number of steps that are done.
    """

    def __init__(self, task: Task, stage: Stage, crew: Crew) -> None:
        self.task, self.stage, self.step = task, stage, 0
        self._crew = crew
        self._model = crew.joined(task)
        self._players = {player: task.parameters_of(player) for player in task.players}
        self._paces = {player: [pace for pace, _ in task.groups(player)] for player in task.players}
        self._optimizers = {player: _optimizer(task, player, stage) for player in task.players}
        self._scaler = GradScaler(crew.device.type, enabled=stage.precision == "fp16")
        self.average = Average(task, stage.ema)

    def advance(self, parts: Sequence[Batch]) -> dict[str, float]:
        """Do one step with this process's share of the batch, in parts.

        Returns:
            The means over all samples of what the task reports, under its names; those of players other
            than the first begin with the player's name. "learning_rate" too.

        Raises:
            NotFiniteError: if a loss, or without fp16 a gradient, is not finite.
        """
        share = _share(self.step, self.stage)
        values: dict[str, float] = {}
        for position, player in enumerate(self.task.players):
            prefix = f"{player}." if position else ""
            optimizer = self._optimizers[player]
            for group, pace in zip(optimizer.param_groups, self._paces[player], strict=True):
                group["lr"] = self.stage.learning_rate * share * pace
            optimizer.zero_grad()
            means = self.backward(player, parts)
            values |= {f"{prefix}{name}": value for name, value in means.items()}
            _check(means["loss"], f"The loss of '{player}'", self.step, parts, self._crew)
            self._move(player, parts)
        self._scaler.update()
        self.average.update(self.step)
        self.step += 1
        return {**values, "learning_rate": self.stage.learning_rate * share}

    def backward(self, player: str, parts: Sequence[Batch]) -> dict[str, float]:
        """Give a player its gradients from every part of a batch; the means of what the task reports."""
        reports: list[Mapping[str, Tensor]] = []
        with self._only(player):
            for position, part in enumerate(parts):
                last = position + 1 == len(parts)
                quiet = self._model.no_sync() if not last and self._crew.size > 1 else nullcontext()  # type: ignore[operator]
                with quiet:
                    with self.autocast():
                        report = self._model(part, self.step, player)
                    self._scaler.scale(report["loss"] / len(parts)).backward()
                reports.append({name: value.detach().float() for name, value in report.items()})
        names = list(reports[0])
        means = [torch.stack([report[name] for report in reports]).mean() for name in names]
        return dict(zip(names, self._crew.mean(means), strict=True))

    def autocast(self) -> Any:
        """The precision of the stage, as a context."""
        dtype = AUTOCAST.get(self.stage.precision)
        return torch.autocast(self._crew.device.type, dtype) if dtype else nullcontext()

    def tensors(self) -> dict[str, Tensor]:
        """The state: weights, their average, and the optimizers'."""
        tensors = {f"task.{name}": value for name, value in trained(self.task).items()}
        tensors |= {f"average.{name}": value for name, value in self.average.weights.items()}
        for player, optimizer in self._optimizers.items():
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{player}.{index}.{name}": value for name, value in state.items()}
        return tensors

    def notes(self) -> dict[str, Any]:
        """The rest of the state."""
        return {"step": self.step, "scaler": self._scaler.state_dict()}

    def load(self, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
        """Go on from what `tensors` and `notes` gave.

        Raises:
            ValueError: if they are of another task.
        """
        parts: dict[str, dict[str, Tensor]] = {"task": {}, "average": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            part, rest = name.split(".", 1)
            parts[part][rest] = tensor
        fill(trained(self.task), parts["task"], "weights")
        fill(self.average.weights, parts["average"], "averaged weights")
        for player, optimizer in self._optimizers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for name, tensor in parts["optimizer"].items():
                if name.startswith(f"{player}."):
                    index, key = name[len(player) + 1 :].split(".", 1)
                    state.setdefault(int(index), {})[key] = tensor
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(notes["scaler"])
        self.step = notes["step"]

    @contextmanager
    def _only(self, player: str) -> Iterator[None]:
        """The other players' parameters stand still, and keep their gradients out."""
        others = [parameter for name in self._players if name != player for parameter in self._players[name]]
        for parameter in others:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in others:
                parameter.requires_grad_(True)

    def _move(self, player: str, parts: Sequence[Batch]) -> None:
        optimizer = self._optimizers[player]
        self._scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(self._players[player], self.stage.clip or math.inf)
        if not self._scaler.is_enabled():  # fp16 leaves such steps out by itself
            _check(norm.item(), f"The gradient of '{player}'", self.step, parts, self._crew)
        self._scaler.step(optimizer)


def _optimizer(task: Task, player: str, stage: Stage) -> torch.optim.Optimizer:
    groups = [{"params": parameters} for _, parameters in task.groups(player)]
    return torch.optim.AdamW(
        groups, lr=stage.learning_rate, betas=stage.betas, eps=stage.eps, weight_decay=stage.weight_decay
    )


def _share(step: int, stage: Stage) -> float:
    """Of the learning rate, at step number `step`."""
    warm = min(1.0, (step + 1) / stage.warmup) if stage.warmup else 1.0
    if stage.schedule == "constant":
        return warm
    return warm * (stage.floor + (1 - stage.floor) * 0.5 * (1 + math.cos(math.pi * step / stage.steps)))


def _check(value: float, what: str, step: int, parts: Sequence[Batch], crew: Crew) -> None:
    """Stop all processes where one has no finite value.

    Raises:
        NotFiniteError: with the samples of the step.
    """
    if math.isfinite(value):
        return
    names = crew.gathered(list(itertools.chain.from_iterable(part.names for part in parts)))
    raise NotFiniteError(
        f"{what} is {value} at step {step + 1}, whose samples are {', '.join(dict.fromkeys(names))}."
    )
