"""The supported formats, their detection by content, and the size limit."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import PurePath
from typing import IO

from PIL import Image, ImageFile

# Pillow's names of the formats -> suffixes of photos in folders; files are read by content, whatever the
# suffix. Formats that start other programs (EPS) or hold no photos are left out. TGA has no signature, so it
# is tried last.
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
MOST_MEGAPIXELS = 256  # the limit of our results, so that they can be read again
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
# Exceptions of Pillow's readers for broken files.
BROKEN = (
    *(OSError, ValueError, SyntaxError, TypeError, LookupError, EOFError, OverflowError, RuntimeError),
    *(MemoryError, AttributeError, AssertionError, struct.error, zlib.error, Image.DecompressionBombError),
)


class PhotoError(ValueError):
    """A photo that can't be used.

    Attributes:
        file: the file.
        why: the reason in one line; the message is the file's name followed by it.
    """

    def __init__(self, file: PurePath | str, why: str) -> None:
        super().__init__(file, why)
        self.file, self.why = file, why

    def __str__(self) -> str:
        return f"{self.file}: {self.why}"


def opened(file: IO[bytes]) -> ImageFile.ImageFile:
    """Return a picture of which only the header was read.

    Pillow's own `open` isn't used, since its size limit, which is below that of our results, is global to the
    process.

    Raises:
        PhotoError: if it has none of `FORMATS`, or more than `MOST_MEGAPIXELS`, or is a TIFF with too few
            strips, which Pillow takes for a complete picture; without the file's name.
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
    """Return whether the last strip or tile ends where the picture does; a turned one has swapped sides."""
    extents = picture.tile[-1].extents if picture.tile else None
    return extents is None or sorted(extents[2:]) == sorted(picture.size)


def _heif(start: bytes) -> tuple[Callable[..., ImageFile.ImageFile] | None, None]:
    """Return the opener of HEIC, the format of many phones, if `start` is HEIC.

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
