"""Which photos a folder holds, where each one's result goes, and which results are there already."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .photo import story_of

# Of pictures; not all of them can be read everywhere, and those that can't are told of as failures.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
    *(".avif", ".heic", ".heif", ".jxl", ".jp2", ".mpo"),
)


@dataclass(frozen=True)
class Job:
    """A photo to restore.

    Attributes:
        photo: its file.
        name: its path below the folder, with slashes.
        result: where the result goes, a .png.
    """

    photo: Path
    name: str
    result: Path


def find_jobs(where: Path, out: Path) -> tuple[list[Job], list[str]]:
    """The jobs of a photo, or of a folder with its sub-folders, and the files that are no photos.

    'a/b.jpg' becomes 'a/b.png'; where 'a/b.webp' stands beside it, they become 'a/b.jpg.png' and
    'a/b.webp.png'. Hidden files are passed over. For a single photo `out` may be a .png.

    Raises:
        FileNotFoundError: if there is no photo.
        ValueError: if a result would replace a photo.
    """
    if not where.exists():
        raise FileNotFoundError(f"{where}: there is no such photo or folder.")
    files = sorted(_walk(where, out.resolve())) if where.is_dir() else [where]
    photos = [file for file in files if file == where or file.suffix.lower() in SUFFIXES]
    skipped = [file.relative_to(where).as_posix() for file in files if file not in set(photos)]
    if not photos:
        raise FileNotFoundError(f"{where}: there are no photos in it{_also(skipped)}.")
    if not where.is_dir() and out.suffix.lower() == ".png" and not out.is_dir():
        jobs = [Job(where, where.name, out)]
    else:
        root = where if where.is_dir() else where.parent
        names = [file.relative_to(root) for file in photos]
        stems = Counter(str(name.with_suffix("")).casefold() for name in names)
        jobs = [
            Job(
                file,
                name.as_posix(),
                out / _renamed(name, alone=stems[str(name.with_suffix("")).casefold()] == 1),
            )
            for file, name in zip(photos, names, strict=True)
        ]
    for job in jobs:
        if job.result.exists() and job.result.samefile(job.photo):
            raise ValueError(f"{job.photo}: its result would replace it. Choose another OUT.")
    return jobs, skipped


def lacking(jobs: Sequence[Job], settings: dict[str, Any], *, resume: bool) -> list[Job]:
    """The jobs whose result is not there yet, or is that of a photo that has changed since.

    Raises:
        ValueError: if there are results and they shall not be resumed, or are not of these settings.
    """
    there = [job for job in jobs if job.result.exists()]
    if there and not resume:
        raise ValueError(
            f"{there[0].result} is there already{_more(len(there))}. "
            "Add --resume to go on, or choose another OUT."
        )
    finished = {job.result for job in there if _is_done(job, settings)}
    return [job for job in jobs if job.result not in finished]


def check_writable(out: Path) -> None:
    """Make the folder of the results, and a file in it that is gone at once.

    Raises:
        OSError: if that is not possible.
    """
    folder = out.parent if out.suffix.lower() == ".png" and not out.is_dir() else out
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"OUT '{folder}' can't be written to: {error.strerror}.") from None


def _is_done(job: Job, settings: dict[str, Any]) -> bool:
    story = story_of(job.result)
    if story is None:
        raise ValueError(f"{job.result} was not made by this command. Choose another OUT.")
    for name, value in settings.items():
        if story.get(name) != value:
            raise ValueError(
                f"{job.result} was made with another {name} ({story.get(name)}, now {value}). "
                "Choose another OUT, or the same settings."
            )
    return story.get("photo_sha256") == hashlib.sha256(job.photo.read_bytes()).hexdigest()


def _walk(folder: Path, without: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):  # doesn't follow links, which may lead round in a circle
        here = Path(place)
        folders[:] = [f for f in folders if not f.startswith(".") and (here / f).resolve() != without]
        yield from (here / file for file in files if not file.startswith("."))


def _renamed(name: Path, *, alone: bool) -> Path:
    return name.with_suffix(".png") if alone else name.with_name(f"{name.name}.png")


def _also(skipped: Sequence[str]) -> str:
    return f", only {', '.join(skipped[:3])}{' ...' if len(skipped) > 3 else ''}" if skipped else ""


def _more(count: int) -> str:
    return f", and {count - 1} more" if count > 1 else ""
