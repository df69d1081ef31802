"""The entries of a fetch: those that are present, those that a folder of copies has, and the missing ones."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from ..models import files, repack, weights
from ..models.entry import UNKNOWN, Weights
from ..models.weights import UnsupportedWeightsError
from . import record

BASE = "Stable Diffusion 2"


@dataclass(frozen=True)
class Download:
    """One entry of the table of weights, with its state on this machine."""

    entry: Weights
    present: bool  # its file is in its place
    copy: Path | None  # its copy in the folder of copies: a file, or a folder of diffusers

    @property
    def download_bytes(self) -> int:
        """The number of bytes to download."""
        return 0 if self.present or self.copy else self.entry.size or self.entry.estimate

    @property
    def added_bytes(self) -> int:
        """The number of bytes that the entry adds to the models folder."""
        if self.present:
            return 0
        copied = sum(part.stat().st_size for part in files.parts(self.copy)) if self.copy else 0
        return self.entry.stored_size or copied or self.entry.size or self.entry.estimate


def find(entries: Sequence[Weights], models: Path, copies: Path | None) -> list[Download]:
    """Return one download for each entry; nothing is written.

    Raises:
        NotADirectoryError: if one of the folders is missing.
        FileExistsError: if another file is in the place of one of the entries.
    """
    for folder in filter(None, (models, copies)):
        if not folder.is_dir():
            raise NotADirectoryError(f"There is no folder '{folder}'.")
    known = record.read(models)
    return [Download(entry, is_present(entry, models, known), find_copy(entry, copies)) for entry in entries]


def is_present(entry: Weights, models: Path, known: Mapping[str, record.Known]) -> bool:
    """Return True if the entry's file is in its place.

    Raises:
        FileExistsError: if another file is there: its content differs from the record or the table, or, where
            neither states a checksum, it is of another kind.
    """
    target = models / entry.target
    if not os.path.lexists(target):
        return False
    wanted = checksum(entry, known)
    problem = "is no file"
    if target.is_file():
        if wanted:
            found = repack.sha256(target)
            problem = "" if found == wanted else f"has sha256 {found}, not {wanted}"
        else:
            try:
                check(target, entry)
                problem = ""
            except UnsupportedWeightsError as refusal:
                problem = f"is another one: {refusal}".rstrip(".")
    if problem:
        raise FileExistsError(
            f"'{target}' {problem}. Move it away, then run this again; nothing was touched."
        )
    return True


def partial_bytes(entry: Weights, models: Path) -> int:
    """Return the number of bytes of the entry's file that an interrupted run has left."""
    target = models / entry.target
    return sum(part.stat().st_size for part in target.parent.glob(f".{target.name}.????????.part"))


def check(path: Path, entry: Weights) -> None:
    """Refuse a .safetensors file of another kind than the entry's.

    Raises:
        UnsupportedWeightsError: if it is; the message says what the file holds.
    """
    name = PurePath(entry.target).name
    files.check(path, name)
    tensors = files.read(path)
    if entry.kind in weights.OURS:
        repack.check(tensors, entry.kind, name)
    elif entry.kind == "checkpoint" and (
        weights.detect(tensors) != "checkpoint" or weights.family(tensors) != BASE
    ):
        raise UnsupportedWeightsError(
            f"'{name}' is {weights.describe(tensors)}; expected {weights.KINDS['checkpoint'].what} of {BASE}."
        )


def find_copy(entry: Weights, copies: Path | None) -> Path | None:
    """Return the entry's path in a folder of copies, as `fetch` stores it or as published; else None."""
    if copies is None:
        return None
    return next((path for path in _candidates(entry, copies) if path.exists()), None)


def _candidates(entry: Weights, copies: Path) -> Iterator[Path]:
    yield copies / entry.target
    names = (entry.saved, entry.name, *(source.file for source in entry.sources), PurePath(entry.name).name)
    for name in dict.fromkeys(names):
        if not name:
            continue
        path = copies / name
        if path.is_dir():
            yield from _weights_in(path)
        elif not name.startswith(files.STEM):
            yield path


def _weights_in(folder: Path) -> Iterator[Path]:
    """Yield the folder, or its only file of weights if that has another name (Google Drive adds -001)."""
    found = [path for path in sorted(folder.glob(f"{files.STEM}*")) if not path.name.endswith(files.INDEX)]
    standard = {f"{files.STEM}{ending}" for ending in (files.SAFE, ".bin")}
    indexed = any(folder.glob(f"{files.STEM}*{files.INDEX}"))
    if indexed or any(path.name in standard for path in found):
        yield folder
    elif len(found) == 1:
        yield found[0]


def checksum(entry: Weights, known: Mapping[str, record.Known]) -> str:
    """Return the sha256 of the entry's file; "" if it is unknown."""
    if entry.target in known:
        return known[entry.target].sha256
    checksums = (source.sha256 for source in entry.sources if entry.takes_as_is(source))
    return next((checksum for checksum in checksums if checksum != UNKNOWN), "")
