"""Batches of a stage, made in advance by worker processes, with random access by step."""

import multiprocessing
from collections.abc import Generator
from dataclasses import dataclass, field
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from ...degrade.dataset.worker import start_worker
from ..task import Batch, seed_of
from .mix import Mix
from .settings import Data

AHEAD = 2  # batches that each worker prepares
SKIPPED = "skipped.txt"


@dataclass(eq=False)
class Loader(Dataset):
    """The batches of one stage, or this process's slice of them.

    A sample depends on the run's seed, the stage, the step and its position in the global batch only:
    resuming, or another number of processes or workers, changes nothing.

    Raises:
        FileNotFoundError: if a path is missing or empty.
        ValueError: if its content is not as expected.
    """

    data: Data  # the mix, with a path in every part
    seed: int
    stage: str
    batch: int  # samples per step, over all processes
    crop: int  # side of the damaged crops in pixels
    rank: int = 0  # number of this process
    world: int = 1  # number of processes; divides the batch
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    workers: int = 0  # processes that make batches; 0 makes them in this one
    run: Path | None = None  # folder for skipped.txt, the list of photos that couldn't be used
    held_out: bool = False  # read the photos that are excluded from training, and no others
    skipped: dict[str, str] = field(init=False, default_factory=dict)  # unusable photo -> the reason

    def __post_init__(self) -> None:
        self.mix = Mix(self.data, key=f"{self.seed}:{self.stage}", held_out=self.held_out)
        for part, source in zip(self.data.parts, self.mix.sources, strict=True):
            self._note({f"{part.name}/{name}": why for name, why in source.problems.items()})

    def steps(self, start: int, end: int, workers: int | None = None) -> Generator[Batch, None, None]:
        """Yield the batches of the steps `start` to `end` - 1.

        Args:
            start: first step.
            end: step after the last.
            workers: number of workers, by default the loader's.

        Raises:
            RuntimeError: if too many photos in a row can't be used, or a worker died.
        """
        workers = min(self.workers if workers is None else workers, end - start)
        batches = DataLoader(
            self,
            batch_size=None,
            sampler=range(start, end),
            num_workers=workers,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_start_worker if workers else None,
            multiprocessing_context=_clean_processes() if workers else None,
            prefetch_factor=AHEAD if workers else None,
            generator=torch.Generator(),  # by default, it would draw from the global one
        )
        for made in batches:
            self._note(made["skipped"])
            if "failure" in made:
                raise RuntimeError(made["failure"])
            photos = {
                name: photo.to(self.device, non_blocking=True) for name, photo in made["photos"].items()
            }
            floats = {name: photo.float().div_(255) for name, photo in photos.items()}
            texts: dict[str, Any] = {name: tuple(made[name]) for name in ("seeds", "names", "captions")}
            yield Batch(**floats, **texts)

    def __getitem__(self, step: int) -> dict[str, Any]:
        """Return this process's slice of a step's batch; the photos as uint8, to transfer a quarter."""
        count = self.batch // self.world
        places = range(self.rank * count, self.rank * count + count)
        seeds = [seed_of(self.seed, self.stage, step, place) for place in places]
        names, samples, skipped = [], [], {}
        for place, seed in zip(places, seeds, strict=True):
            try:
                name, sample, bad = self.mix.sample(step * self.batch + place, seed, self.crop)
            except RuntimeError as error:  # returned, since PyTorch would add the worker's traceback
                return {"skipped": skipped, "failure": str(error)}
            names.append(name)
            samples.append(sample)
            skipped |= bad
        sides = {side: [getattr(one, side) for one in samples] for side in ("hr", "lr", "whole", "target")}
        photos = {name: torch.stack(side) for name, side in sides.items() if all(x is not None for x in side)}
        captions = [sample.caption for sample in samples]
        return {"photos": photos, "seeds": seeds, "names": names, "captions": captions, "skipped": skipped}

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


def _clean_processes() -> BaseContext:
    """Return a context for processes that inherit neither locks nor memory of this one.

    They are forked from a server that has imported everything, which saves two seconds each; not on Windows.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _start_worker(_: int) -> None:
    start_worker()
