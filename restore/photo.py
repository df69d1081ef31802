"""A photo as the host gets it, and its result as a person keeps it."""

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

KEY = "ugc_sr"  # of our entry in a result; the host's own are `prompt` and `workflow`
HEAD = 1 << 22  # bytes of a result in which its story lies, which is written before the pixels


@dataclass(frozen=True)
class Photo:
    """A photo that was read.

    Attributes:
        png: its pixels, upright, sRGB of 8 bits.
        alpha: its transparency, which Load Image would make a mask that no result has.
        icc: its colour profile, if that is one of sRGB.
        exif: its notes, less the orientation and the size.
        sha256: of the file.
        note: what of the file is not used, for a person.
    """

    png: bytes
    alpha: Image.Image | None
    icc: bytes | None
    exif: bytes | None
    sha256: str
    note: str | None = None


def read(file: Path) -> Photo:
    """Read a photo.

    Raises:
        ValueError: if it is none, or can't be read; without its name.
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


def finish(result: bytes, photo: Photo, story: dict[str, Any]) -> bytes:
    """The host's PNG with the photo's transparency, profile and notes, and `story` as JSON.

    Raises:
        ValueError: if the result is no PNG, or one that is broken.
    """
    if not result.startswith(SIGNATURE):
        raise ValueError("the workflow saves another format than PNG. End it with Save Image.")
    try:
        if photo.alpha:
            result = _joined(result, photo.alpha)
    except PhotoError as error:
        raise ValueError(f"the workflow saved a PNG that can't be read: {error.why}") from None
    added = chunk(
        b"iTXt", KEY.encode() + bytes(5) + json.dumps(story, ensure_ascii=False).encode("utf-8", "replace")
    )
    if photo.icc:
        added = chunk(b"iCCP", b"photo\0\0" + zlib.compress(photo.icc)) + added
    if photo.exif:
        added += chunk(b"eXIf", photo.exif)
    return result[:AFTER_HEADER] + added + result[AFTER_HEADER:]


def story_of(result: Path) -> dict[str, Any] | None:
    """What `finish` wrote into a file; None if it wrote nothing into this one."""
    try:
        with result.open("rb") as file:
            text = text_of(file.read(HEAD), KEY)
        return None if text is None else parse_json(text)
    except (OSError, ValueError):
        return None


def _joined(result: bytes, alpha: Image.Image) -> bytes:
    """A PNG with this transparency, enlarged; one that has its own stays as it is."""
    picture = open_photo(Path("result.png"), result)
    if picture.alpha:
        return result
    clear = Image.fromarray(picture.rgb(deep=False))
    clear.putalpha(alpha.resize(clear.size, Image.Resampling.BICUBIC))
    joined = io.BytesIO()
    clear.save(joined, "PNG", compress_level=4)
    told = b"".join(result[part.start : part.end] for part in chunks(result) if part.kind in TEXTS)
    content = joined.getvalue()
    return content[:AFTER_HEADER] + told + content[AFTER_HEADER:]
