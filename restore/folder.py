"""The photos of a folder, the paths of their results, and a check of the results that exist."""

from __future__ import annotations

import hashlib
import itertools
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..photos.listing import Listing, TakenNames, folded, list_photos
from .photo import record_of

LONGEST = 255  # longest file name in bytes on most file systems


@dataclass(frozen=True)
class Job:
    """A photo to restore."""

    photo: Path
    name: str  # its path relative to the folder, with forward slashes
    result: Path  # a .png


def find_jobs(where: Path, out: Path) -> tuple[list[Job], Listing]:
    """Return the jobs of a photo, a list, or a folder with its sub-folders, and the list of skipped files.

    The result of 'a/b.jpg' is 'a/b.png'; if 'a/b.webp' is beside it, the results are 'a/b.jpg.png' and
    'a/b.webp.png'. For a single photo `out` may be a .png.

    Raises:
        FileNotFoundError: if there is no photo.
        ValueError: if a result would replace a photo.
    """
    found = list_photos(where, without=out)
    if where.is_file() and len(found.photos) == 1 and out.suffix.lower() == ".png" and not out.is_dir():
        jobs = [Job(file, name, out) for name, file in found.photos.items()]
    else:
        paths = [PurePosixPath(name) for name in found.photos]
        stems = Counter(folded(str(path.with_suffix(""))) for path in paths)
        # A folder may have the name of a result, such as 'a.png'.
        taken = TakenNames(str(parent) for path in paths for parent in path.parents)
        jobs = []
        for path, (name, file) in zip(paths, found.photos.items(), strict=True):
            alone = stems[folded(str(path.with_suffix("")))] == 1
            jobs.append(Job(file, name, out / taken.take(_results(path, alone=alone))))
    for job in jobs:
        if job.result.exists() and job.result.samefile(job.photo):
            raise ValueError(f"{job.photo}: its result would replace it. Choose another OUT.")
    return jobs, found


def _results(path: PurePosixPath, *, alone: bool) -> Iterator[str]:
    """Yield the possible names of a photo's result, best first."""
    if alone:
        yield _short(path.with_suffix(".png"))
    yield _short(path.with_name(f"{path.name}.png"))
    yield from (_short(path.with_name(f"{path.name}.{number}.png")) for number in itertools.count(2))


def _short(path: PurePosixPath) -> str:
    """Return the path; a name that is too long for a file is cut and a hash of it is added."""
    name = os.fsencode(path.name)
    if len(name) > LONGEST:
        cut = name[: LONGEST - 24].decode("utf-8", "ignore")
        path = path.with_name(f"{cut}-{hashlib.sha256(name).hexdigest()[:12]}.png")
    return str(path)


def lacking(jobs: Sequence[Job], settings: dict[str, Any], *, resume: bool) -> list[Job]:
    """Return the jobs whose result is missing, or was made from a photo that has changed since.

    Raises:
        ValueError: if there are results, and `resume` is off or they were made with other settings.
    """
    there = [job for job in jobs if job.result.exists()]
    if there and not resume:
        more = f", and {len(there) - 1} more" if len(there) > 1 else ""
        raise ValueError(
            f"{there[0].result} is there already{more}. Add --resume to go on, or choose another OUT."
        )
    finished = {job.result for job in there if _is_done(job, settings)}
    return [job for job in jobs if job.result not in finished]


def check_writable(out: Path) -> None:
    """Create the folder of the results, and check with a temporary file that it is writable.

    Raises:
        OSError: if it isn't.
    """
    folder = out.parent if out.suffix.lower() == ".png" and not out.is_dir() else out
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"OUT '{folder}' can't be written to: {error.strerror}.") from None


def _is_done(job: Job, settings: dict[str, Any]) -> bool:
    record = record_of(job.result)
    if record is None:
        raise ValueError(f"{job.result} was not made by this command. Choose another OUT.")
    for name, value in settings.items():
        if record.get(name) != value:
            raise ValueError(
                f"{job.result} was made with another {name} ({record.get(name)}, now {value}). "
                "Choose another OUT, or the same settings."
            )
    return record.get("photo_sha256") == hashlib.sha256(job.photo.read_bytes()).hexdigest()
