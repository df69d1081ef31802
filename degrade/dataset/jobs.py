"""One photo's share of a data set: what a worker is told, what it does and what it tells."""

import hashlib
import itertools
import json
import os
import random
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from ...files import portable, printable
from ...image import from_levels
from ...photos.formats import PhotoError
from ...photos.listing import TakenNames
from ...photos.reader import Photo, open_photo
from ..degradation import Pair, apply
from ..recipe import Recipe
from .files import check_whole
from .join import load_joined
from .record import Record, write_pair

SAMPLES_A_JOB = 16  # of one photo, which is opened once a job


@dataclass(frozen=True)
class Plan:
    """What holds for every pair of a data set.

    Args:
        folder: where the pairs go.
        recipe: what the damage is drawn from.
        scale: size of the clean photo / size of the damaged one.
        seed: of the first sample of the first photo.
        crop: side in pixels of the squares to take; None takes whole photos.
        per_image: samples of every photo.
        device: where the effects run.
    """

    folder: Path
    recipe: Recipe
    scale: int
    seed: int = 0
    crop: int | None = None
    per_image: int = 1
    device: str = "cpu"

    def settings(self) -> dict[str, Any]:
        """What decides the pixels, as JSON gives it back."""
        names = ("scale", "seed", "crop", "per_image", "device")
        settings = {"recipe": self.recipe.to_data(), **{name: getattr(self, name) for name in names}}
        return json.loads(json.dumps(settings))


@dataclass(frozen=True)
class Job:
    """Samples of one photo, or a pair to join.

    Args:
        source: path of the photo below where photos were looked for, as the manifest has it.
        photo: path of the clean photo.
        samples: file name and seed of each pair to make; the seed of a pair to join is not used.
        damaged: path of the damaged photo, of a pair to join.
    """

    source: str
    photo: str
    samples: tuple[tuple[str, int], ...]
    damaged: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a job: lines for the manifest, a line for each problem, and what ends the whole run.

    A note is a line about what of a photo was not used, which is no problem. If it was stopped, not all of
    its samples were tried.
    """

    lines: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    fatal: str | None = None
    note: str | None = None
    stopped: bool = False


Outcomes = Generator[Outcome, None, None]  # in the order of the jobs
Stopped = Callable[[], bool]  # asked between samples; once true, those at work are finished, the rest left
Engine = Callable[[Plan, Sequence[Job], int, Stopped], Outcomes]  # with so many workers


def list_jobs(
    plan: Plan, photos: Mapping[str, Path], joined: Mapping[str, tuple[Path, Path]] | None = None
) -> Iterator[Job]:
    """All jobs in the order of the manifest; sample j of photo k draws with seed + k * per_image + j."""
    bases, taken = TakenNames(), TakenNames()
    digits = len(str(plan.per_image - 1))
    for k, (source, path) in enumerate(photos.items()):
        name = bases.take(numbered(data_name(source)))
        samples = []
        for j in range(plan.per_image):
            sample = f"{name}_{j:0{digits}}" if plan.per_image > 1 else name
            samples.append((f"{taken.take(numbered(sample))}.png", plan.seed + k * plan.per_image + j))
        for first in range(0, len(samples), SAMPLES_A_JOB):
            yield Job(printable(source), str(path), tuple(samples[first : first + SAMPLES_A_JOB]))
    for source, (hr, lr) in (joined or {}).items():
        name = taken.take(numbered(data_name(source)))
        yield Job(printable(source), str(hr), ((f"{name}.png", 0),), damaged=str(lr))


def data_name(path: str) -> str:
    """A name for what is made of a photo: 'a/b.jpg' gives 'a_b'.

    What some system can't have in a name becomes '_'; a name that this doesn't help gives way to a hash.
    """
    stem = "_".join(PurePosixPath(path).with_suffix("").parts)
    if portable(stem):
        return stem
    name = "".join(letter if portable(letter) or letter in " ." else "_" for letter in stem).rstrip(" .")
    return name if portable(name) else hashlib.sha256(os.fsencode(path)).hexdigest()[:32]


def numbered(name: str) -> Iterator[str]:
    """`name`, then 'name_2', 'name_3' and so on."""
    yield name
    yield from (f"{name}_{number}" for number in itertools.count(2))


def work(plan: Plan, job: Job, stopped: Stopped = lambda: False) -> Outcome:
    """Make the pairs of a job, until `stopped` says so.

    A photo or draw that can't be used is a problem and the rest goes on; a full disk or a missing codec
    ends the run.
    """
    if stopped():
        return Outcome(stopped=True)
    lines, problems = [], []
    try:
        photo = None if job.damaged else _open(plan, job)
    except PhotoError as error:
        return Outcome(problems=(_told(job, error.why),))
    note = _told(job, f"{photo.note}.") if photo and photo.note else None
    for name, seed in job.samples:
        if stopped():
            return Outcome(tuple(lines), tuple(problems), note=note, stopped=True)
        try:
            record, pair = _make(plan, job, photo, name, seed) if photo else _join(plan, job, name)
            lines.append(write_pair(plan.folder, record, pair))
        except PhotoError as error:
            problems.append(f"{printable(str(error.file))}: {error.why}")
        except ValueError as error:
            problems.append(_told(job, error))
        except (OSError, RuntimeError) as error:
            said = (isinstance(error, OSError) and error.strerror) or str(error)
            return Outcome(tuple(lines), tuple(problems), fatal=said, note=note)
    return Outcome(tuple(lines), tuple(problems), note=note)


def _told(job: Job, what: object) -> str:
    return f"{printable(job.photo)}: {what}"


def _open(plan: Plan, job: Job) -> Photo:
    """The decoded photo, if it is large enough and not too large.

    Raises:
        PhotoError: if not, or if it can't be opened.
    """
    photo = open_photo(Path(job.photo))
    if plan.crop is None:
        check_whole(photo, Path(job.photo))
    least = plan.crop or plan.scale
    if min(photo.size) < least:
        wanted = f"--crop takes {least}x{least} px of it" if plan.crop else f"it is to be shrunk by {least}"
        raise PhotoError(job.photo, f"{photo.width}x{photo.height} px is too small; {wanted}.")
    return photo


def _make(plan: Plan, job: Job, photo: Photo, name: str, seed: int) -> tuple[Record, Pair]:
    degradation = plan.recipe.draw(seed, plan.scale)
    box = None
    if plan.crop:
        rng = random.Random(f"crop:{seed}")
        top, left = rng.randint(0, photo.height - plan.crop), rng.randint(0, photo.width - plan.crop)
        box = (top, left, plan.crop, plan.crop)
    with torch.inference_mode():
        pair = apply(degradation, from_levels(photo.rgb(box)).to(plan.device))
    return Record(name, job.source, crop=box, degradation=degradation), pair


def _join(plan: Plan, job: Job, name: str) -> tuple[Record, Pair]:
    pair = load_joined(Path(job.photo), Path(job.damaged or ""), plan.scale)
    return Record(name, job.source, origin="joined"), pair
