"""Which photos a folder or list means, and what each is called in the data set."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from ...files import read_text

SIDECARS = (".txt", ".json", ".xmp", ".aae", ".csv")  # notes about the photo of the same name
SYSTEM_FILES = ("thumbs.db", "desktop.ini")
LONGEST_NAME = 200  # bytes; file systems allow 255, less our suffixes


def find_photos(where: Path, without: Path | None = None) -> dict[str, Path]:
    """The files to use as photos, in order, by their names in the data set.

    A folder gives every file that isn't hidden or a note beside a photo; whether it is a photo shows when
    it is opened. 'a/b.jpg' is called 'a_b'.

    Args:
        where: a photo; a folder, searched with its sub-folders; or a list, a .txt file with one path a
            line, relative to the list.
        without: a folder to leave out, since it holds results.

    Raises:
        FileNotFoundError: if there is nothing.
    """
    if not where.exists():
        raise FileNotFoundError(f"{where}: there is no such photo, folder or list.")
    root, files = where.parent, [where]
    if where.is_dir():
        root, files = where, sorted(_walk(where, without.resolve() if without else None))
        noted = {file.with_suffix("") for file in files if file.suffix.lower() not in SIDECARS}
        files = [f for f in files if f.suffix.lower() not in SIDECARS or f.with_suffix("") not in noted]
    elif where.suffix.lower() == ".txt":
        lines = read_text(where, errors="surrogateescape").splitlines()
        files = [Path(os.path.normpath(root.resolve() / line.strip())) for line in lines if line.strip()]
        root = Path(os.path.commonpath([file.parent for file in files])) if files else root
    if not files:
        raise FileNotFoundError(f"{where}: there are no photos in it.")
    taken: set[str] = set()
    names = ("_".join(file.relative_to(root).with_suffix("").parts) for file in files)
    return {unused(name, taken): file for name, file in zip(names, files, strict=True)}


def unused(name: str, taken: set[str]) -> str:
    """`name`, or with a number behind it the first that isn't in `taken`, which it joins.

    Case counts for nothing, since not every disk keeps it; too long a name gives way to its hash.
    """
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    free, number = name, 2
    while free.casefold() in taken:
        free, number = f"{name}_{number}", number + 1
    taken.add(free.casefold())
    return free


def _walk(folder: Path, without: Path | None) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name.lower() in SYSTEM_FILES:
            continue
        if not path.is_dir():
            yield path
        elif not path.is_symlink() and path.resolve() != without:  # a link may lead round in a circle
            yield from _walk(path, without)
