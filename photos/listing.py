"""The photos of folders and lists, pairing by name, and names for results."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..files import printable, read_text
from .formats import SUFFIXES
from .reader import is_photo

SHOWN = 100  # names of files of one kind in the last lines of a command; of more, the number
HIDDEN = "hidden files and folders"
NO_PHOTO = "no photos by their names"
LINK = "links to folders, which are not followed"
NO_FILE = "no files that can be read"
TWICE = "listed twice"


@dataclass(frozen=True)
class Listing:
    """The photos of a place, and the files that were ignored.

    Attributes:
        photos: files by their path below the place, with slashes, in order. This path identifies a photo in
            captions, manifests, reports and among the results.
        reasons: paths of the ignored files -> the reason.
    """

    photos: dict[str, Path] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def ignored(self) -> dict[str, str]:
        """Return the number and the names of the ignored files, by reason."""
        return {
            f"passed over, {reason}": listed([name for name, why in self.reasons.items() if why == reason])
            for reason in sorted(set(self.reasons.values()))
        }

    def passed_over(self) -> list[str]:
        """Return a line for each reason, with the number and the names of the ignored files."""
        return [f"{reason}: {names}" for reason, names in self.ignored().items()]


def listed(names: list[str]) -> str:
    """Return the number of names and the names."""
    more = f", and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return f"{len(names):,} ({', '.join(map(printable, names[:SHOWN]))}{more})"


def list_photos(where: Path, without: Path | None = None) -> Listing:
    """Return the photos of a folder and its subfolders, of a list, or a single photo.

    Of a folder, files with the suffix of a photo are taken, and files without a suffix that contain a photo.
    A file that is named explicitly is taken whatever its name.

    Args:
        where: a photo; a folder; or a list, a .txt file with one path per line, relative to the list.
        without: a folder to leave out, since it holds results.

    Raises:
        FileNotFoundError: if there is no photo.
    """
    if not where.exists():
        raise FileNotFoundError(f"{printable(where)}: there is no such photo, folder or list.")
    listing = Listing()
    if where.is_dir():
        for path, reason in sorted(_walk(where, without.resolve() if without else None)):
            name = path.relative_to(where).as_posix()
            if reason:
                listing.reasons[name] = reason
            else:
                listing.photos[name] = path
    elif where.suffix.lower() == ".txt":
        _read_list(where, listing)
    else:
        listing.photos[where.name] = where
    if not listing.photos:
        only = f", only {listed(list(listing.reasons))}" if listing.reasons else ""
        raise FileNotFoundError(f"{printable(where)}: there are no photos in it{only}.")
    return listing


def _read_list(where: Path, listing: Listing) -> None:
    lines = read_text(where, errors="surrogateescape").splitlines()
    files = [Path(os.path.normpath(where.parent.resolve() / line.strip())) for line in lines if line.strip()]
    root = Path(os.path.commonpath([file.parent for file in files])) if files else where.parent
    for file in files:
        name = file.relative_to(root).as_posix()
        if name in listing.photos:
            listing.reasons[name] = TWICE
        listing.photos[name] = file


def _walk(folder: Path, without: Path | None) -> Iterator[tuple[Path, str]]:
    """Yield every file below a folder with the reason to ignore it, "" for none."""
    try:
        entries = list(folder.iterdir())
    except OSError:
        yield folder, NO_FILE
        return
    for path in entries:
        reason = _reason(path)
        if reason is not None:
            yield path, reason
        elif path.resolve() != without:
            yield from _walk(path, without)


def _reason(path: Path) -> str | None:
    """Return the reason to ignore a path; "" for a photo, None for a folder to search."""
    if path.name.startswith("."):
        return HIDDEN
    try:
        if path.is_dir():
            return LINK if path.is_symlink() else None
        if not path.is_file():
            return NO_FILE
    except OSError:  # of a folder that may be listed but not entered
        return NO_FILE
    suffix = suffix_of(path.name)
    return "" if suffix in SUFFIXES or (not suffix and is_photo(path)) else NO_PHOTO


def suffix_of(name: str) -> str:
    """Return a name's suffix in lower case, ignoring trailing dots and spaces, which some systems drop."""
    return PurePosixPath(name.rstrip(" .") or name).suffix.lower()


def composed(name: str) -> str:
    """Return a name in Unicode's composed form; macOS decomposes accented letters, other systems don't."""
    return unicodedata.normalize("NFC", name)


class TakenNames:
    """Names of results, compared as file systems may compare them: ignoring case and composition."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {folded(name) for name in taken}

    def take(self, names: Iterable[str]) -> str:
        """Return the first free name of an infinite sequence, which is taken from then on."""
        free = next(name for name in names if folded(name) not in self._taken)
        self._taken.add(folded(free))
        return free


def folded(name: str) -> str:
    """Return a name as compared by file systems that ignore case and composition."""
    return composed(composed(name).casefold())


def partners(names: Iterable[str], others: Iterable[str], ending: str = "") -> dict[str, list[str]]:
    """Return the names among `others` that belong to each path, ideally one.

    In this order: the same path, composed or decomposed; the path that `restore` made it from ('a.jpg' for
    'a.jpg.png' and 'a.jpg.2.png'); the same path with another suffix; that with `ending` before the suffix.
    """
    exact = {name: [name] for name in others}
    whole, bare = _index(exact, composed), _index(exact, _stem)
    partners_of = {}
    for name in names:
        made_from, stem = re.sub(r"(\.\d+)?\.png$", "", name), _stem(name)
        tries = (
            *(exact.get(name), whole.get(composed(name))),
            *(exact.get(made_from), whole.get(composed(made_from))),
            *(bare.get(stem), bare.get(stem.removesuffix(ending))),
        )
        partners_of[name] = next((match for match in tries if match), [])
    return partners_of


def _index(names: Iterable[str], key: Callable[[str], str]) -> Mapping[str, list[str]]:
    index: dict[str, list[str]] = {}
    for name in names:
        index.setdefault(key(name), []).append(name)
    return index


def _stem(name: str) -> str:
    """Return a path without its suffix, composed."""
    path = PurePosixPath(composed(name))
    return path.with_suffix("").as_posix() if path.suffix else str(path)
