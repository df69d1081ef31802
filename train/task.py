"""The interface between the training loop and the modules that it trains."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from .stages import Stage


@dataclass(frozen=True, eq=False)
class Batch:
    """The samples of one step, or a process's slice of them."""

    hr: Tensor  # clean crops (B, 3, scale * h, scale * w) in [0, 1]
    lr: Tensor  # damaged crops (B, 3, h, w) in [0, 1]
    # One per sample, from the run's seed, the step and the position in the global batch. All randomness of a
    # sample comes from it, so that neither resuming nor the number of processes changes anything.
    seeds: tuple[int, ...]
    names: tuple[str, ...] = ()  # origin of each sample, for messages
    captions: tuple[str, ...] = ()  # text or tags of each photo, "" if there is none
    # (B, 3, S, S) in [0, 1], the whole damaged photos as squares, if semantics are to be read from them.
    whole: Tensor | None = None
    target: Tensor | None = None  # results of another network for the damaged photos, as hr, if there are any

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that are present, by field."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    def to(self, device: torch.device) -> "Batch":
        """Return the samples on another device."""
        return replace(self, **{name: value.to(device) for name, value in self.tensors().items()})

    def split(self, parts: int) -> "list[Batch]":
        """Return equal batches of neighbouring samples; `parts` divides their number."""
        size = len(self.seeds) // parts
        values = {name: value for name, value in vars(self).items() if value is not None}
        return [
            Batch(**{name: value[first : first + size] for name, value in values.items()})
            for first in range(0, len(self.seeds), size)
        ]


@dataclass(frozen=True, eq=False)
class Start:
    """The state that a stage begins from."""

    seed: int = 0  # for initial weights, inside `torch.random.fork_rng`
    base: Path | None = None  # file or folder of pretrained weights, if the run has one
    # Averaged weights and buffers of earlier stages, by their names in their task.
    weights: Mapping[str, Tensor] = field(default_factory=dict)


class Task(nn.Module):
    """A module that computes its loss; its parameters with `requires_grad` are trained."""

    def forward(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return scalars to log, means over the samples; "loss" is minimised.

        Control flow must depend on shapes alone, never on values: the memory plan runs this without any.
        """
        raise NotImplementedError

    def restore(self, lr: Tensor, seed: int = 0) -> Tensor:
        """Return restored photos as users would get them: (B, 3, h, w) -> (B, 3, scale * h, scale * w)."""
        raise NotImplementedError

    def export(self, folder: Path) -> list[Path]:
        """Write the trained weights in the format of the loader nodes, and return the files."""
        raise NotImplementedError


def build(stage: "Stage", start: Start) -> Task:
    """Return the task of a stage, ready to train.

    Raises:
        ValueError: for an unknown task.
    """
    match stage.task:  # each module is imported when its task is built
        case "srlab":
            from .srlab import build
        case "regression":
            from .regression import build
        case "nano_anchor":
            from .nano_tasks import build_anchor as build
        case "nano_reading":
            from .nano_tasks import build_reading as build
        case "nano_restore":
            from .nano_tasks import build_restore as build
        case _:
            raise ValueError(f"There is no task '{stage.task}'; known are those of the presets.")
    return build(stage, start, **stage.options)


def seed_of(seed: int, stage: str, step: int, place: int) -> int:
    """Return the 63-bit seed of a sample, from the run's seed, the step and the position in the batch."""
    digest = hashlib.blake2b(f"{seed}/{stage}/{step}/{place}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def noise_like(like: Tensor, seeds: tuple[int, ...], salt: int = 0) -> Tensor:
    """Return standard normal noise of the shape of `like` (B, ...), each sample's from its own seed."""
    drawn = [
        torch.randn(like.shape[1:], generator=torch.Generator().manual_seed((seed + salt) % 2**63))
        for seed in seeds
    ]
    return torch.stack(drawn).to(like)
