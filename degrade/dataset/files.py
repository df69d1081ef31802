"""Photos as people have them on disk, opened as a person sees them."""

import io
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps
from torch import Tensor

from ...score.picture import BROKEN, FORMATS, known_formats

WHOLE_MEGAPIXELS = 64  # as floats 0.8 GB, and effects need it several times over; assumed

_SRGB = ImageCms.createProfile("sRGB")


class PhotoError(ValueError):
    """A photo that can't be used; the message is one line that opens with the file's name."""


def load_photo(path: Path) -> Tensor:
    """A photo as a person sees it: (1, 3, H, W) RGB in [0, 1], steps of 1/255.

    Raises:
        PhotoError: naming the file, if it can't be opened or is too large to be used whole.
    """
    photo = open_photo(path)
    check_whole(photo, path)
    return to_tensor(to_rgb(photo))


def check_whole(photo: Image.Image, path: Path) -> None:
    """Refuse what would need too much memory without a crop.

    Raises:
        PhotoError: if the photo is larger than `WHOLE_MEGAPIXELS`.
    """
    if photo.width * photo.height > WHOLE_MEGAPIXELS * 1_000_000:
        raise PhotoError(
            f"{path}: {photo.width}x{photo.height} px; more than {WHOLE_MEGAPIXELS} megapixels can't be used "
            "whole. Take crops of it (--crop) or make it smaller."
        )


def open_photo(path: Path, content: bytes | None = None) -> Image.Image:
    """The first frame of a file, decoded and turned upright, still in the file's own colours.

    Args:
        path: of the file, or its name for messages where `content` is given.
        content: of a file that doesn't lie on its own.

    Raises:
        PhotoError: naming the file, if it isn't a whole photo or has more pixels than Pillow opens.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(
                path if content is None else io.BytesIO(content), formats=known_formats()
            ) as photo:
                photo.load()
                ImageOps.exif_transpose(photo, in_place=True)
                return photo
    except FileNotFoundError:
        raise PhotoError(f"{path}: there is no such file.") from None
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
        raise PhotoError(f"{path}: more than {limit} megapixels; cut it into smaller photos first.") from None
    except Image.UnidentifiedImageError:
        size = path.stat().st_size if content is None else len(content)
        problem = "not a photo that can be read" if size else "the file is empty"
        raise PhotoError(f"{path}: {problem}; expected one of {', '.join(FORMATS)}.") from None
    except BROKEN as error:
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise PhotoError(f"{path}: broken, can't be decoded ({why}).") from None


def to_rgb(photo: Image.Image, box: tuple[int, int, int, int] | None = None) -> np.ndarray:
    """Pixels (H, W, 3) uint8 in sRGB; what is transparent lies on white.

    Args:
        photo: of any mode, from `open_photo`.
        box: top, left, height, width of the part to take; the rest is never converted.
    """
    profile = photo.info.get("icc_profile")
    if box:
        top, left, height, width = box
        photo = photo.crop((left, top, left + width, top + height))
    if photo.mode in {"I", "F"} or photo.mode.startswith("I;16"):
        photo = _from_deep(photo)
    elif photo.has_transparency_data:
        photo = photo.convert("RGBA")
    elif photo.mode not in {"L", "RGB", "CMYK"}:
        photo = photo.convert("RGB")
    if profile:
        photo = _to_srgb(photo, profile)
    if photo.mode == "RGBA":
        photo = Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo)
    return np.array(photo.convert("RGB"))


def to_tensor(pixels: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None].float() / 255


def _from_deep(photo: Image.Image) -> Image.Image:
    """Greyscale of 16 or 32 bits or of floats, scaled to 8 bits where Pillow would clip."""
    values = np.nan_to_num(np.asarray(photo).astype(np.float64))
    white = 65535.0
    if photo.mode == "F":  # its white stands nowhere: the smallest usual one that fits
        white = next((usual for usual in (1.0, 255.0) if values.max() <= usual), white)
    return Image.fromarray(np.rint(values.clip(0, white) * (255 / white)).astype(np.uint8))


def _to_srgb(photo: Image.Image, profile: bytes) -> Image.Image:
    """Convert from the embedded ICC profile; one that is broken or of another mode counts as absent."""
    mode = "RGBA" if photo.mode == "RGBA" else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return photo
        return ImageCms.profileToProfile(photo, source, _SRGB, outputMode=mode) or photo
    except (ImageCms.PyCMSError, OSError, ValueError):
        return photo
