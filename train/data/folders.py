"""Photos and pairs in folders, with their captions."""

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

CAPTIONS = "metadata.jsonl"  # lines of {"file_name": ..., "text": ...}, as in Hugging Face image folders


class PhotoFolder:
    """Photos or pairs as files; captions are in NAME.txt next to a photo, or in metadata.jsonl."""

    kind = "a folder"

    def __init__(
        self,
        sides: Mapping[str, Sequence[Path]],  # "hr", and for pairs "lr" too -> the file of each sample
        names: Sequence[str],
        groups: Sequence[str] = (),  # the photo that each sample was made from, if that isn't its name
        captions: Mapping[str, str] | None = None,  # from metadata.jsonl, by path of the photo
        problems: Mapping[str, str] | None = None,  # files that were left out -> the reason
    ) -> None:
        self.files = {side: [str(file) for file in files] for side, files in sides.items()}
        self.names, self.groups = list(names), list(groups or names)
        self.captions, self.problems = dict(captions or {}), dict(problems or {})

    def open(self, index: int, side: str) -> Photo:
        """Return a decoded photo.

        Raises:
            PhotoError: if it isn't a complete photo.
        """
        return open_photo(Path(self.files[side][index]))

    def caption(self, index: int) -> str:
        """Return the caption in one line, "" if there is none."""
        for files in self.files.values():
            file = Path(files[index])
            if files[index] in self.captions:
                return self.captions[files[index]]
            note = file.with_suffix(".txt")
            if note.is_file():
                return " ".join(read_text(note, errors="replace").split())
        return ""

    def order(self, rng: random.Random) -> list[int]:
        """Return all indices, shuffled."""
        return shuffled(len(self.names), rng)

    def where(self, index: int, side: str) -> str:
        """Return the path of a file, for messages."""
        return self.files[side][index]


def photo_folder(where: Path) -> PhotoFolder:
    """Return the clean photos of a folder, or of a .txt list with one path per line.

    Raises:
        FileNotFoundError: if there are none.
        ValueError: if metadata.jsonl can't be read, or doesn't say which photo a text is about.
    """
    found = list_photos(where)
    files = list(found.photos.values())
    captions = _read_captions([where], files) if where.is_dir() else {}
    return PhotoFolder({"hr": files}, _short(found.photos), captions=captions, problems=found.ignored())


def _short(paths: Iterable[str]) -> list[str]:
    """Return paths without their suffixes where they remain unique."""
    short = {path: PurePosixPath(path).with_suffix("").as_posix() for path in paths}
    counts = Counter(short.values())
    return [printable(name if counts[name] == 1 else path) for path, name in short.items()]


def pair_folder(folder: Path, scale: int) -> PhotoFolder:
    """Return the pairs of a folder with hr (gt, hq) and lr (lq), and a manifest if `ugc_sr.degrade` made it.

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
    """Return the folder of a side, such as hr, that contains a file."""
    return folder / Path(file).relative_to(folder).parts[0]


def _listed(folder: Path, manifest: Path) -> PhotoFolder:
    files, groups = [], []
    for number, line in enumerate(read_text(manifest).splitlines(), start=1):
        try:
            entry = parse_json(line)
            name, source = entry["name"], entry.get("source")
            inside = Path(name).name == name and name not in ("", "..") and "\0" not in name
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(
                f"{manifest}, line {number}: expected a pair in JSON. Fix or delete it."
            ) from None
        if not inside:
            raise ValueError(
                f"{manifest}, line {number}: 'name' is {brief(name)}; expected a file in hr/ and lr/. "
                "Fix or delete it."
            )
        files.append(name)
        groups.append(str(source or name))
    sides = {side: [folder / side / name for name in files] for side in ("hr", "lr")}
    return PhotoFolder(sides, [Path(name).stem for name in files], groups)


def _found(folder: Path, scale: int) -> PhotoFolder:
    found = find_pairs(folder, scale)
    problems = {printable(path.relative_to(folder)): why for path, why in found.unpaired.items()}
    hr, lr = ([pair[side] for pair in found.pairs.values()] for side in (0, 1))
    return PhotoFolder({"hr": hr, "lr": lr}, _short(found.pairs), problems=problems | found.ignored)


def _check_sizes(folder: Path, files: PhotoFolder, scale: int) -> None:
    """Check the sizes in the headers of all files; unreadable files are reported when they are drawn.

    Raises:
        ValueError: naming the first pair of wrong sizes.
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
            f"first is {wrong[0]}. Set the scale that they were made with, or remove them."
        )


def _size(file: str) -> tuple[int, int] | None:
    try:
        return size_of(Path(file))
    except PhotoError:
        return None


def _fit(hr: tuple[int, int], lr: tuple[int, int], scale: int) -> bool:
    wanted = (lr[0] * scale, lr[1] * scale)
    return hr in {wanted, wanted[::-1]}  # EXIF may turn one of them by 90 degrees


def _read_captions(places: Sequence[Path], files: Iterable[Path]) -> dict[str, str]:
    """Return the captions of all metadata.jsonl files in and below the first place, by path of the photo.

    `file_name` is relative to the metadata file; in a folder of pairs, also to the folder of a side. A name
    without folders may mean the only photo of that name below.

    Raises:
        ValueError: if several photos could be meant, or a photo has two captions.
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
                "Write the path in front of the name."
            )


def _captions(file: Path) -> Iterator[tuple[str, str, str]]:
    """Yield position, name and text of each line.

    Raises:
        ValueError: if a line has another format.
    """
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        where = f"{file}, line {number}"
        try:
            entry = json.loads(line)
            yield where, os.fspath(PurePosixPath(entry["file_name"])), " ".join(entry["text"].split())
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(
                f'{where}: expected {{"file_name": "a.jpg", "text": "..."}}. Fix or delete it.'
            ) from None
