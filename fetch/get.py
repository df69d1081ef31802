"""One entry of the table of weights: download from the first source that has it, check, convert, record."""

from __future__ import annotations

import errno
import os
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from ..files import brief
from ..models import files, repack
from ..models.catalogue import CONVERSIONS, command
from ..models.entry import DRIVE, HUB, UNKNOWN, Source, Weights
from . import downloads, drive, http, hub, record
from .http import Progress, RefusedError

WORKSHOP = ".ugc_sr_fetch"  # in the models folder: files that are still to be converted, and the lock
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def get(download: downloads.Download, models: Path, copies: Path | None) -> None:
    """Download or copy an entry's file to its place below `models`.

    Raises:
        RefusedError: if no source has it.
        FileExistsError: if another file was created there meanwhile.
        OSError: if it can't be written to the disk.
        ValueError: if the copy isn't the file that it should be.
    """
    entry = download.entry
    known = {**(record.read(copies) if copies else {}), **record.read(models)}
    if download.copy:
        _place(entry, models, download.copy, str(download.copy), _check_copy(entry, download.copy, known))
        return
    for source in entry.sources:
        try:
            _from(source, entry, models, known)
        except (RefusedError, ValueError) as refusal:
            said = str(refusal).rstrip(".")
            _say(
                f"  refused: {said}" + ("" if source.page == source.url else f". In a browser: {source.page}")
            )
            continue
        for left in _workshops(entry, models):
            shutil.rmtree(left)
        return
    for left in _workshops(entry, models):
        if not any(left.iterdir()):
            left.rmdir()
    raise RefusedError(
        f"No source gave {entry.saved}. Get {entry.name} through a browser ({entry.page}), put it into a "
        f"folder, then run  {command(entry.saved)} --from FOLDER"
    )


def _from(source: Source, entry: Weights, models: Path, known: Mapping[str, record.Known]) -> None:
    """Fetch from one source.

    Raises:
        RefusedError: if the source refuses, or the file has another checksum.
        ValueError: if the content isn't that of the entry.
    """
    _say(f"  from {source.url}")
    as_is = entry.takes_as_is(source)
    folder = models / WORKSHOP / f"{_flat(entry)}.{zlib.crc32(source.url.encode()):08x}"
    published: dict[str, str] = {}
    if source.url.startswith(DRIVE):
        for path in drive.fetch(source.url, source.inside, folder, _bar(entry.saved)):
            if path.name.startswith(files.STEM) and not path.name.endswith(files.INDEX):
                published[path.name] = _verified(path, path.name, UNKNOWN, entry, known)
        received = folder
    else:
        target = models / entry.target if as_is else folder / source.file
        part, stated = _download(source.url, target, _bar(source.file))
        expected = source.sha256 if source.sha256 != UNKNOWN else stated or UNKNOWN
        published[source.file] = _verified(part, source.file, expected, entry, known)
        received = part
        if not as_is:
            part.replace(target)
            received = _with_config(source, entry, target)
    try:
        _place(entry, models, received, source.url, published)
    except ValueError:
        shutil.rmtree(folder) if folder.exists() else received.unlink(missing_ok=True)
        raise


def _download(url: str, target: Path, progress: Progress) -> tuple[Path, str]:
    """Return the path of the download and the sha256 that the source states, "" if it states none."""
    if url.startswith(HUB):
        return hub.fetch(url, target, progress)
    return http.download(url, target, progress), ""


def _with_config(source: Source, entry: Weights, weights: Path) -> Path:
    """Return the file, or its folder with the config.json that states the width of diffusers' heads."""
    if entry.saved.endswith(files.SAFE):
        return weights
    try:
        url = f"{source.url.rsplit('/', 1)[0]}/config.json"
        part, _ = _download(url, weights.with_name("config.json"), _bar("config.json"))
        part.replace(weights.with_name("config.json"))
    except RefusedError:
        pass  # the keys and shapes are checked all the same
    return weights.parent


