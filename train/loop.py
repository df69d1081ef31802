"""The training of one stage: steps, and a state from which training continues exactly."""

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from .checkpoint import Average, fill, trained
from .distributed import Distributed
from .stages import Stage
from .task import Batch, Task

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
OPTIMIZER = "optimizer.main."  # prefix of the optimizer's tensors in a saved state


class NotFiniteError(RuntimeError):
    """A loss or gradient is infinite or NaN; the weights were not changed by it."""


class Trainer:
    """A task with its optimizer and averaged weights; `step` is the number of finished steps."""

    def __init__(self, task: Task, stage: Stage, processes: Distributed) -> None:
        self.task, self.stage, self.step = task, stage, 0
        self._processes = processes
        self._model = processes.wrap(task)
        self._parameters = [parameter for parameter in task.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(
            self._parameters,
            lr=stage.learning_rate,
            betas=stage.betas,
            eps=stage.eps,
            weight_decay=stage.weight_decay,
        )
        self._scaler = GradScaler(processes.device.type, enabled=stage.precision == "fp16")
        self.average = Average(task, stage.ema)

    def advance(self, parts: Sequence[Batch]) -> dict[str, float]:
        """Do one step with this process's share of the batch, given in parts.

        Returns:
            The means over all samples of the scalars that the task returns, and "learning_rate".

        Raises:
            NotFiniteError: if the loss, or without fp16 a gradient, is not finite.
        """
        rate = self.stage.learning_rate * _schedule(self.step, self.stage)
        self._optimizer.param_groups[0]["lr"] = rate
        self._optimizer.zero_grad()
        values = self.backward(parts)
        self._check_finite(values["loss"], "loss", parts)
        self._scaler.unscale_(self._optimizer)
        norm = nn.utils.clip_grad_norm_(self._parameters, self.stage.clip or math.inf)
        if not self._scaler.is_enabled():  # with fp16, the scaler skips such steps
            self._check_finite(norm.item(), "gradient", parts)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self.average.update(self.step)
        self.step += 1
        return {**values, "learning_rate": rate}

    def backward(self, parts: Sequence[Batch]) -> dict[str, float]:
        """Compute the gradients of all parts of a batch; return the means of the task's scalars."""
        reports: list[Mapping[str, Tensor]] = []
        for position, part in enumerate(parts, start=1):
            synchronise = position == len(parts) or self._processes.size == 1
            with nullcontext() if synchronise else self._model.no_sync():  # type: ignore[operator]
                with self.autocast():
                    report = self._model(part)
                self._scaler.scale(report["loss"] / len(parts)).backward()
            reports.append({name: value.detach().float() for name, value in report.items()})
        names = list(reports[0])
        means = [torch.stack([report[name] for report in reports]).mean() for name in names]
        return dict(zip(names, self._processes.mean(means), strict=True))

    def autocast(self) -> Any:
        """Return a context manager with the precision of the stage."""
        dtype = AUTOCAST.get(self.stage.precision)
        return torch.autocast(self._processes.device.type, dtype) if dtype else nullcontext()

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors of the state: weights, their average, and the optimizer's."""
        tensors = {f"task.{name}": value for name, value in trained(self.task).items()}
        tensors |= {f"average.{name}": value for name, value in self.average.weights.items()}
        for index, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"{OPTIMIZER}{index}.{name}": value for name, value in state.items()}
        return tensors

    def notes(self) -> dict[str, Any]:
        """Return the rest of the state, as JSON data."""
        return {"step": self.step, "scaler": self._scaler.state_dict()}

    def load(self, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
        """Continue from the state that `tensors` and `notes` returned.

        Raises:
            ValueError: if it is that of another task.
        """
        saved: dict[str, dict[str, Tensor]] = {"task": {}, "average": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            part, rest = name.split(".", 1)
            saved[part][rest] = tensor
        fill(trained(self.task), saved["task"], "weights")
        fill(self.average.weights, saved["average"], "averaged weights")
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in saved["optimizer"].items():
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = tensor
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": state})
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(notes["scaler"])
        self.step = notes["step"]

    def _check_finite(self, value: float, name: str, parts: Sequence[Batch]) -> None:
        """Stop all processes if a value is not finite in one of them.

        Raises:
            NotFiniteError: with the samples of the step.
        """
        if math.isfinite(value):
            return
        names = self._processes.gather([sample for part in parts for sample in part.names])
        raise NotFiniteError(
            f"The {name} is {value} at step {self.step + 1}, whose samples are "
            f"{', '.join(dict.fromkeys(names))}."
        )


def _schedule(step: int, stage: Stage) -> float:
    """Return the factor of the learning rate at a step."""
    warm = min(1.0, (step + 1) / stage.warmup) if stage.warmup else 1.0
    if stage.schedule == "constant":
        return warm
    return warm * (stage.floor + (1 - stage.floor) * 0.5 * (1 + math.cos(math.pi * step / stage.steps)))
