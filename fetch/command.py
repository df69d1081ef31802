"""The command line of `fetch`: it lists the downloads, asks for consent, fetches and shows the progress."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..models.catalogue import SETS, find
from ..models.entry import UNKNOWN

if TYPE_CHECKING:
    from .downloads import Download

FETCH = """Fetch what a preset needs into ComfyUI's models folders, checked and converted.

NAME is one of: {sets}; a workflow or preset such as ugc_wild; or a file as
python -m ugc_sr.models list names it. Mirrors, logins and proxies are those of the environment: HF_ENDPOINT,
HF_TOKEN, https_proxy. A download that was cut off goes on where it stopped. Nothing is overwritten."""
INTERRUPTED = 130


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `fetch` to the commands of python -m ugc_sr.models."""
    fetch = commands.add_parser(
        "fetch",
        help="the published weights, from where they are",
        description=FETCH.format(sets=", ".join(SETS)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fetch.add_argument("names", metavar="NAME", nargs="+", help="for example srlab")
    fetch.add_argument("--models", metavar="DIR", type=Path, help="ComfyUI's models folder")
    fetch.add_argument("--from", metavar="DIR", type=Path, dest="copies", help="a folder with copies of them")
    fetch.add_argument("--dry-run", action="store_true", help="show what would be fetched, and stop")
    fetch.add_argument("--yes", action="store_true", help="don't ask")
    fetch.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Fetch the files that the options name.

    Raises:
        SystemExit: if it was interrupted.
        OSError: if a file could not be downloaded or stored.
        ValueError: if a name is unknown, or there is no terminal to ask for consent.
    """
    entries = find(options.names)
    models = (options.models or models_folder()).absolute()
    from . import downloads

    items = downloads.find(entries, models, options.copies)
    if not _show(items, models) or options.dry_run:
        return
    _require_means(items, models)
    if not options.yes and not _agreed():
        return
    try:
        with _lock(models):
            _fetch(downloads.find(entries, models, options.copies), models, options.copies)
    except KeyboardInterrupt:
        print("\nStopped. What came so far is kept; the same command goes on there.", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    print("Done. Press R in ComfyUI, then queue the workflow.")


def models_folder() -> Path:
    """Return the models folder of the ComfyUI that `find_host` finds.

    Raises:
        ValueError: if there is no ComfyUI.
    """
    from ..restore.server import find_host

    try:
        return find_host() / "models"
    except FileNotFoundError as error:
        raise ValueError(f"{error} Or say where its models folder is: --models DIR.") from None


def _show(items: Sequence[Download], models: Path) -> bool:
    """Print the files to fetch; return True if there are any.

    Raises:
        OSError: if the disk has too little free space.
    """
    from . import downloads

    free = shutil.disk_usage(models).free
    print(f"Into {models} ({_size(free)} free):")
    for item in items:
        print(f"  {item.entry.folder}/{item.entry.saved}")
        for label, text in _lines(item):
            print(f"      {label:8}{text}")
    missing = [item for item in items if not item.present]
    if not missing:
        print("Nothing to fetch.")
        return False
    fetched, added = sum(item.download_bytes for item in missing), sum(item.added_bytes for item in missing)
    print(f"{len(missing)} of {len(items)} to get: {_size(fetched)} to fetch, {_size(added)} to keep.")
    partial = sum(downloads.partial_bytes(item.entry, models) for item in missing)
    if free + partial < (known := sum(item.added_bytes for item in missing if item.entry.size or item.copy)):
        raise OSError(
            f"'{models}' has {_size(free)} free, but {_size(known)} are needed. Nothing was fetched."
        )
    return True


def _lines(item: Download) -> Iterator[tuple[str, str]]:
    """Yield (label, text) lines about a file that is to be fetched."""
    entry = item.entry
    yield "for", entry.purpose
    if item.present:
        yield "", "there already"
        return
    yield "licence", entry.licence
    if item.copy:
        yield "from", str(item.copy)
        return
    yield "size", _size(entry.size) if entry.size else f"about {_size(entry.estimate)}, by its shapes"
    yield "sha256", entry.sha256 if entry.sha256 != UNKNOWN else "stated nowhere: will be written down"
    for number, source in enumerate(entry.sources):
        yield "or" if number else "from", " ".join(filter(None, (source.url, source.note)))


def _require_means(items: Sequence[Download], models: Path) -> None:
    """Check before the first download that folders are writable and gdown is there if it is needed.

    Raises:
        PermissionError: if a folder isn't writable; the message names it.
        RefusedError: if gdown is missing; the message names the files that only Google Drive has.
    """
    for folder in (models, *((models / item.entry.target).parent for item in items if not item.present)):
        nearest = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
        if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
            raise PermissionError(f"Nothing can be written into '{nearest}'. Nothing was fetched.")
    from . import drive
    from .http import RefusedError

    alone = [
        item.entry.saved
        for item in items
        if not item.present and not item.copy and not any(source.file for source in item.entry.sources)
    ]
    if alone and not drive.available():
        raise RefusedError(
            f"{', '.join(alone)}: on Google Drive alone, which needs the package gdown: {drive.INSTALL}"
        )


def _agreed() -> bool:
    """Ask for consent on the terminal; return True if the answer is yes.

    Raises:
        ValueError: if there is no terminal.
    """
    if not sys.stdin.isatty():
        raise ValueError(
            "There is no terminal to ask at. Say --yes to fetch this, or --dry-run to look only."
        )
    return input("Fetch it? [y/N] ").strip().lower() in ("y", "yes")


@contextmanager
def _lock(models: Path) -> Iterator[None]:
    """Hold the folder's lock: one process fetches at a time. The system frees it when the process ends."""
    from filelock import FileLock, Timeout

    from .get import WORKSHOP

    workshop = models / WORKSHOP
    workshop.mkdir(exist_ok=True)
    lock = FileLock(workshop / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"Another fetch is at work in {models}; waiting for it.", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _fetch(items: Sequence[Download], models: Path, copies: Path | None) -> None:
    """Fetch the missing files; after one fails, the others are still fetched.

    Raises:
        OSError: at once if the disk is full, at the end if any file could not be downloaded.
    """
    from .get import FULL, get
    from .http import RefusedError

    failed = []
    for item in items:
        if item.present:
            continue
        print(f"{item.entry.saved}:", flush=True)
        try:
            get(item, models, copies)
        except (RefusedError, ValueError, FileExistsError, FileNotFoundError) as error:
            failed.append(str(error))
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise OSError(
                f"The disk of '{models}' took no more: {error.strerror}. What came so far is kept; make "
                "room, and the same command goes on there."
            ) from error
    if failed:
        raise OSError(" ".join(failed))


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
