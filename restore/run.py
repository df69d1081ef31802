"""Concurrent restoration of a list of photos; each result is written atomically."""

from __future__ import annotations

import re
import struct
import sys
import threading
from collections.abc import Callable, Generator, Sequence
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
from .workflow import Workflow

# The signature of `Client.restore`: a name for the host, the photo as PNG, the workflow -> the result as PNG.
Restore = Callable[[str, bytes, Workflow], bytes]


@dataclass
class Summary:
    """The outcome of a run."""

    made: int = 0  # results
    failed: list[str] = field(default_factory=list)  # names of the photos without a result
    # The error that ended the run early; None if there is none, or the user stopped it.
    fatal: str | None = None
    refused: bool = False  # the host refused the workflow, so that every photo would fail


def restore_all(
    jobs: Sequence[Job],
    total: int,
    restorers: Sequence[Restore],
    workflow: Workflow,
    record: dict[str, Any],
    stop: threading.Event,
) -> Summary:
    """Restore the photos of `jobs`, with a progress bar on a terminal.

    A photo that can't be restored is reported in one line on stderr; the others are still restored.

    Args:
        jobs: the photos to restore.
        total: number of all photos, for the progress bar.
        restorers: each restores one photo at a time.
        workflow: the workflow to run.
        record: stored in each result, with the photo's name and checksum added.
        stop: set when this function ends, so that no work continues.
    """
    summary = Summary()
    begun = total - len(jobs)
    bar = tqdm(total=total, initial=begun, unit=" photos", disable=None, dynamic_ncols=True)
    try:
        with closing(_outcomes(jobs, restorers, workflow, record, stop)) as outcomes:
            for name, problem, note in outcomes:
                for line in filter(None, (problem, note)):
                    tqdm.write(f"{printable(name)}: {line}", file=sys.stderr)
                summary.failed += [name] if problem else []
                summary.made += not problem
                bar.update()
    except RefusedError as error:
        summary.fatal, summary.refused = str(error), True
    except OSError as error:  # errors of the disk or of the connection, which end the run
        summary.fatal = f"{error.filename or 'OUT'}: {error.strerror}" if error.errno else str(error)
    finally:
        bar.close()
    return summary


def _outcomes(
    jobs: Sequence[Job],
    restorers: Sequence[Restore],
    workflow: Workflow,
    record: dict[str, Any],
    stop: threading.Event,
) -> Generator[tuple[str, str | None, str | None]]:
    """Yield (name, error or None, note or None) of each photo when it is done."""
    free: SimpleQueue[Restore] = SimpleQueue()
    for restorer in restorers:
        free.put(restorer)

    def work(job: Job) -> tuple[str, str | None, str | None]:
        restorer = free.get()
        try:
            return _restore_one(job, restorer, workflow, record)
        finally:
            free.put(restorer)

    pool = ThreadPoolExecutor(len(restorers))
    try:
        for future in as_completed([pool.submit(work, job) for job in jobs]):
            yield future.result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _restore_one(
    job: Job, restore: Restore, workflow: Workflow, record: dict[str, Any]
) -> tuple[str, str | None, str | None]:
    try:
        original = photo.read(job.photo)
        width, height = struct.unpack(">II", original.png[16:24])  # of the PNG's header
        fitted = workflow.for_size(width, height)
        # A name that every host accepts and that is unique to the photo.
        stem = re.sub(r"[^A-Za-z0-9_-]+", "_", PurePosixPath(job.name).stem)[:60]
        result = restore(f"{stem}-{original.sha256[:12]}.png", original.png, fitted)
        own = {"photo": printable(job.name), "photo_sha256": original.sha256}
        if fitted is not workflow:
            own["scale_used"] = fitted.settings()["scale"]
        content = photo.finish(result, original, {**record, **own})
    except RefusedError:
        raise
    except (RuntimeError, ValueError) as error:
        return job.name, str(error), None
    job.result.parent.mkdir(parents=True, exist_ok=True)
    replace_file(job.result, content)
    return job.name, None, original.note and f"{original.note}."
