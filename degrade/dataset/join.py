"""Pairs that are there already, such as an official training set: found, checked, and taken over."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...files import printable
from ...photos.formats import PhotoError
from ...photos.listing import list_photos, partners
from ..degradation import Pair
from .align import measure_offset
from .files import load_photo

HR_FOLDERS = ("hr", "gt", "hq")
LR_FOLDERS = ("lr", "lq")
FARTHEST_PX = 0.4  # of LR: less than half a pixel; enlarging by nearest neighbour is 0.375 off at scale 4
LEAST_LIKENESS = 0.5


@dataclass(frozen=True)
class Found:
    """What lies in a folder of pairs.

    Args:
        pairs: clean and damaged photos, by the path of the clean one below its folder.
        alone: photos of no pair, and why.
        passed: lines about files that were passed over.
    """

    pairs: dict[str, tuple[Path, Path]]
    alone: dict[Path, str]
    passed: list[str]


def find_pairs(folder: Path, scale: int) -> Found:
    """Clean and damaged photos of the same name in hr/ (or gt/, hq/) and lr/ (or lq/).

    The damaged ones may be called NAMEx4, as in DIV2K.

    Raises:
        FileNotFoundError: if the folder hasn't both sub-folders, or there are no photos in one.
    """
    places = [_sub_folder(folder, names) for names in (HR_FOLDERS, LR_FOLDERS)]
    hr, lr = map(list_photos, places)
    of_lr = partners(lr.photos, hr.photos, ending=f"x{scale}")
    of_hr: dict[str, list[str]] = {name: [] for name in hr.photos}
    for name, matches in of_lr.items():
        for match in matches:
            of_hr[match].append(name)
    pairs = {
        name: (hr.photos[name], lr.photos[matches[0]])
        for name, matches in of_hr.items()
        if len(matches) == 1 and len(of_lr[matches[0]]) == 1
    }
    alone = _alone(hr.photos, of_hr) | _alone(lr.photos, of_lr)
    passed = [
        f"{place.name}: {line}"
        for place, side in zip(places, (hr, lr), strict=True)
        for line in side.passed_over()
    ]
    return Found(pairs, alone, passed)


def _alone(photos: Mapping[str, Path], partners: Mapping[str, list[str]]) -> dict[Path, str]:
    """Why photos have not one partner."""
    alone = {}
    for name, path in photos.items():
        if not partners[name]:
            alone[path] = "no photo of that name on the other side; a pair needs both."
        elif len(partners[name]) > 1:
            names = ", ".join(map(printable, partners[name]))
            alone[path] = (
                f"more than one photo of that name on the other side: {names}. Rename or remove them."
            )
    return alone


def load_joined(hr_path: Path, lr_path: Path, scale: int) -> Pair:
    """A pair whose damaged photo is `scale` times smaller and shows the same, in the same place.

    Raises:
        PhotoError: naming the pair, if it doesn't fit or one of its photos can't be read.
    """
    hr, lr = load_photo(hr_path), load_photo(lr_path)
    names = f"{hr_path} and {lr_path}"
    height, width = lr.shape[2:]
    if tuple(hr.shape[2:]) != (height * scale, width * scale):
        raise PhotoError(
            names, f"{hr.shape[3]}x{hr.shape[2]} px and {width}x{height} px don't differ by {scale}."
        )
    found = measure_offset(hr, lr)
    if found and found.likeness < LEAST_LIKENESS:
        raise PhotoError(names, f"don't show the same (correlation {found.likeness:.2f}).")
    if found and max(abs(found.down), abs(found.right)) - found.error > FARTHEST_PX:
        raise PhotoError(
            names,
            f"don't lie on each other; the damaged photo is off by {found.right:+.2f} px to the "
            f"right and {found.down:+.2f} px down, {FARTHEST_PX} px are allowed.",
        )
    return Pair(hr, lr)


def _sub_folder(folder: Path, names: tuple[str, ...]) -> Path:
    found: Mapping[str, Path] = (
        {path.name.lower(): path for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else {}
    )
    for name in names:
        if name in found:
            return found[name]
    raise FileNotFoundError(f"{folder}: expected a folder {' or '.join(names)} in it.")
