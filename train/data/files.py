"""Photos and pairs that lie as files in folders, with their captions."""

import json
import os
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from ...degrade.dataset.join import find_pairs
from ...files import brief, parse_json, printable, read_text
from ...photos.formats import PhotoError
from ...photos.listing import composed, list_photos
from ...photos.reader import Photo, open_photo, size_of
from .sample import shuffled

CAPTIONS = "metadata.jsonl"  # lines of {"file_name": ..., "text": ...}, as the Hub's image folders have it


class Files:
    """For every sample the file of each side; its caption is in NAME.txt beside one, or in the tags file.

    Args:
        sides: "hr", and for pairs "lr" too -> the file of every sample.
        names: of the samples.
        groups: what each sample was made of, where that isn't its name.
        captions: of those that have one in a tags file, by path of the file.
        problems: what was left out, and why.
    """

    kind = "folder"

    def __init__(
        self,
        sides: Mapping[str, Sequence[Path]],
        names: Sequence[str],
        groups: Sequence[str] = (),
        captions: Mapping[str, str] | None = None,
        problems: Mapping[str, str] | None = None,
    ) -> None:
        self.files = {side: [str(file) for file in files] for side, files in sides.items()}
        self.names, self.groups = list(names), list(groups or names)
        self.captions, self.problems = dict(captions or {}), dict(problems or {})

    def open(self, index: int, side: str) -> Photo:
        """A decoded photo.

        Raises:
            PhotoError: if it isn't a whole photo.
        """
        return open_photo(Path(self.files[side][index]))

    def caption(self, index: int) -> str:
        """What was written about the photo, in one line."""
        for files in self.files.values():
            file = Path(files[index])
            if files[index] in self.captions:
                return self.captions[files[index]]
            note = file.with_suffix(".txt")
            if note.is_file():
                return " ".join(read_text(note, errors="replace").split())
        return ""

    def order(self, rng: random.Random) -> list[int]:
        """All samples, shuffled."""
        return shuffled(len(self.names), rng)

    def where(self, index: int, side: str) -> str:
        """The file, for messages."""
        return self.files[side][index]


def photo_files(where: Path) -> Files:
    """The clean photos of a folder, or of a .txt list with one path a line.

    Raises:
        FileNotFoundError: if there are none.
        ValueError: if a tags file can't be read, or leaves open which photo a text is about.
    """
    found = list_photos(where)
    files = list(found.photos.values())
    captions = _read_captions([where], files) if where.is_dir() else {}
    problems = dict(line.split(": ", 1) for line in found.passed_over())
    return Files({"hr": files}, _short(found.photos), captions=captions, problems=problems)


def _short(paths: Iterable[str]) -> list[str]:
    """Paths without their suffixes, where that leaves them different."""
    short = {path: PurePosixPath(path).with_suffix("").as_posix() for path in paths}
    counts = Counter(short.values())
    return [printable(name if counts[name] == 1 else path) for path, name in short.items()]


def pair_files(folder: Path, scale: int) -> Files:
    """The pairs of a folder with hr (gt, hq) and lr (lq) in it, and a manifest if `ugc_sr.degrade` made it.

    Raises:
        FileNotFoundError: if there are no pairs.
        ValueError: if hr isn't `scale` times lr.
    """
    manifest = folder / "manifest.jsonl"
    made = manifest.is_file() and manifest.stat().st_size > 0
    files = _listed(folder, manifest) if made else _found(folder, scale)
    if not files.names:
        raise FileNotFoundError(
            f"{folder}: there are no pairs in it; expected photos of the same names in hr/ and lr/."
        )
    _check_sizes(folder, files, scale)
    sides = [file for paths in files.files.values() for file in paths]
    files.captions = _read_captions([folder, *{_side(folder, file) for file in sides}], map(Path, sides))
    return files


def _side(folder: Path, file: str) -> Path:
    """The folder of a side, such as hr, that a file lies in."""
    return folder / Path(file).relative_to(folder).parts[0]


