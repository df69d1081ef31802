"""The reader of photos: formats, bit depth, colours, transparency, orientation and limits."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, TypeVar, cast

import numpy as np
from PIL import Image, ImageFile, ImageOps

from . import png
from .formats import BROKEN, PhotoError, opened
from .levels import cut_to_eight, deep_levels, is_deep, with_key
from .profile import is_srgb, levels_to_srgb, to_srgb

WITH_PAGES = ("GIF", "PNG", "WEBP", "AVIF", "TIFF", "HEIF")  # further pictures are not previews
ORIENTATION, DETAILS, SIZE = 0x0112, 0x8769, (0xA002, 0xA003)  # EXIF tags; width and height are in DETAILS
FIRST_FRAME = "is animated; the first frame is used"
Answer = TypeVar("Answer")


class Photo:
    """The first picture of a file, decoded and upright, in the file's own colour space until `rgb`.

    Args:
        pixels: a picture of 8 bits per channel, mode L, RGB, CMYK or LAB, optionally with alpha (LA, RGBA);
            or levels (H, W, 1 to 4) uint16 of grey or RGB, optionally with alpha.
        icc: the file's colour profile.
        exif: its EXIF entries without orientation and size; None if they are broken.
        note: a sentence about parts of the file that are ignored.
    """

    def __init__(
        self,
        pixels: Image.Image | np.ndarray,
        icc: bytes | None = None,
        exif: bytes | None = None,
        note: str | None = None,
    ) -> None:
        self.pixels, self.icc, self.exif, self.note = pixels, icc, exif, note
        if isinstance(pixels, Image.Image):
            self.width, self.height = pixels.size
        else:
            self.height, self.width = pixels.shape[:2]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.width, self.height

    @property
    def alpha(self) -> Image.Image | None:
        """Opacity as a picture of mode L, None if the photo is opaque."""
        if isinstance(self.pixels, Image.Image):
            alpha = self.pixels.getchannel("A") if self.pixels.mode in ("LA", "RGBA") else None
        else:
            alpha = self.pixels[..., -1] if self.pixels.shape[2] in (2, 4) else None
            alpha = None if alpha is None else Image.fromarray(_to_eight(alpha))
        return alpha if alpha and np.asarray(alpha).min() < 255 else None

    @property
    def srgb_profile(self) -> bytes | None:
        """The file's profile if it is that of sRGB, and so describes the result of `rgb` too."""
        return self.icc if self.icc and is_srgb(self.icc) else None

    def rgb(
        self, box: tuple[int, int, int, int] | None = None, *, flat: bool = True, deep: bool = True
    ) -> np.ndarray:
        """Return pixels in sRGB: (H, W, 3) uint8, or uint16 for more than 8 bits per channel.

        Args:
            box: top, left, height and width of the part to convert.
            flat: compose over white; otherwise transparent pixels keep their colours.
            deep: keep more than 8 bits; otherwise they are rounded.
        """
        if isinstance(self.pixels, Image.Image):
            return self._eight(box, flat)
        levels = self.pixels
        if box:
            top, left, height, width = box
            levels = levels[top : top + height, left : left + width]
        alpha = levels[..., -1:] if levels.shape[2] in (2, 4) else None
        colours = levels if alpha is None else levels[..., :-1]
        colours = levels_to_srgb(colours, self.icc) if self.icc else colours
        if alpha is not None and flat:
            share = alpha / np.float32(65535)
            colours = np.rint(colours * share + 65535 * (1 - share)).astype(np.uint16)
        colours = colours.repeat(3, axis=2) if colours.shape[2] == 1 else colours
        return colours if deep else _to_eight(colours)

    def _eight(self, box: tuple[int, int, int, int] | None, flat: bool) -> np.ndarray:
        picture = cast(Image.Image, self.pixels)
        if box:
            top, left, height, width = box
            picture = picture.crop((left, top, left + width, top + height))
        alpha = picture.getchannel("A") if picture.mode in ("LA", "RGBA") else None
        if self.icc:
            bare = picture.convert(picture.mode[:-1]) if alpha else picture
            picture = to_srgb(bare, self.icc)
        picture = picture if picture.mode == "RGB" and not alpha else picture.convert("RGB")
        if alpha and flat:
            picture.putalpha(alpha)
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture).convert("RGB")
        return np.asarray(picture)


