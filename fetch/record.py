"""What was fetched, with checksums: one file beside the models, to compare with later and elsewhere."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from ..files import parse_json, read_text, replace_file

NAME = "ugc_sr_weights.json"


@dataclass(frozen=True)
class Known:
    """One file of ours."""

    sha256: str
    source: str  # an address, or that it was found there
    published: dict[str, str]  # names of the files that it was made of -> their sha256
    date: str


def read(folder: Path) -> dict[str, Known]:
    """What the folder's record says, by path below the folder; nothing if it has none.

    Raises:
        ValueError: if it is no record.
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
    """Write one file down."""
    known = read(folder)
    known[target] = Known(sha256, source, published, date.today().isoformat())
    content = {name: asdict(entry) for name, entry in sorted(known.items())}
    replace_file(folder / NAME, json.dumps(content, indent=2).encode() + b"\n")
