"""Existing pairs, such as an official training set: found, checked, and added to a data set."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...files import printable
from ...photos.formats import PhotoError
from ...photos.listing import list_photos, partners
from ..degradation import Pair
from .align import measure_offset
from .whole_photo import load_photo

HR_FOLDERS = ("hr", "gt", "hq")
LR_FOLDERS = ("lr", "lq")
FARTHEST_PX = 0.4  # LR pixels, less than half; nearest-neighbour resizing is off by 0.375 at scale 4
LEAST_LIKENESS = 0.5


@dataclass(frozen=True)
class ExistingPairs:
    """The pairs of a folder.

    Attributes:
        pairs: clean and damaged photos, by the path of the clean one below its folder.
        unpaired: photos without exactly one partner -> the reason.
        ignored: reason -> number and names of files that were ignored.
    """

    pairs: dict[str, tuple[Path, Path]] = field(default_factory=dict)
    unpaired: dict[Path, str] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)


def find_pairs(folder: Path, scale: int) -> ExistingPairs:
    """Return the photos with the same names in hr/ (or gt/, hq/) and lr/ (or lq/).

    The damaged ones may be named NAMEx4, as in DIV2K.

    Raises:
        FileNotFoundError: if one of the sub-folders is missing or has no photos.
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
    ignored = {
        f"{place.name}: {reason}": names
        for place, side in zip(places, (hr, lr), strict=True)
        for reason, names in side.ignored().items()
    }
    return ExistingPairs(pairs, _unpaired(hr.photos, of_hr) | _unpaired(lr.photos, of_lr), ignored)


def _unpaired(photos: Mapping[str, Path], partners: Mapping[str, list[str]]) -> dict[Path, str]:
    """Return the photos without exactly one partner, with the reason."""
    reasons = {}
    for name, path in photos.items():
        if not partners[name]:
            reasons[path] = "no photo of that name on the other side; a pair needs both."
        elif len(partners[name]) > 1:
            names = ", ".join(map(printable, partners[name]))
            reasons[path] = (
                f"more than one photo of that name on the other side: {names}. Rename or remove them."
            )
    return reasons


def load_joined(hr_path: Path, lr_path: Path, scale: int) -> Pair:
    """Return a pair after checking that its photos differ by `scale` and are aligned.

    Raises:
        PhotoError: naming the pair, if it fails a check or one of its photos can't be read.
    """
    hr, lr = load_photo(hr_path), load_photo(lr_path)
    names = f"{hr_path} and {lr_path}"
    height, width = lr.shape[2:]
    if tuple(hr.shape[2:]) != (height * scale, width * scale):
        raise PhotoError(
            names, f"{hr.shape[3]}x{hr.shape[2]} px and {width}x{height} px don't differ by {scale}."
        )
    offset = measure_offset(hr, lr)
    if offset and offset.likeness < LEAST_LIKENESS:
        raise PhotoError(names, f"don't show the same (correlation {offset.likeness:.2f}).")
    if offset and max(abs(offset.down), abs(offset.right)) - offset.error > FARTHEST_PX:
        raise PhotoError(
            names,
            f"are not aligned; the damaged photo is off by {offset.right:+.2f} px to the "
            f"right and {offset.down:+.2f} px down, {FARTHEST_PX} px are allowed.",
        )
    return Pair(hr, lr)


def _sub_folder(folder: Path, names: tuple[str, ...]) -> Path:
    folders: Mapping[str, Path] = (
        {path.name.lower(): path for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else {}
    )
    for name in names:
        if name in folders:
            return folders[name]
    raise FileNotFoundError(f"{folder}: expected a folder {' or '.join(names)} in it.")
