"""A photo as the host gets it, and its result as a person keeps it."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from ..files import parse_json

KEY = "ugc_sr"  # of our entry in a result; the host's own are `prompt` and `workflow`
SIGNATURE = b"\x89PNG\r\n\x1a\n"
AFTER_HEADER = 33  # signature, and IHDR: length, type, 13 bytes, checksum
EXIF_SIZE = (0xA002, 0xA003)  # width and height, which the result does not have
UNREADABLE = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)  # of Pillow


@dataclass(frozen=True)
class Photo:
    """A photo that was read.

    Attributes:
        png: its pixels, upright, RGB of 8 bits.
        alpha: its transparency, which Load Image would make a mask that no result has.
        icc: its colour profile, if that is one of RGB.
        exif: its notes, less the orientation and the size.
        sha256: of the file.
    """

    png: bytes
    alpha: Image.Image | None
    icc: bytes | None
    exif: bytes | None
    sha256: str


def read(file: Path) -> Photo:
    """Read a photo.

    Raises:
        ValueError: if it is none, or can't be read.
    """
    from ..score.picture import known_formats  # and with it torch, which takes seconds

    try:
        content = file.read_bytes()
        with Image.open(io.BytesIO(content), formats=known_formats()) as picture:
            picture.load()
            upright = _upright(picture)
            exif = _notes(picture)
    except OSError as error:
        reason = error.strerror or "Give a whole JPEG, PNG, WebP, TIFF, BMP, GIF or AVIF file."
        raise ValueError(f"not a photo that can be read. {reason}") from None
    except UNREADABLE as error:
        raise ValueError(f"not a photo that can be read: {error}.") from None
    alpha = upright.convert("RGBA").getchannel("A") if upright.has_transparency_data else None
    pixels, icc = _rgb(upright, picture.info.get("icc_profile"))
    png = io.BytesIO()
    pixels.save(png, "PNG", compress_level=1)
    return Photo(png.getvalue(), alpha, icc, exif, hashlib.sha256(content).hexdigest())


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
    except UNREADABLE as error:
        raise ValueError(f"the workflow saved a PNG that can't be read: {error}.") from None
    chunks = _chunk(b"iTXt", KEY.encode() + bytes(5) + json.dumps(story, ensure_ascii=False).encode())
    if photo.icc:
        chunks = _chunk(b"iCCP", b"photo\0\0" + zlib.compress(photo.icc)) + chunks
    if photo.exif:
        chunks += _chunk(b"eXIf", photo.exif)
    return result[:AFTER_HEADER] + chunks + result[AFTER_HEADER:]


def story_of(result: Path) -> dict[str, Any] | None:
    """What `finish` wrote into a file; None if it wrote nothing into this one."""
    try:
        with Image.open(result, formats=("PNG",)) as picture:
            return parse_json(picture.info[KEY])
    except (*UNREADABLE, KeyError):
        return None


def _notes(picture: Image.Image) -> bytes | None:
    """The EXIF entry; broken notes are left behind, as phones and apps write many."""
    try:
        exif = picture.getexif()
        if not exif:
            return None
        exif.pop(0x0112, None)  # orientation: the result is upright
        for tag in EXIF_SIZE:
            exif.get_ifd(0x8769).pop(tag, None)
        return exif.tobytes().removeprefix(b"Exif\0\0")
    except UNREADABLE:
        return None


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except UNREADABLE:
        return picture


def _rgb(picture: Image.Image, icc: bytes | None) -> tuple[Image.Image, bytes | None]:
    """RGB of 8 bits, and the profile of these numbers: what is not RGB becomes sRGB by its profile."""
    if picture.mode.startswith("I"):  # 16 bits a pixel
        picture = picture.convert("I").point(lambda value: value / 257).convert("L")
    if icc and icc[16:20] == b"RGB ":  # the profile's header
        return picture.convert("RGB"), icc
    if icc and picture.mode in ("CMYK", "L", "LAB"):
        with suppress(OSError, ImageCms.PyCMSError):  # a broken profile says nothing about the colours
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            srgb = ImageCms.createProfile("sRGB")
            picture = ImageCms.profileToProfile(picture, profile, srgb, outputMode="RGB") or picture
    return picture.convert("RGB"), None


def _joined(result: bytes, alpha: Image.Image) -> bytes:
    """A PNG with this transparency, enlarged; one that has its own stays as it is."""
    with Image.open(io.BytesIO(result), formats=("PNG",)) as picture:
        if picture.has_transparency_data:
            return result
        picture.load()
        told = PngInfo()
        for name, text in picture.info.items():
            if isinstance(text, str):
                told.add_text(name, text)
        clear = picture.convert("RGB")
    clear.putalpha(alpha.resize(clear.size, Image.Resampling.BICUBIC))
    joined = io.BytesIO()
    clear.save(joined, "PNG", pnginfo=told, compress_level=4)
    return joined.getvalue()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
