"""Conversion from the colour profile of a photo to sRGB."""

from __future__ import annotations

import io
import struct
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

SPACES = {"RGB": b"RGB ", "L": b"GRAY", "CMYK": b"CMYK", "LAB": b"Lab "}  # mode of Pillow -> data of ICC
SAME = 2  # levels of 255: profiles of sRGB differ by that from one another
# XYZ of D50 to linear sRGB (IEC 61966-2-1, adapted by Bradford), as in the ICC's own sRGB profile.
XYZ_TO_SRGB = np.linalg.inv(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)


def to_srgb(picture: Image.Image, icc: bytes) -> Image.Image:
    """Return a picture of mode RGB, L, CMYK or LAB in sRGB.

    A profile that moves colours by at most 2 levels is treated as sRGB: the picture is returned unchanged. A
    profile that is broken, or of another colour space than the picture, is ignored.
    """
    mode = "RGB" if picture.mode == "L" and icc[16:20] == b"RGB " else picture.mode
    transform, _ = _judged(icc, mode)
    if transform is None:
        return picture
    result = Image.new("RGB", picture.size)
    transform.apply(picture if picture.mode == mode else picture.convert(mode), result)
    return result


def is_srgb(icc: bytes) -> bool:
    """Return whether an RGB profile is that of sRGB, to within 2 levels."""
    return _judged(icc, "RGB")[1]


def levels_to_srgb(levels: np.ndarray, icc: bytes) -> np.ndarray:
    """Return pixels of 16 bits in sRGB, as `to_srgb`: (H, W, 1 or 3) uint16 -> (H, W, 1 or 3) uint16.

    Profiles of curves and a matrix, as of cameras and raw converters, are computed in floats. Table profiles,
    as of printers, are applied to the upper 8 bits.
    """
    if icc[16:20] == b"RGB " and levels.shape[2] == 1:
        levels = levels.repeat(3, axis=2)
    mode = "RGB" if levels.shape[2] == 3 else "L"
    if _judged(icc, mode)[0] is None:
        return levels
    curves = _curves(icc, mode)
    if curves is None:
        eight = (levels // 257).astype(np.uint8)
        picture = to_srgb(Image.fromarray(eight if mode == "RGB" else eight[..., 0]), icc)
        return np.asarray(picture).astype(np.uint16) * 257
    tables, matrix = curves
    linear = np.stack([table[levels[..., i]] for i, table in enumerate(tables)], axis=-1)
    linear = (linear @ matrix.T if matrix is not None else linear).clip(0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(encoded * 65535).astype(np.uint16)


@lru_cache(maxsize=32)
def _judged(icc: bytes, mode: str) -> tuple[ImageCms.ImageCmsTransform | None, bool]:
    """Return the transform of a mode to sRGB, None for none, and whether the profile is that of sRGB."""
    if icc[16:20] != SPACES.get(mode):
        return None, False
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None, False
    if mode not in ("RGB", "L"):
        return transform, False
    probes = _probes(mode)
    result = Image.new("RGB", probes.size)
    transform.apply(probes, result)
    moved = np.abs(np.asarray(result).astype(int) - np.asarray(probes.convert("RGB"))).max()
    return (None, True) if moved <= SAME else (transform, False)


def _probes(mode: str) -> Image.Image:
    """Return all greys, and for RGB a grid of colours."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    grid = np.stack(np.meshgrid(*[np.arange(0, 256, 51)] * 3), axis=-1).reshape(-1, 3)
    greys = np.arange(256).repeat(3).reshape(-1, 3)
    return Image.fromarray(np.concatenate([grid, greys]).astype(np.uint8)[None])


@lru_cache(maxsize=4)
def _curves(icc: bytes, mode: str) -> tuple[list[np.ndarray], np.ndarray | None] | None:
    """Return the light (65536,) of each channel by level, and the matrix to linear sRGB, None for grey.

    None if the profile has other tags (ICC.1:2022, 8.3 and 8.4).
    """
    try:
        tags = _tags(icc)
        if b"A2B0" in tags:
            return None
        if mode == "L":
            return [_curve(tags[b"kTRC"])], None
        columns = [struct.unpack_from(">3i", tags[c + b"XYZ"], 8) for c in (b"r", b"g", b"b")]
        matrix = XYZ_TO_SRGB @ (np.array(columns).T / 65536)
        return [_curve(tags[c + b"TRC"]) for c in (b"r", b"g", b"b")], matrix.astype(np.float32)
    except (KeyError, IndexError, ValueError, struct.error):
        return None


def _tags(icc: bytes) -> dict[bytes, bytes]:
    count = min(struct.unpack_from(">I", icc, 128)[0], 100)
    entries = [struct.unpack_from(">4sII", icc, 132 + 12 * index) for index in range(count)]
    return {name: icc[offset : offset + size] for name, offset, size in entries}


def _curve(tag: bytes) -> np.ndarray:
    """Return a `curv` or `para` tag as a table (65536,) in [0, 1].

    Raises:
        ValueError: for another type.
    """
    x = np.linspace(0, 1, 65536)
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count > 1:
            values = np.frombuffer(tag, ">u2", count, 12) / 65535
            return np.interp(x, np.linspace(0, 1, count), values).astype(np.float32)
        return (x ** (struct.unpack_from(">H", tag, 12)[0] / 256 if count else 1)).astype(np.float32)
    if tag[:4] != b"para":
        raise ValueError("neither curv nor para")
    kind = struct.unpack_from(">H", tag, 8)[0]
    g, *rest = (v / 65536 for v in struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}i", tag, 12))
    # Below d the curve is c * x + f, above it a power, and e.
    a, b, c, d, e, f = (*rest, *(1.0, 0.0, 0.0, 0.0, 0.0, 0.0)[len(rest) :])
    if kind in (1, 2):
        c, d, e, f = 0.0, -b / (a or 1.0), c, c
    return np.where(x >= d, (a * x + b).clip(0) ** g + e, c * x + f).clip(0, 1).astype(np.float32)
