"""A list of photos restored side by side; each result is written whole or not at all."""

from __future__ import annotations

import re
import struct
import sys
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from queue import SimpleQueue
from typing import Any

from tqdm import tqdm

from ..files import printable, replace_file
from . import photo
from .api import RefusedError
from .folder import Job
from .remote import Restorer
from .workflow import Workflow


@dataclass
class Summary:
    """What a run came to.

    Attributes:
        made: results.
        failed: names of photos without one.
        fatal: what ended the run early, if it wasn't a person.
        refused: whether that was the workflow, which no photo can mend.
    """

    made: int = 0
    failed: list[str] = field(default_factory=list)
    fatal: str | None = None
    refused: bool = False


def restore_all(
    jobs: Sequence[Job],
    total: int,
    restorers: Sequence[Restorer],
    workflow: Workflow,
    story: dict[str, Any],
    stop: threading.Event,
) -> Summary:
    """Restore the photos of `jobs`, with a progress bar on a terminal.

    A photo that can't be restored gets one line on stderr, and the rest goes on.

    Args:
        jobs: what is lacking.
        total: photos in all, for the bar.
        restorers: each works on one photo at a time.
        workflow: what they run.
        story: goes into each result, with the photo's name and checksum.
        stop: set when this returns or raises, so that nothing goes on behind it.
    """
    summary = Summary()
    begun = total - len(jobs)
    bar = tqdm(total=total, initial=begun, unit=" photos", disable=None, dynamic_ncols=True)
    try:
        with closing(_work(jobs, restorers, workflow, story, stop)) as problems:
            for name, problem, note in problems:
                for line in filter(None, (problem, note)):
                    tqdm.write(f"{printable(name)}: {line}", file=sys.stderr)
                summary.failed += [name] if problem else []
                summary.made += not problem
                bar.update()
    except RefusedError as error:
        summary.fatal, summary.refused = str(error), True
    except OSError as error:  # of the disk, or of the connection; a photo's are its own problem
        summary.fatal = f"{error.filename or 'OUT'}: {error.strerror}" if error.errno else str(error)
    finally:
        bar.close()
    return summary


def _work(
    jobs: Sequence[Job],
    restorers: Sequence[Restorer],
    workflow: Workflow,
    story: dict[str, Any],
    stop: threading.Event,
) -> Generator[tuple[str, str | None, str | None]]:
    """The name of each photo, what is wrong with it, and what of it was not used, as they end."""
    free: SimpleQueue[Restorer] = SimpleQueue()
    for restorer in restorers:
        free.put(restorer)

    def work(job: Job) -> tuple[str, str | None, str | None]:
        restorer = free.get()
        try:
            return _one(job, restorer, workflow, story)
        finally:
            free.put(restorer)

    pool = ThreadPoolExecutor(len(restorers))
    try:
        for future in as_completed([pool.submit(work, job) for job in jobs]):
            yield future.result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _one(
    job: Job, restorer: Restorer, workflow: Workflow, story: dict[str, Any]
) -> tuple[str, str | None, str | None]:
    try:
        original = photo.read(job.photo)
        fitted = workflow.for_size(*_size(original.png))
        result = restorer.restore(_upload_name(job.name, original.sha256), original.png, fitted)
        own = {"photo": printable(job.name), "photo_sha256": original.sha256}
        if fitted is not workflow:
            own["scale_used"] = fitted.settings()["scale"]
        content = photo.finish(result, original, {**story, **own})
    except RefusedError:
        raise
    except (RuntimeError, ValueError) as error:
        return job.name, str(error), None
    job.result.parent.mkdir(parents=True, exist_ok=True)
    replace_file(job.result, content)
    return job.name, None, original.note and f"{original.note}."


def _size(png: bytes) -> tuple[int, int]:
    """Width and height, from the header."""
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def _upload_name(name: str, sha256: str) -> str:
    """A name that every host takes, and that no other photo has."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", PurePosixPath(name).stem)[:60]
    return f"{stem}-{sha256[:12]}.png"