def open_photo(path: Path, content: bytes | None = None) -> Photo:
    """Open and decode a photo.

    Args:
        path: path of the file, or a name for messages if `content` is given.
        content: bytes of a file inside another one.

    Raises:
        PhotoError: naming the file, if it is not a complete photo of a supported format, or too large.
    """
    return _read(path, content, _decoded)


def size_of(path: Path, content: bytes | None = None) -> tuple[int, int]:
    """Return width and height in pixels as stored; only the header is read.

    Raises:
        PhotoError: as `open_photo`, as far as the header shows.
    """
    return _read(path, content, _stored_size)


def is_photo(path: Path) -> bool:
    """Return whether a file is a photo, judging by its header."""
    try:
        return min(size_of(path)) > 0
    except PhotoError:
        return False


def _read(path: Path, content: bytes | None, read: Callable[[IO[bytes]], Answer]) -> Answer:
    try:
        if content is None and path.exists() and not path.is_file():  # a pipe would never end
            raise PhotoError(path, "not a file; expected a photo.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with path.open("rb") if content is None else io.BytesIO(content) as file:
                return read(file)
    except PhotoError as error:
        raise PhotoError(path, error.why) from None
    except FileNotFoundError:
        raise PhotoError(path, "there is no such file.") from None
    except BROKEN as error:
        if isinstance(error, OSError) and error.strerror:
            raise PhotoError(path, f"can't be read: {error.strerror}.") from None
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise PhotoError(path, f"broken, can't be decoded ({why}).") from None


def _stored_size(file: IO[bytes]) -> tuple[int, int]:
    head = file.read(24)
    if head.startswith(png.SIGNATURE) and len(head) == 24:  # notes behind the head may be large
        width, height = struct.unpack_from(">II", head, 16)
        return width, height
    return opened(file).size


def _decoded(file: IO[bytes]) -> Photo:
    profile = None
    if file.read(len(png.SIGNATURE)) == png.SIGNATURE:
        file.seek(0)
        content, profile = png.without_large_notes(file.read())
        file = io.BytesIO(content)
    picture = opened(file)
    note = _note(opened(file))
    if is_deep(picture):
        pixels = deep_levels(picture, lambda: opened(file), _upright)
    else:
        layout = picture.tile[0].args if picture.tile else ""
        pixels = _plain(
            _upright(picture), {"L;2": 85, "L;4": 17}.get(layout if isinstance(layout, str) else "", 1)
        )
    return Photo(pixels, profile or picture.info.get("icc_profile"), _exif(picture), note)


def _note(picture: ImageFile.ImageFile) -> str | None:
    """Return a sentence about pictures or bits of the file that are ignored."""
    with suppress(*BROKEN):
        if picture.format in WITH_PAGES and getattr(picture, "is_animated", False):
            return "has several pages; the first is used" if picture.format == "TIFF" else FIRST_FRAME
    return "its colours of more than 8 bits are read as 8" if cut_to_eight(picture) else None


def _upright(picture: ImageFile.ImageFile) -> ImageFile.ImageFile:
    """Decode a picture and apply its EXIF orientation, if readable."""
    picture.load()
    with suppress(*BROKEN):
        ImageOps.exif_transpose(picture, in_place=True)
    return picture


def _plain(picture: Image.Image, factor: int) -> Image.Image:
    """Return a picture of at most 8 bits as mode L, LA, RGB, RGBA, CMYK or LAB."""
    key = picture.info.get("transparency")
    if picture.mode in ("1", "L", "RGB") and key is not None:
        levels = np.asarray(picture.convert("L") if picture.mode == "1" else picture)
        levels = levels if levels.ndim == 3 else levels[..., None]
        return Image.fromarray(with_key(levels, key, factor))
    if picture.mode == "1":
        return picture.convert("L")
    if picture.mode in ("L", "LA", "RGB", "RGBA", "CMYK", "LAB"):
        return picture
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def _exif(picture: Image.Image) -> bytes | None:
    with suppress(*BROKEN):
        exif = picture.getexif()
        exif.pop(ORIENTATION, None)
        for tag in SIZE:
            exif.get_ifd(DETAILS).pop(tag, None)
        return exif.tobytes().removeprefix(b"Exif\0\0") if exif else None
    return None


def _to_eight(levels: np.ndarray) -> np.ndarray:
    """Return uint16 as uint8, rounded."""
    return ((levels.astype(np.uint32) + 128) // 257).astype(np.uint8)
