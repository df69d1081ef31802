"""The origin of a file of weights, and a check that the file is unchanged since it was fetched."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from tqdm import tqdm

from ..fetch import record
from ..models import catalogue, repack
from ..models.entry import UNKNOWN
from .findings import SD2, TURBO, Finding, entry_of

_DEEPEST = 4  # levels from a file up to models/
_WRITTEN_BY_US = ("ugcsr_source", "ugcsr_source_sha256")


@dataclass(frozen=True)
class Origin:
    """The origin of a file.

    Attributes:
        sha256: part's name -> sha256; the recorded one if it wasn't computed now.
        text: a description of the origin.
        base: the base model with that checksum; empty if it is unknown.
        changed: the fault, if the file has changed since it was fetched.
        unread: the fault, if the record of fetched files can't be read.
    """

    sha256: Mapping[str, str]
    text: str
    base: str = ""
    changed: str = ""
    unread: str = ""


def trace(found: Finding, *, hashed: bool) -> Origin:
    """Return the origin of a file that fits; `hashed` computes its checksums, which reads the whole file."""
    unread = ""
    try:
        known = {part: _known(part) for part in found.parts}
    except ValueError as error:
        known, unread = dict.fromkeys(found.parts), str(error)
    sums = {part: checksum(part) for part in known} if hashed else {}
    changed = [part for part, digest in sums.items() if (was := known[part]) and was.sha256 != digest]
    entries = [catalogue.recognise(digest) for digest in sums.values()]
    entry = next(filter(None, entries), None)
    texts = [f"as published: {entry.name}"] if entry else []
    texts += list(dict.fromkeys(f"fetched {was.date} from {was.source}" for was in known.values() if was))
    texts = texts or list(filter(None, map(_converted, known)))
    recorded = {part: was.sha256 for part, was in known.items() if was}
    base = ""
    if entry and entry.kind == "checkpoint":
        base = TURBO if entry.sets == ("turbo",) else SD2
    return Origin(
        sha256={part.name: digest for part, digest in (recorded | sums).items()},
        text="; ".join(texts) or _unknown(found, sums),
        base=base,
        changed=f"'{found.name}' is not what was fetched: its sha256 changed." if changed else "",
        unread=unread,
    )


def _unknown(found: Finding, sums: Mapping[Path, str]) -> str:
    """Return the description of a file without a record."""
    entry = entry_of(found.kind, found.name)
    published = entry.sources[0] if entry else None
    if sums and published and published.file == found.plain and published.sha256 != UNKNOWN:
        return f"unknown, and not the published file, whose sha256 is {published.sha256}"
    return "unknown: `fetch` did not bring it" + (", and no published file has its checksum" if sums else "")


def _known(part: Path) -> record.Known | None:
    for folder in list(part.parents)[:_DEEPEST]:
        if (folder / record.NAME).is_file():
            return record.read(folder).get(part.relative_to(folder).as_posix())
    return None


def _converted(part: Path) -> str:
    try:
        with safe_open(part, framework="pt") as file:
            about = file.metadata() or {}
    except (SafetensorError, OSError):
        return ""
    source, digest = (about.get(key, "") for key in _WRITTEN_BY_US)
    return f"converted here from {source}, sha256 {digest}" if source else ""


def checksum(part: Path) -> str:
    """Return a file's sha256; on a terminal a bar shows the progress."""
    total = part.stat().st_size
    with tqdm(
        total=total,
        desc=f"sha256 of {part.name}",
        unit="B",
        unit_scale=True,
        leave=False,
        disable=None,
        file=sys.stderr,
    ) as bar:
        return repack.sha256(part, bar.update)
