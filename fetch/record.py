"""The record of fetched files with their checksums, one JSON file beside the models, for later comparison."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from ..files import parse_json, read_text, replace_file

NAME = "ugc_sr_weights.json"


@dataclass(frozen=True)
class Known:
    """The record of one fetched file."""

    sha256: str
    source: str  # its address, or a note that it was there before
    published: dict[str, str]  # published file that it was made from -> sha256
    date: str


def read(folder: Path) -> dict[str, Known]:
    """Return the records of a models folder by the paths of the files relative to it; empty if it has none.

    Raises:
        ValueError: if the file isn't a record.
    """
    path = folder / NAME
    if not path.is_file():
        return {}
    try:
        return {target: Known(**known) for target, known in parse_json(read_text(path)).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"'{path}' is no record of fetched weights ({error}). Move it away; checksums are written anew."
        ) from error


def add(folder: Path, target: str, sha256: str, source: str, published: dict[str, str]) -> None:
    """Add one file to the folder's record."""
    known = read(folder)
    known[target] = Known(sha256, source, published, date.today().isoformat())
    content = {name: asdict(entry) for name, entry in sorted(known.items())}
    replace_file(folder / NAME, json.dumps(content, indent=2).encode() + b"\n")
