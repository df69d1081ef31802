"""Jobs of a data set: the samples of one photo that a worker makes, and their outcome."""

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
from .join import load_joined
from .pair_folder import write_pair
from .whole_photo import check_whole

SAMPLES_PER_JOB = 16  # of one photo, which is opened once per job


@dataclass(frozen=True)
class PairPlan:
    """Settings common to all pairs of a data set.

    Args:
        folder: the data set.
        recipe: distribution of the damage.
        scale: side of the clean photo / side of the damaged one.
        seed: seed of the first sample of the first photo.
        crop: side in pixels of the squares to take; None takes whole photos.
        per_image: samples per photo.
        device: device that runs the effects.
    """

    folder: Path
    recipe: Recipe
    scale: int
    seed: int = 0
    crop: int | None = None
    per_image: int = 1
    device: str = "cpu"

    def settings(self) -> dict[str, Any]:
        """Return all that determines the pixels, as JSON data."""
        names = ("scale", "seed", "crop", "per_image", "device")
        settings = {"recipe": self.recipe.to_data(), **{name: getattr(self, name) for name in names}}
        return json.loads(json.dumps(settings))


@dataclass(frozen=True)
class Job:
    """Samples of one photo, or an existing pair to add.

    Args:
        source: path of the photo below the input folder, as in the manifest.
        photo: path of the clean photo.
        samples: file name and seed of each pair to make; the seed of an existing pair is not used.
        damaged: path of the damaged photo of an existing pair.
    """

    source: str
    photo: str
    samples: tuple[tuple[str, int], ...]
    damaged: str | None = None


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job: lines for the manifest, problems, and an error that ends the whole run.

    A note describes parts of a photo that were ignored, which is no problem. If `stopped`, not all samples
    were tried.
    """

    lines: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    fatal: str | None = None
    note: str | None = None
    stopped: bool = False


Outcomes = Generator[Outcome, None, None]  # in the order of the jobs
Stopped = Callable[[], bool]  # called between samples; once true, the current ones are finished, no others
Engine = Callable[[PairPlan, Sequence[Job], int, Stopped], Outcomes]  # the number is that of the workers


def list_jobs(
    plan: PairPlan, photos: Mapping[str, Path], joined: Mapping[str, tuple[Path, Path]] | None = None
) -> Iterator[Job]:
    """Yield all jobs in the order of the manifest; sample j of photo k has seed + k * per_image + j."""
    bases, taken = TakenNames(), TakenNames()
    digits = len(str(plan.per_image - 1))
    for k, (source, path) in enumerate(photos.items()):
        name = bases.take(numbered(data_name(source)))
        samples = []
        for j in range(plan.per_image):
            sample = f"{name}_{j:0{digits}}" if plan.per_image > 1 else name
            samples.append((f"{taken.take(numbered(sample))}.png", plan.seed + k * plan.per_image + j))
        for first in range(0, len(samples), SAMPLES_PER_JOB):
            yield Job(printable(source), str(path), tuple(samples[first : first + SAMPLES_PER_JOB]))
    for source, (hr, lr) in (joined or {}).items():
        name = taken.take(numbered(data_name(source)))
        yield Job(printable(source), str(hr), ((f"{name}.png", 0),), damaged=str(lr))


def data_name(path: str) -> str:
    """Return a file name for the samples of a photo: 'a_b' for 'a/b.jpg'.

    Characters that some system forbids become '_'; a name that is still not portable is replaced by a hash.
    """
    stem = "_".join(PurePosixPath(path).with_suffix("").parts)
    if portable(stem):
        return stem
    name = "".join(letter if portable(letter) or letter in " ." else "_" for letter in stem).rstrip(" .")
    return name if portable(name) else hashlib.sha256(os.fsencode(path)).hexdigest()[:32]


def numbered(name: str) -> Iterator[str]:
    """Yield `name`, 'name_2', 'name_3' and so on."""
    yield name
    yield from (f"{name}_{number}" for number in itertools.count(2))


def work(plan: PairPlan, job: Job, stopped: Stopped = lambda: False) -> Outcome:
    """Make the pairs of a job, until `stopped()` is true.

    A photo or draw that can't be used is a problem, and the other samples are made. A full disk or a missing
    codec ends the run.
    """
    if stopped():
        return Outcome(stopped=True)
    lines, problems = [], []
    try:
        photo = None if job.damaged else _open(plan, job)
    except PhotoError as error:
        return Outcome(problems=(_line(job, error.why),))
    note = _line(job, f"{photo.note}.") if photo and photo.note else None
    for name, seed in job.samples:
        if stopped():
            return Outcome(tuple(lines), tuple(problems), note=note, stopped=True)
        try:
            pair, how = _make(plan, photo, seed) if photo else _join(plan, job)
            lines.append(write_pair(plan.folder, name, pair, job.source, **how))
        except PhotoError as error:
            problems.append(f"{printable(str(error.file))}: {error.why}")
        except ValueError as error:
            problems.append(_line(job, error))
        except (OSError, RuntimeError) as error:
            why = (isinstance(error, OSError) and error.strerror) or str(error)
            return Outcome(tuple(lines), tuple(problems), fatal=why, note=note)
    return Outcome(tuple(lines), tuple(problems), note=note)


def _line(job: Job, why: object) -> str:
    return f"{printable(job.photo)}: {why}"


def _open(plan: PairPlan, job: Job) -> Photo:
    """Return the decoded photo.

    Raises:
        PhotoError: if it can't be opened, is too small, or is too large to be used whole.
    """
    photo = open_photo(Path(job.photo))
    if plan.crop is None:
        check_whole(photo, Path(job.photo))
    least = plan.crop or plan.scale
    if min(photo.size) < least:
        wanted = f"--crop takes {least}x{least} px of it" if plan.crop else f"it is to be shrunk by {least}"
        raise PhotoError(job.photo, f"{photo.width}x{photo.height} px is too small; {wanted}.")
    return photo


def _make(plan: PairPlan, photo: Photo, seed: int) -> tuple[Pair, dict[str, Any]]:
    """Return a pair, and its crop and degradation."""
    degradation = plan.recipe.draw(seed, plan.scale)
    box = None
    if plan.crop:
        rng = random.Random(f"crop:{seed}")
        top, left = rng.randint(0, photo.height - plan.crop), rng.randint(0, photo.width - plan.crop)
        box = (top, left, plan.crop, plan.crop)
    with torch.inference_mode():
        pair = apply(degradation, from_levels(photo.rgb(box)).to(plan.device))
    return pair, {"crop": box, "degradation": degradation}


def _join(plan: PairPlan, job: Job) -> tuple[Pair, dict[str, Any]]:
    pair = load_joined(Path(job.photo), Path(job.damaged or ""), plan.scale)
    return pair, {"origin": "joined"}
