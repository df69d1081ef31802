"""Batches of a stage, made in advance by worker processes, with random access by step."""

import multiprocessing
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ...degrade.dataset.worker import start_worker
from ..task import Batch, seed_of
from .mix import Data, Mix
from .sample import View

AHEAD = 2  # batches that each worker prepares
SKIPPED = "skipped.txt"


@dataclass
class Loader:
    """The batches of one stage, or this process's slice of them.

    A sample depends on the run's seed, the stage, the step and its position in the global batch only:
    resuming, or another number of processes or workers, changes nothing.

    Args:
        data: the mix, with a path in every part.
        seed: seed of the run.
        stage: name of the stage.
        batch: samples per step, over all processes.
        crop: side of the damaged crops in pixels.
        rank: number of this process.
        world: number of processes.
        device: device of the batches.
        workers: processes that make batches; 0 makes them in this one.
        run: folder for skipped.txt, the list of photos that couldn't be used.
        held_out: read the photos that are excluded from training, and no others.

    Attributes:
        skipped: photos that couldn't be used and were replaced by others -> the reason.

    Raises:
        FileNotFoundError: if a path is missing or empty.
        ValueError: if its content is not as expected, or the processes can't share the batch.
    """

    data: Data
    seed: int
    stage: str
    batch: int
    crop: int
    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    workers: int = 0
    run: Path | None = None
    held_out: bool = False
    skipped: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.batch % self.world:
            raise ValueError(
                f"a batch of {self.batch} can't be shared by {self.world} processes; use a multiple of them."
            )
        self._mix = Mix(self.data, key=f"{self.seed}:{self.stage}", held_out=self.held_out)
        for part, source in zip(self.data.parts, self._mix.sources, strict=True):
            self._note({f"{part.name}/{name}": why for name, why in source.problems.items()})

    def describe(self) -> str:
        """Return a line per part of the mix: share, number and kind of samples, path."""
        return self._mix.describe()

    def steps(self, start: int, end: int, workers: int | None = None) -> Generator[Batch, None, None]:
        """Yield the batches of the steps `start` to `end` - 1.

        Args:
            start: first step.
            end: step after the last.
            workers: number of workers, by default the loader's.

        Raises:
            RuntimeError: if too many photos in a row can't be used, or a worker died.
        """
        each = self.batch // self.world
        slices = _Slices(
            mix=self._mix,
            view=self.data.view(self.crop),
            seed=self.seed,
            stage=self.stage,
            batch=self.batch,
            first=self.rank * each,
            count=each,
        )
        workers = min(self.workers if workers is None else workers, end - start)
        batches = iter(
            DataLoader(
                slices,
                batch_size=None,
                sampler=range(start, end),
                num_workers=workers,
                collate_fn=_as_it_is,
                pin_memory=self.device.type == "cuda",
                worker_init_fn=_start_worker if workers else None,
                multiprocessing_context=_clean_processes() if workers else None,
                prefetch_factor=AHEAD if workers else None,
                generator=torch.Generator(),  # by default, it would draw from the global one
            )
        )
        for packed in batches:
            self._note(packed.skipped)
            if packed.failure:
                raise RuntimeError(packed.failure)
            yield packed.unpack(self.device)

    def _note(self, skipped: dict[str, str]) -> None:
        """Collect the photos that couldn't be used, and list each once in skipped.txt."""
        fresh = {name: why for name, why in skipped.items() if name not in self.skipped}
        self.skipped |= fresh
        if not fresh or self.run is None:
            return
        file = self.run / SKIPPED
        known = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        lines = ("\t".join(" ".join(text.split()) for text in item) for item in fresh.items())
        with file.open("a", encoding="utf-8", errors="backslashreplace") as out:
            out.writelines(f"{line}\n" for line in lines if line not in known)


@dataclass(frozen=True, eq=False)
class _Packed:
    """A batch as uint8, a quarter of the size, for the transfer between processes and to the device."""

    hr: Tensor
    lr: Tensor
    whole: Tensor | None
    target: Tensor | None
    seeds: tuple[int, ...]
    names: tuple[str, ...]
    captions: tuple[str, ...]
    skipped: dict[str, str]
    failure: str = ""

    def pin_memory(self) -> "_Packed":
        """Return the batch in pinned memory; PyTorch calls this."""
        pinned = {name: value.pin_memory() for name, value in self._photos().items()}
        return replace(self, **pinned)

    def unpack(self, device: torch.device) -> Batch:
        photos = {name: value.to(device, non_blocking=True) for name, value in self._photos().items()}
        floats = {name: value.float().div_(255) for name, value in photos.items()}
        return Batch(**floats, seeds=self.seeds, names=self.names, captions=self.captions)

    def _photos(self) -> dict[str, Any]:
        photos = {"hr": self.hr, "lr": self.lr, "whole": self.whole, "target": self.target}
        return {name: value for name, value in photos.items() if value is not None}


@dataclass(frozen=True)
class _Slices(Dataset[_Packed]):
    """This process's slice of each step's batch, by step."""

    mix: Mix
    view: View
    seed: int
    stage: str
    batch: int
    first: int
    count: int

    def __getitem__(self, step: int) -> _Packed:
        names, samples, seeds = [], [], []
        skipped: dict[str, str] = {}
        for place in range(self.first, self.first + self.count):
            seeds.append(seed_of(self.seed, self.stage, step, place))
            try:
                name, sample, bad = self.mix.sample(step * self.batch + place, seeds[-1], self.view)
            except RuntimeError as error:  # returned, since PyTorch would add the worker's traceback
                nothing = torch.empty(0, dtype=torch.uint8)
                return _Packed(nothing, nothing, None, None, (), (), (), skipped, failure=str(error))
            names.append(name)
            samples.append(sample)
            skipped |= bad
        wholes = [sample.whole for sample in samples if sample.whole is not None]
        targets = [sample.target for sample in samples if sample.target is not None]
        return _Packed(
            hr=torch.stack([sample.hr for sample in samples]),
            lr=torch.stack([sample.lr for sample in samples]),
            whole=torch.stack(wholes) if wholes else None,
            target=torch.stack(targets) if len(targets) == len(samples) else None,
            seeds=tuple(seeds),
            names=tuple(names),
            captions=tuple(sample.caption for sample in samples),
            skipped=skipped,
        )


def _clean_processes() -> BaseContext:
    """Return a context for processes that inherit neither locks nor memory of this one.

    They are forked from a server that has imported everything, which saves two seconds each; not on Windows.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _as_it_is(packed: Any) -> Any:
    return packed


def _start_worker(_: int) -> None:
    start_worker()