def _verified(path: Path, name: str, expected: str, entry: Weights, known: Mapping[str, record.Known]) -> str:
    """Return the sha256 of a downloaded file.

    Raises:
        RefusedError: if it differs from the expected or recorded one; the file is deleted.
    """
    found = repack.sha256(path)
    before = known.get(entry.target)
    recorded = before.published.get(name, UNKNOWN) if before else UNKNOWN
    for wanted, where in ((expected, "stated"), (recorded, f"written down in {record.NAME}")):
        if wanted not in (UNKNOWN, found):
            path.unlink()
            raise RefusedError(f"{name} has sha256 {found}, but {wanted} is {where}; it was thrown away")
    vouched = "as stated" if expected != UNKNOWN else "as written down" if recorded != UNKNOWN else ""
    _say(f"  sha256 {found}, {vouched or 'stated nowhere: trusted, and written down'}")
    return found


def _check_copy(entry: Weights, copy: Path, known: Mapping[str, record.Known]) -> dict[str, str]:
    """Return name -> sha256 of the published files that a copy was made from.

    Raises:
        ValueError: if the table or a record states other checksums.
    """
    stated = {source.file: source.sha256 for source in entry.sources if source.sha256 != UNKNOWN}
    before, made = known.get(entry.target), copy.as_posix().endswith(entry.target)
    published = before.published if before else {}
    if made:
        wanted = downloads.checksum(entry, known)
        stated = {copy.name: wanted} if wanted else {}
    else:
        stated |= published
    found = {part.name: repack.sha256(part) for part in files.parts(copy)}
    for name, checksum in found.items():
        if stated.get(name, checksum) != checksum:
            raise ValueError(
                f"'{copy}' has sha256 {checksum} in {name}, but {stated[name]} is stated. Get it again."
            )
    return published if made else found


def _place(entry: Weights, models: Path, received: Path, source: str, published: dict[str, str]) -> None:
    """Convert or move a download or a copy to its place, and record it.

    Raises:
        FileExistsError: if another file was created there meanwhile.
        ValueError: if its content isn't that of the entry.
    """
    target = models / entry.target
    target.parent.mkdir(parents=True, exist_ok=True)
    ready = received.as_posix().endswith(entry.target) or entry.saved.endswith(files.SAFE)
    if received.is_dir() or received.suffix in files.PICKLED or not ready:
        digest = _convert(entry, received, target)
    else:
        part = received
        if not received.name.endswith(".part"):
            part = target.with_name(f".{target.name}.copy.part")
        try:
            if part != received:
                shutil.copyfile(received, part)
            downloads.check(part, entry)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        if os.path.lexists(target):
            raise FileExistsError(f"'{target}' came to lie there meanwhile; it was left alone.")
        digest = repack.sha256(part)
        part.replace(target)
    record.add(models, entry.target, digest, source, published)
    _say(f"  stored as {target}")


def _convert(entry: Weights, received: Path, target: Path) -> str:
    """Convert `received` to the file that the loader opens; return its sha256."""
    options = CONVERSIONS[entry.kind]
    if not entry.saved.endswith(files.SAFE):  # only `fetch` uses this folder
        for left in target.parent.glob(".*.part"):
            left.unlink()
    _say(f"  converting{''.join(f', {name}' for name in options).replace('_', ' ')}")
    try:
        return repack.convert(received, target, kind=entry.kind, **options).sha256
    except repack.BeyondHalfError as large:
        _say(f"  stored as published: {brief(str(large))}")
        return repack.convert(received, target, kind=entry.kind, **{**options, "half": False}).sha256


def _workshops(entry: Weights, models: Path) -> list[Path]:
    """Return, for each source, the folder in which its download waits for the conversion."""
    return list((models / WORKSHOP).glob(f"{_flat(entry)}.*"))


def _say(text: str) -> None:
    print(text, flush=True)


def _bar(name: str) -> Progress:
    """Return a progress callback that draws a bar on a terminal, and nothing elsewhere."""
    bars: list[tqdm] = []

    def show(have: int, total: int | None) -> None:
        if not bars:
            bars.append(
                tqdm(desc=f"  {name}", total=total, unit="B", unit_scale=True, disable=None, leave=False)
            )
        bars[0].update(have - bars[0].n)
        if have == total:
            bars.pop().close()

    return show


def _flat(entry: Weights) -> str:
    return entry.saved.replace("/", "_")
