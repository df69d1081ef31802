"""Which formats photos have, how each is told by its content, and how large one may be."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import PurePath
from typing import IO

from PIL import Image, ImageFile

# Pillow's names of what is read, by content whatever the suffix, and the suffixes that photos are known by in
# folders. Formats that start other programs (EPS) or hold no photos are left out. TGA has no mark to tell it
# by, so it comes last.
FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "AVIF": (".avif", ".avifs"),
    "HEIF": (".heic", ".heif", ".hif"),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "JPEG2000": (".jp2", ".j2k", ".jpf", ".jpx", ".j2c"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "TGA": (".tga",),
}
SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)
MOST_MEGAPIXELS = 256  # what a node makes at most, so that every result can be read back
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
# What Pillow's readers raise on broken files, which they don't turn into one kind of error.
BROKEN = (
    *(OSError, ValueError, SyntaxError, TypeError, LookupError, EOFError, OverflowError, RuntimeError),
    *(MemoryError, AttributeError, AssertionError, struct.error, zlib.error, Image.DecompressionBombError),
)


class PhotoError(ValueError):
    """A photo that can't be used.

    Attributes:
        file: the file.
        why: what is wrong with it, in one line; the message has the file's name before it.
    """

    def __init__(self, file: PurePath | str, why: str) -> None:
        super().__init__(file, why)
        self.file, self.why = file, why

    def __str__(self) -> str:
        return f"{self.file}: {self.why}"


def opened(file: IO[bytes]) -> ImageFile.ImageFile:
    """A picture of which only the head is read yet.

    Pillow's own `open` isn't used, since its limit of size, which is below that of our results, holds for
    the whole process.

    Raises:
        PhotoError: if it is none of `FORMATS`, larger than `MOST_MEGAPIXELS`, or a TIFF whose list of strips
            is too short, which Pillow takes for a whole picture; without the file's name.
    """
    Image.init()
    file.seek(0)
    start = file.read(16)
    if not start:
        raise PhotoError("", "the file is empty.")
    why = ""
    for name in FORMATS:
        factory, accept = _heif(start) if name == "HEIF" else Image.OPEN.get(name, (None, None))
        accepted = accept is None or accept(start)
        if factory is None or not accepted or isinstance(accepted, str):  # a text says what Pillow lacks
            continue
        file.seek(0)
        try:
            picture = factory(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error) as error:  # of another format, or broken
            why = f" ({name}: {str(error).strip()})" if accept and not why else why
            continue
        if picture.width * picture.height > MOST_MEGAPIXELS * 1_000_000:
            raise PhotoError(
                "",
                f"{picture.width}x{picture.height} px; more than {MOST_MEGAPIXELS} megapixels can't be read. "
                "Cut it into smaller photos first.",
            )
        if name == "TIFF" and not _reaches_its_end(picture):
            raise PhotoError("", "broken: its pixels end before its size is reached.")
        return picture
    raise PhotoError("", f"not a photo that can be read{why}; expected one of {', '.join(FORMATS)}.")


def _reaches_its_end(picture: ImageFile.ImageFile) -> bool:
    """Whether the last strip or tile ends where the picture does; the size of a turned one is swapped."""
    extents = picture.tile[-1].extents if picture.tile else None
    return extents is None or sorted(extents[2:]) == sorted(picture.size)


def _heif(start: bytes) -> tuple[Callable[..., ImageFile.ImageFile] | None, None]:
    """What opens HEIC, the format of many phones, where it is one.

    Raises:
        PhotoError: if the package for it is missing.
    """
    if start[4:8] != b"ftyp" or start[8:12] not in HEIF_BRANDS:
        return None, None
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        wanted = 'pip install "ugc-super-resolution[heic]"'
        raise PhotoError("", f"HEIC needs pillow-heif. Install it with  {wanted}") from None
    return HeifImageFile, None
