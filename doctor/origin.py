"""The origin of a file of weights, and a check that the file is unchanged since it was fetched."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError, safe_open
from tqdm import tqdm

from ..fetch import record
from ..models import catalogue, repack
from ..models.entry import UNKNOWN
from .findings import SD2, TURBO, WRONG, Finding, entry_of, replacement

_DEEPEST = 4  # levels from a file up to models/


def trace(found: Finding, *, hashed: bool) -> tuple[Finding, str]:
    """Return the finding on a file that fits, with origin and checksums, and why its record is unreadable.

    The reason is empty if the record can be read. The file is WRONG if it has changed since it was fetched.
    `hashed` computes checksums, which reads the whole file; a published one also determines the base model.
    """
    unreadable = ""
    try:
        known = {part: _known(part) for part in found.parts}
    except ValueError as error:
        known, unreadable = dict.fromkeys(found.parts), str(error)
    sums = {part: checksum(part) for part in known} if hashed else {}
    entry = next(filter(None, map(catalogue.recognise, sums.values())), None)
    texts = [f"as published: {entry.name}"] if entry else []
    texts += dict.fromkeys(f"fetched {was.date} from {was.source}" for was in known.values() if was)
    texts = texts or list(filter(None, map(_converted, known)))
    recorded = {part: was.sha256 for part, was in known.items() if was}
    traced = replace(
        found,
        sha256={part.name: digest for part, digest in (recorded | sums).items()},
        origin="; ".join(texts) or _unknown(found, sums),
    )
    if entry and entry.kind == "checkpoint":
        traced = replace(traced, base=TURBO if entry.sets == ("turbo",) else SD2)
    if any(recorded.get(part, digest) != digest for part, digest in sums.items()):
        why = f"'{found.name}' is not what was fetched: its sha256 changed."
        traced = replace(traced, state=WRONG, why=why, repair=replacement(found))
    return traced, unreadable


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
    """Return the origin that `convert` wrote into a file; empty if it wrote none."""
    try:
        with safe_open(part, framework="pt") as file:
            about = file.metadata() or {}
    except (SafetensorError, OSError):
        return ""
    source, digest = (about.get(key, "") for key in ("ugcsr_source", "ugcsr_source_sha256"))
    return f"converted here from {source}, sha256 {digest}" if source else ""


def checksum(part: Path) -> str:
    """Return a file's sha256; on a terminal a bar shows the progress."""
    with tqdm(
        total=part.stat().st_size,
        desc=f"sha256 of {part.name}",
        unit="B",
        unit_scale=True,
        leave=False,
        disable=None,
        file=sys.stderr,
    ) as bar:
        return repack.sha256(part, bar.update)
