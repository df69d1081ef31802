"""Photos and pairs that lie as files in folders, with their captions."""

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from ...degrade.dataset.files import FORMATS, open_photo
from ...degrade.dataset.join import find_pairs
from ...degrade.dataset.listing import find_photos
from ...files import brief, parse_json, read_text
from ...score.picture import known_formats
from .sample import shuffled

CAPTIONS = "metadata.jsonl"  # lines of {"file_name": ..., "text": ...}, as the Hub's image folders have it


class Files:
    """For every sample the file of each side; its caption is in NAME.txt beside one, or in the tags file.

    Args:
        sides: "hr", and for pairs "lr" too -> the file of every sample.
        names: of the samples.
        groups: what each sample was made of, where that isn't its name.
        captions: of those that have one in a tags file, by name of the file.
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

    def open(self, index: int, side: str) -> Image.Image:
        """A decoded photo.

        Raises:
            PhotoError: if it isn't a whole photo.
        """
        return open_photo(Path(self.files[side][index]))

    def caption(self, index: int) -> str:
        """What was written about the photo, in one line."""
        for files in self.files.values():
            file = Path(files[index])
            if file.name in self.captions:
                return self.captions[file.name]
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
    """
    found = find_photos(where)
    photos = {name: file for name, file in found.items() if may_be_photo(file.name)}
    if not photos:
        raise FileNotFoundError(f"{where}: there are no photos in it; expected {', '.join(FORMATS)}.")
    others = Counter(file.suffix for name, file in found.items() if name not in photos)
    problems = {
        f"*{suffix}": f"{count} files left out, no photos by their names" for suffix, count in others.items()
    }
    return Files(
        {"hr": list(photos.values())}, list(photos), captions=_read_captions(where), problems=problems
    )


def may_be_photo(name: str) -> bool:
    """Whether a file has a photo's suffix, or none."""
    suffix = Path(name).suffix.lower()
    return not suffix or Image.registered_extensions().get(suffix) in FORMATS


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
    captions = (_read_captions(place) for place in (folder, folder / "hr", folder / "lr"))
    files.captions = {name: text for found in captions for name, text in found.items()}
    return files


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
    pairs, alone = find_pairs(folder, scale)
    problems = dict(line.split(": ", 1) for line in alone)
    sides = {"hr": [hr for hr, _ in pairs.values()], "lr": [lr for _, lr in pairs.values()]}
    return Files(sides, list(pairs), problems=problems)


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
        with Image.open(file, formats=known_formats()) as photo:
            return photo.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _fit(hr: tuple[int, int], lr: tuple[int, int], scale: int) -> bool:
    wanted = (lr[0] * scale, lr[1] * scale)
    return hr in {wanted, wanted[::-1]}  # one may lie on its side, with a note in its head to turn it


def _read_captions(where: Path) -> dict[str, str]:
    file = where / CAPTIONS
    return dict(_captions(file)) if file.is_file() else {}


def _captions(file: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        try:
            entry = json.loads(line)
            yield Path(entry["file_name"]).name, " ".join(entry["text"].split())
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(
                f'{file}, line {number}: expected {{"file_name": "a.jpg", "text": "..."}}. Mend or delete it.'
            ) from None
