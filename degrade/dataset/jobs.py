"""One photo's share of a data set: what a worker is told, what it does and what it tells."""

import json
import random
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ..degradation import Pair, apply
from ..recipe import Recipe
from .files import PhotoError, check_whole, open_photo, to_rgb, to_tensor
from .join import load_joined
from .listing import unused
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
        source: name of the photo in the manifest.
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
    """What came of a job: lines for the manifest, a line for each problem, and what ends the whole run."""

    lines: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    fatal: str | None = None


Outcomes = Generator[Outcome, None, None]  # in the order of the jobs
Stopped = Callable[[], bool]  # asked between jobs; once true, what is at work is finished and the rest left
Engine = Callable[[Plan, Sequence[Job], int, Stopped], Outcomes]  # with so many workers


def list_jobs(
    plan: Plan, photos: Mapping[str, Path], joined: Mapping[str, tuple[Path, Path]] | None = None
) -> Iterator[Job]:
    """All jobs in the order of the manifest; sample j of photo k draws with seed + k * per_image + j."""
    taken: set[str] = set()
    digits = len(str(plan.per_image - 1))
    for k, (name, path) in enumerate(photos.items()):
        samples = []
        for j in range(plan.per_image):
            numbered = f"{name}_{j:0{digits}}" if plan.per_image > 1 else name
            samples.append((f"{unused(numbered, taken)}.png", plan.seed + k * plan.per_image + j))
        for first in range(0, len(samples), SAMPLES_A_JOB):
            yield Job(path.name, str(path), tuple(samples[first : first + SAMPLES_A_JOB]))
    for name, (hr, lr) in (joined or {}).items():
        yield Job(hr.name, str(hr), ((f"{unused(name, taken)}.png", 0),), damaged=str(lr))


def work(plan: Plan, job: Job) -> Outcome:
    """Make the pairs of a job.

    A photo or draw that can't be used is a problem and the rest goes on; a full disk or a missing codec
    ends the run.
    """
    lines, problems = [], []
    try:
        photo = None if job.damaged else _open(plan, job)
    except PhotoError as error:
        return Outcome(problems=(str(error),))
    for name, seed in job.samples:
        try:
            record, pair = _make(plan, job, photo, name, seed) if photo else _join(plan, job, name)
            lines.append(write_pair(plan.folder, record, pair))
        except PhotoError as error:
            problems.append(str(error))
        except ValueError as error:
            problems.append(f"{job.photo}: {error}")
        except (OSError, RuntimeError) as error:
            said = (isinstance(error, OSError) and error.strerror) or str(error)
            return Outcome(tuple(lines), tuple(problems), fatal=said)
    return Outcome(tuple(lines), tuple(problems))


def _open(plan: Plan, job: Job) -> Image.Image:
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
        raise PhotoError(f"{job.photo}: {photo.width}x{photo.height} px is too small; {wanted}.")
    return photo


def _make(plan: Plan, job: Job, photo: Image.Image, name: str, seed: int) -> tuple[Record, Pair]:
    degradation = plan.recipe.draw(seed, plan.scale)
    box = None
    if plan.crop:
        rng = random.Random(f"crop:{seed}")
        top, left = rng.randint(0, photo.height - plan.crop), rng.randint(0, photo.width - plan.crop)
        box = (top, left, plan.crop, plan.crop)
    with torch.inference_mode():
        pair = apply(degradation, to_tensor(to_rgb(photo, box)).to(plan.device))
    return Record(name, job.source, crop=box, degradation=degradation), pair


def _join(plan: Plan, job: Job, name: str) -> tuple[Record, Pair]:
    pair = load_joined(Path(job.photo), Path(job.damaged or ""), plan.scale)
    return Record(name, job.source, origin="joined"), pair
