"""Conversion of a photo file to the PNG for the host, and of the host's PNG to the result file."""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ..files import parse_json
from ..photos.formats import PhotoError
from ..photos.png import AFTER_HEADER, SIGNATURE, TEXTS, chunk, chunks, text_of
from ..photos.reader import open_photo

KEY = "ugc_sr"  # name of this package's PNG entry; the host's own are `prompt` and `workflow`
HEAD = 1 << 22  # bytes at the start of a result that hold this entry, which precedes the pixels


@dataclass(frozen=True)
class Photo:
    """A photo that was read."""

    png: bytes  # its pixels as a PNG, upright, sRGB, 8 bits
    # Its transparency, which Load Image would turn into a mask, and which is missing in results.
    alpha: Image.Image | None
    icc: bytes | None  # its colour profile, if that is sRGB
    exif: bytes | None  # its EXIF entries without orientation and size
    sha256: str  # checksum of the file
    note: str | None = None  # a message on the parts of the file that aren't used


def read(file: Path) -> Photo:
    """Read a photo.

    Raises:
        ValueError: if it isn't a photo, or can't be read; the message doesn't name the file.
    """
    try:
        content = file.read_bytes() if file.is_file() else None
        photo = open_photo(file, content)
    except OSError as error:
        raise ValueError(f"can't be read: {error.strerror}.") from None
    except PhotoError as error:
        raise ValueError(error.why) from None
    png = io.BytesIO()
    Image.fromarray(photo.rgb(flat=False, deep=False)).save(png, "PNG", compress_level=1)
    sha256 = hashlib.sha256(content or b"").hexdigest()
    return Photo(png.getvalue(), photo.alpha, photo.srgb_profile, photo.exif, sha256, photo.note)


def finish(result: bytes, photo: Photo, record: dict[str, Any]) -> bytes:
    """Return the host's PNG with the photo's transparency, profile and EXIF, and with `record` as JSON.

    Raises:
        ValueError: if the result isn't a PNG, or is damaged.
    """
    if not result.startswith(SIGNATURE):
        raise ValueError("the workflow saves another format than PNG. End it with Save Image.")
    try:
        if photo.alpha:
            result = _joined(result, photo.alpha)
    except PhotoError as error:
        raise ValueError(f"the workflow saved a PNG that can't be read: {error.why}") from None
    added = chunk(
        b"iTXt", KEY.encode() + bytes(5) + json.dumps(record, ensure_ascii=False).encode("utf-8", "replace")
    )
    if photo.icc:
        added = chunk(b"iCCP", b"photo\0\0" + zlib.compress(photo.icc)) + added
    if photo.exif:
        added += chunk(b"eXIf", photo.exif)
    return result[:AFTER_HEADER] + added + result[AFTER_HEADER:]


def record_of(result: Path) -> dict[str, Any] | None:
    """Return the `record` that `finish` wrote into a file; None if there is none."""
    try:
        with result.open("rb") as file:
            text = text_of(file.read(HEAD), KEY)
        return None if text is None else parse_json(text)
    except (OSError, ValueError):
        return None


def _joined(result: bytes, alpha: Image.Image) -> bytes:
    """Return the PNG with this transparency, enlarged; a PNG with its own transparency stays unchanged."""
    picture = open_photo(Path("result.png"), result)
    if picture.alpha:
        return result
    clear = Image.fromarray(picture.rgb(deep=False))
    clear.putalpha(alpha.resize(clear.size, Image.Resampling.BICUBIC))
    joined = io.BytesIO()
    clear.save(joined, "PNG", compress_level=4)
    texts = b"".join(result[part.start : part.end] for part in chunks(result) if part.kind in TEXTS)
    content = joined.getvalue()
    return content[:AFTER_HEADER] + texts + content[AFTER_HEADER:]