def _listed(folder: Path, manifest: Path) -> Files:
    files, groups = [], []
    for number, line in enumerate(read_text(manifest).splitlines(), start=1):
        try:
            entry = parse_json(line)
            name, source = entry["name"], entry.get("source")
            inside = Path(name).name == name and name not in ("", "..") and "\0" not in name
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(
                f"{manifest}, line {number}: expected a pair in JSON. Mend or delete it."
            ) from None
        if not inside:
            raise ValueError(
                f"{manifest}, line {number}: 'name' is {brief(name)}; expected a file in hr/ and lr/. "
                "Mend or delete it."
            )
        files.append(name)
        groups.append(str(source or name))
    sides = {side: [folder / side / name for name in files] for side in ("hr", "lr")}
    return Files(sides, [Path(name).stem for name in files], groups)


def _found(folder: Path, scale: int) -> Files:
    found = find_pairs(folder, scale)
    problems = {printable(path.relative_to(folder)): why for path, why in found.alone.items()}
    problems |= dict(line.rsplit(": ", 1) for line in found.passed)
    hr, lr = ([pair[side] for pair in found.pairs.values()] for side in (0, 1))
    return Files({"hr": hr, "lr": lr}, _short(found.pairs), problems=problems)


def _check_sizes(folder: Path, files: Files, scale: int) -> None:
    """Compare the sizes in the heads of all files; what can't be read is left for the day it is drawn.

    Raises:
        ValueError: naming the first pair that doesn't fit.
    """
    with ThreadPoolExecutor(8) as pool:
        hr, lr = (list(pool.map(_size, files.files[side])) for side in ("hr", "lr"))
    wrong = [
        f"{name} with hr {a[0]}x{a[1]} and lr {b[0]}x{b[1]} px"
        for name, a, b in zip(files.names, hr, lr, strict=True)
        if a and b and not _fit(a, b, scale)
    ]
    if wrong:
        raise ValueError(
            f"{folder}: {len(wrong)} of {len(files.names)} pairs don't differ by the scale, {scale}; the "
            f"first is {wrong[0]}. Set the scale that they were made with, or take them out."
        )


def _size(file: str) -> tuple[int, int] | None:
    try:
        return size_of(Path(file))
    except PhotoError:
        return None


def _fit(hr: tuple[int, int], lr: tuple[int, int], scale: int) -> bool:
    wanted = (lr[0] * scale, lr[1] * scale)
    return hr in {wanted, wanted[::-1]}  # one may lie on its side, with a note in its head to turn it


def _read_captions(places: Sequence[Path], files: Iterable[Path]) -> dict[str, str]:
    """The texts of all tags files in the first place and below it, by path of the photo.

    A text is about the file whose path stands beside it, relative to the tags file; in a folder of pairs,
    also relative to the folder of a side. A name alone may stand for the one photo of that name below.

    Raises:
        ValueError: if several photos could be meant, or a photo has two texts.
    """
    known = {composed(os.path.normpath(file)): str(file) for file in files}
    names: dict[str, list[str]] = {}
    for path in known:
        names.setdefault(Path(path).name, []).append(path)
    captions: dict[str, tuple[str, str]] = {}
    for tags in sorted(places[0].rglob(CAPTIONS)):
        roots = places if tags.parent == places[0] else [tags.parent]
        for where, name, text in _captions(tags):
            paths = [composed(os.path.normpath(root / name)) for root in roots]
            meant = [path for path in paths if path in known]
            if not meant:
                meant = names.get(composed(name), [])
                _check_one(meant, places[1:] or places, f"{where}: {brief(name)}")
            for path in meant:
                before = captions.setdefault(known[path], (text, where))
                if before[0] != text:
                    raise ValueError(f"{where}: {brief(name)} has another text in {before[1]}. Delete one.")
    return {path: text for path, (text, _) in captions.items()}


def _check_one(paths: Sequence[str], sides: Sequence[Path], what: str) -> None:
    for side in sides:
        of_side = [path for path in paths if Path(path).is_relative_to(composed(os.path.normpath(side)))]
        if len(of_side) > 1:
            first, second = map(printable, of_side[:2])
            raise ValueError(
                f"{what} could be any of {len(of_side)} photos, such as {first} and {second}. "
                "Write the path before the name."
            )


def _captions(file: Path) -> Iterator[tuple[str, str, str]]:
    """Place, name and text of each line.

    Raises:
        ValueError: if one is none.
    """
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        where = f"{file}, line {number}"
        try:
            entry = json.loads(line)
            yield where, os.fspath(PurePosixPath(entry["file_name"])), " ".join(entry["text"].split())
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(
                f'{where}: expected {{"file_name": "a.jpg", "text": "..."}}. Mend or delete it.'
            ) from None
