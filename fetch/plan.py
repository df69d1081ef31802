"""What there is to fetch into a models folder: what lies there already, and what a folder of copies has."""

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
class Item:
    """One entry of the table, here."""

    entry: Weights
    there: bool  # its file lies where it belongs
    copy: Path | None  # a copy of it in the folder of copies: a file, or a folder of diffusers

    @property
    def incoming(self) -> int:
        """Bytes that come over the network."""
        return 0 if self.there or self.copy else self.entry.size or self.entry.estimate

    @property
    def kept(self) -> int:
        """Bytes that it adds to the models folder."""
        if self.there:
            return 0
        copied = sum(part.stat().st_size for part in files.parts(self.copy)) if self.copy else 0
        return self.entry.kept or copied or self.entry.size or self.entry.estimate


def make(entries: Sequence[Weights], models: Path, copies: Path | None) -> list[Item]:
    """One item for each entry; nothing is touched.

    Raises:
        NotADirectoryError: if one of the folders isn't there.
        FileExistsError: if something else lies where a file belongs.
    """
    for folder in filter(None, (models, copies)):
        if not folder.is_dir():
            raise NotADirectoryError(f"There is no folder '{folder}'.")
    known = record.read(models)
    return [Item(entry, is_there(entry, models, known), find_copy(entry, copies)) for entry in entries]


def is_there(entry: Weights, models: Path, known: Mapping[str, record.Known]) -> bool:
    """Whether the entry's file lies where it belongs.

    Raises:
        FileExistsError: if something else does: other content than was written down, or than the table says;
            where neither is known, content of another kind.
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


def begun(entry: Weights, models: Path) -> int:
    """Bytes of its file that an earlier run left."""
    target = models / entry.target
    return sum(part.stat().st_size for part in target.parent.glob(f".{target.name}.????????.part"))


def check(path: Path, entry: Weights) -> None:
    """Refuse a .safetensors file that isn't what the entry says.

    Raises:
        UnsupportedWeightsError: saying what it is instead.
    """
    name = PurePath(entry.target).name
    files.check(path, name)
    tensors = files.read(path)
    if entry.kind in repack.NODES:
        repack.check(tensors, entry.kind, name)
    elif entry.kind == "checkpoint" and (
        weights.detect(tensors) != "checkpoint" or weights.family(tensors) != BASE
    ):
        raise UnsupportedWeightsError(
            f"'{name}' is {weights.describe(tensors)}; expected {weights.KINDS['checkpoint'].what} of {BASE}."
        )


def find_copy(entry: Weights, copies: Path | None) -> Path | None:
    """Where a folder of copies has it: as `fetch` left it in a models folder, or as it is published."""
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
    """A folder of diffusers; or its only file of weights, which Google Drive may have called NAME-001."""
    found = [path for path in sorted(folder.glob(f"{files.STEM}*")) if not path.name.endswith(files.INDEX)]
    standard = {f"{files.STEM}{ending}" for ending in (files.SAFE, ".bin")}
    indexed = any(folder.glob(f"{files.STEM}*{files.INDEX}"))
    if indexed or any(path.name in standard for path in found):
        yield folder
    elif len(found) == 1:
        yield found[0]


def checksum(entry: Weights, known: Mapping[str, record.Known]) -> str:
    """Of the entry's file, where it is known; else empty."""
    if entry.target in known:
        return known[entry.target].sha256
    checksums = (source.sha256 for source in entry.sources if entry.takes_as_is(source))
    return next((checksum for checksum in checksums if checksum != UNKNOWN), "")
