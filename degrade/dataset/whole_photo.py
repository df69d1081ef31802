"""Photos that are used whole, not as crops."""

from pathlib import Path

from torch import Tensor

from ...image import from_levels
from ...photos.formats import PhotoError
from ...photos.reader import Photo, open_photo

WHOLE_MEGAPIXELS = 64  # 0.8 GB as floats, of which effects need several copies; assumed


def load_photo(path: Path) -> Tensor:
    """Return a photo as (1, 3, H, W) RGB in [0, 1]: upright, in sRGB, composed over white.

    Raises:
        PhotoError: naming the file, if it can't be opened or is too large to be used whole.
    """
    photo = open_photo(path)
    check_whole(photo, path)
    return from_levels(photo.rgb())


def check_whole(photo: Photo, path: Path) -> None:
    """Check that a photo is small enough to be processed without cropping.

    Raises:
        PhotoError: if it has more pixels than `WHOLE_MEGAPIXELS`.
    """
    if photo.width * photo.height > WHOLE_MEGAPIXELS * 1_000_000:
        raise PhotoError(
            path,
            f"{photo.width}x{photo.height} px; more than {WHOLE_MEGAPIXELS} megapixels can't be used whole. "
            "Take crops of it (--crop) or make it smaller.",
        )
