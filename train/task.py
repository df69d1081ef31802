"""What the loop trains: a task gives the loss of a batch, random only by the seeds of its samples."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples of one step; a process of several holds a slice of the global batch.

    Attributes:
        hr: clean crops (B, 3, scale * h, scale * w) in [0, 1].
        lr: damaged crops (B, 3, h, w) in [0, 1].
        seeds: one a sample, made of the run's seed, the step and the place in the global batch. All
            randomness of a sample comes from it, so that neither resuming nor the number of processes
            changes anything.
        names: where each sample comes from, for messages.
        captions: text or tags of each photo, "" where there is none.
        whole: (B, 3, S, S) in [0, 1], the whole damaged photos squashed to a square, if semantics are to
            be read from them instead of from the crops.
        target: (B, 3, scale * h, scale * w) in [0, 1], what another network made of the damaged photos, if
            the data has it.
    """

    hr: Tensor
    lr: Tensor
    seeds: tuple[int, ...]
    names: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()
    whole: Tensor | None = None
    target: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The same samples on another device."""
        whole, target = (None if x is None else x.to(device) for x in (self.whole, self.target))
        return replace(self, hr=self.hr.to(device), lr=self.lr.to(device), whole=whole, target=target)

    def split(self, parts: int) -> "list[Batch]":
        """Equal batches of neighbouring samples; `parts` divides their number."""
        size = len(self.seeds) // parts
        places = [slice(first, first + size) for first in range(0, len(self.seeds), size)]
        return [
            Batch(
                self.hr[place],
                self.lr[place],
                self.seeds[place],
                self.names[place],
                self.captions[place],
                None if self.whole is None else self.whole[place],
                None if self.target is None else self.target[place],
            )
            for place in places
        ]


@dataclass(frozen=True, eq=False)
class Start:
    """What a stage begins from.

    Attributes:
        seed: of the run; for initial weights, inside `torch.random.fork_rng`.
        base: file or folder of pretrained weights, if the run has one.
        weights: what earlier stages trained, averaged, and their buffers, by their names in their task.
    """

    seed: int = 0
    base: Path | None = None
    weights: Mapping[str, Tensor] = field(default_factory=dict)


class Task(nn.Module):
    """A module whose forward is the loss, so that a wrapper for many processes sees every parameter used.

    Parameters with `requires_grad` are trained, by one optimizer for each entry of `players`.
    """

    players: tuple[str, ...] = ("main",)

    def parameters_of(self, player: str) -> list[nn.Parameter]:  # noqa: ARG002
        """What a player's optimizer moves; an adversarial task overrides this."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def groups(self, player: str) -> list[tuple[float, list[nn.Parameter]]]:
        """The same parameters in groups, each with its multiple of the stage's learning rate."""
        return [(1.0, self.parameters_of(player))]

    def forward(self, batch: Batch, step: int, player: str = "main") -> Mapping[str, Tensor]:
        """Scalars to log; "loss" among them is what the player minimises, a mean over the samples.

        Shapes alone decide what runs, never values of tensors: the memory plan runs it without any.
        """
        raise NotImplementedError

    def averaged(self) -> nn.Module:
        """The part of which the loop keeps an exponential moving average."""
        return self

    def restore(self, lr: Tensor, seed: int = 0) -> Tensor:
        """What users would get: (B, 3, h, w) -> (B, 3, scale * h, scale * w), both in [0, 1]."""
        raise NotImplementedError

    def export(self, folder: Path) -> list[Path]:
        """Write the trained weights as the loader nodes read them, whole or not at all."""
        raise NotImplementedError


def seed_of(seed: int, stage: str, step: int, place: int) -> int:
    """The seed of one sample, 63 bits, from the run's seed, the step and the place in the global batch."""
    digest = hashlib.blake2b(f"{seed}/{stage}/{step}/{place}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def noise_like(like: Tensor, seeds: tuple[int, ...], salt: int = 0) -> Tensor:
    """Standard normal noise of the shape of `like` (B, ...), each sample's from its own seed."""
    drawn = [
        torch.randn(like.shape[1:], generator=torch.Generator().manual_seed((seed + salt) % 2**63))
        for seed in seeds
    ]
    return torch.stack(drawn).to(like)
