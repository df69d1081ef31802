"""Downloads from folders of Google Drive, through gdown."""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import Any, NamedTuple, cast

from ..models.files import INDEX, PICKLED, SAFE, STEM
from .http import SILENCE_LIMIT_S, Progress, RefusedError

INSTALL = "python -m pip install gdown"
TRIES = 3
_LONGEST = 300  # characters kept of a message by gdown


class _File(NamedTuple):
    id: str
    path: PurePath  # relative path, beginning with the shared folder's name


def available() -> bool:
    """Return True if gdown is installed."""
    from importlib.util import find_spec

    return find_spec("gdown") is not None


def fetch(url: str, inside: str, folder: Path, progress: Progress) -> list[Path]:
    """Fetch a network from the sub-folder `inside` of a shared folder; an interrupted download is resumed.

    Returns:
        The paths of the files in `folder`.

    Raises:
        RefusedError: if Drive refuses them, they aren't there, or gdown is missing.
        OSError: if they can't be written to the disk.
    """
    try:
        import gdown
        import requests
    except ImportError:
        raise RefusedError(f"{url} is on Google Drive, which needs the package gdown: {INSTALL}") from None
    try:
        listed = gdown.download_folder(
            url, output=f"drive{os.sep}", quiet=True, skip_download=True, timeout=SILENCE_LIMIT_S
        )
        every = [_File(file.id, PurePath(file.local_path)) for file in cast("list[Any]", listed)]
        wanted = _of_network(every, inside, url)
        folder.mkdir(parents=True, exist_ok=True)
        for file in wanted:
            gdown.download(
                id=file.id,
                output=str(folder / file.path.name),
                quiet=True,
                resume=True,
                progress=progress,
                timeout=SILENCE_LIMIT_S,
                retries=TRIES,
            )
    except (gdown.DownloadError, requests.RequestException, AssertionError, LookupError) as error:
        # gdown raises the latter two if it can't parse a page
        said = " ".join(str(error).split())
        shown = said if len(said) <= _LONGEST else f"{said[:_LONGEST]} ..."
        raise RefusedError(
            f"{url}: Google Drive does not hand it out: {shown or type(error).__name__}"
        ) from error
    return [folder / file.path.name for file in wanted]


def _of_network(every: list[_File], inside: str, url: str) -> list[_File]:
    """Return the weights in the sub-folder, safetensors before pickles, with their index and config.json.

    Raises:
        RefusedError: if there are none; the message lists the files that are there.
    """
    parts = PurePath(inside).parts
    there = [file for file in every if file.path.parent.parts[-len(parts) :] == parts]
    for endings in ((SAFE,), PICKLED):
        weights = [f for f in there if f.path.name.startswith(STEM) and f.path.suffix in endings]
        if weights:
            about = {"config.json", *(f"{STEM}{ending}{INDEX}" for ending in endings)}
            return [*(file for file in there if file.path.name in about), *weights]
    shown = ", ".join(sorted(file.path.as_posix() for file in every)[:10]) or "nothing"
    raise RefusedError(f"{url}: there are no weights in '{inside}' of that folder, which holds {shown}")
