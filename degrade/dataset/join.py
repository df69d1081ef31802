"""Pairs that are there already, such as an official training set: found, checked, and taken over."""

from collections.abc import Mapping
from pathlib import Path

from ..degradation import Pair
from .align import measure_offset
from .files import PhotoError, load_photo
from .listing import find_photos

HR_FOLDERS = ("hr", "gt", "hq")
LR_FOLDERS = ("lr", "lq")
FARTHEST_PX = 0.4  # of LR: less than half a pixel; enlarging by nearest neighbour is 0.375 off at scale 4
LEAST_LIKENESS = 0.5


def find_pairs(folder: Path, scale: int) -> tuple[dict[str, tuple[Path, Path]], list[str]]:
    """Clean and damaged photos of the same name in hr/ (or gt/, hq/) and lr/ (or lq/).

    The damaged ones may be called NAMEx4, as in DIV2K.

    Returns:
        The pairs by name, and one line for each photo without a partner.

    Raises:
        FileNotFoundError: if the folder hasn't both sub-folders.
    """
    hr = find_photos(_sub_folder(folder, HR_FOLDERS))
    lr = {
        name if name in hr else name.removesuffix(f"x{scale}"): path
        for name, path in find_photos(_sub_folder(folder, LR_FOLDERS)).items()
    }
    alone = [
        f"{path}: no photo of that name on the other side; a pair needs both."
        for here, there in ((hr, lr), (lr, hr))
        for name, path in here.items()
        if name not in there
    ]
    return {name: (path, lr[name]) for name, path in hr.items() if name in lr}, alone


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
            f"{names}: {hr.shape[3]}x{hr.shape[2]} px and {width}x{height} px don't differ by {scale}."
        )
    found = measure_offset(hr, lr)
    if found and found.likeness < LEAST_LIKENESS:
        raise PhotoError(f"{names}: don't show the same (correlation {found.likeness:.2f}).")
    if found and max(abs(found.down), abs(found.right)) - found.error > FARTHEST_PX:
        raise PhotoError(
            f"{names}: don't lie on each other; the damaged photo is off by {found.right:+.2f} px to the "
            f"right and {found.down:+.2f} px down, {FARTHEST_PX} px are allowed."
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
