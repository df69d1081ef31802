"""Pixels of more than 8 bits per channel; for colours, Pillow alone returns only the upper 8."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import ImageFile

WHITES = (1.0, 255.0, 65535.0)  # possible values of white in floats; the smallest that fits is used
DEEP = re.compile(r"(LA|RGBA|RGBX|RGBa|RGB);16([BLN])")  # Pillow's names for 16 bits a channel
BITS_PER_SAMPLE, PHOTOMETRIC, PLANES = 258, 262, 284  # tags of TIFF
WHITE_IS_ZERO, SEPARATE = 0, 2  # values of the last two

Opened = ImageFile.ImageFile


def is_deep(picture: Opened) -> bool:
    """Return whether a picture that was opened but not decoded has more than 8 bits per channel."""
    return picture.mode[0] in "IF" or _coloured(picture) is not None


def cut_to_eight(picture: Opened) -> bool:
    """Return whether a picture has more than 8 bits per channel of which only 8 can be read."""
    if picture.format == "PPM":
        return picture.mode == "RGB" and _arguments(picture.tile[0])[-1] not in ("RGB", 255)
    return max(_tag(picture, BITS_PER_SAMPLE, (8,))) > 8 and not is_deep(picture)


def deep_levels(picture: Opened, again: Callable[[], Opened], upright: Callable) -> np.ndarray:
    """Return all bits of a deep picture: (H, W, C) uint16, C 1 for grey, 3 for RGB, plus 1 with alpha.

    Args:
        picture: opened, not decoded.
        again: opens the same picture again.
        upright: decodes a picture and applies its EXIF orientation.
    """
    layout = _coloured(picture)
    if layout is None:
        levels = _grey(np.asarray(upright(picture)), picture)[..., None]
        return with_key(levels, picture.info.get("transparency"), 1)
    kind, order = layout
    if kind == "LA":  # four bytes a pixel, as RGBA of 8 bits has
        pairs = np.asarray(upright(_as(picture, "RGBA")), dtype=np.uint16)
        levels = pairs[..., ::2] << 8 | pairs[..., 1::2]
    else:
        # The one name takes the first byte of every pair, the other one the second.
        upper, lower = ("B", "L") if order == "B" or sys.byteorder == "big" else ("L", "B")
        name = kind.replace("a", "A")
        high = np.asarray(upright(_as(picture, f"{name};16{upper}")))
        low = np.asarray(upright(_as(again(), f"{name};16{lower}")))
        levels = high.astype(np.uint16) << 8 | low
    if kind == "RGBa":  # colours were multiplied by alpha
        alpha = levels[..., 3:].astype(np.float64)
        colours = np.divide(
            levels[..., :3] * 65535.0, alpha, out=np.zeros(levels[..., :3].shape), where=alpha > 0
        )
        levels[..., :3] = np.rint(colours).clip(0, 65535)
    return with_key(levels, picture.info.get("transparency"), 1)


def with_key(levels: np.ndarray, key: object, factor: int) -> np.ndarray:
    """Return (H, W, 1 or 3) with an alpha channel if one colour is declared transparent, else unchanged.

    Args:
        levels: uint8 or uint16.
        key: that colour, a number or three of them, in the file's levels; None for none.
        factor: a level of the file in levels of `levels`.
    """
    if key is None or levels.shape[2] not in (1, 3):
        return levels
    clear = (levels == np.asarray(key) * factor).all(axis=2, keepdims=True)
    opaque = np.array(np.iinfo(levels.dtype).max, dtype=levels.dtype)
    return np.concatenate([levels, np.where(clear, 0, opaque).astype(levels.dtype)], axis=2)


def _coloured(picture: Opened) -> tuple[str, str] | None:
    """Return layout and byte order of colours of 16 bits; None for other pictures."""
    if _tag(picture, PLANES, 1) == SEPARATE:
        raw = all(tile.codec_name == "raw" for tile in picture.tile)
        deep = set(_tag(picture, BITS_PER_SAMPLE, (8,))) == {16} and picture.mode in ("RGB", "RGBA")
        return (
            (picture.mode, "B" if vars(picture)["tag_v2"].prefix == b"MM" else "L") if raw and deep else None
        )
    for tile in picture.tile:
        if found := DEEP.fullmatch(str(_arguments(tile)[0])):
            return found[1], found[2]
    return None


def _as(picture: Opened, name: str) -> Opened:
    """Return the picture set up to decode other bytes."""
    tiles = []
    for tile in picture.tile:
        first, *rest = _arguments(tile)
        # Planes that lie one after the other have a letter each.
        wanted = first + name[name.index(";") :] if len(first) == 1 else name
        tiles.append(tile._replace(args=(wanted, *rest) if rest else wanted))
    picture.tile = tiles
    return picture


def _arguments(tile: Any) -> tuple[Any, ...]:
    """Return the arguments of Pillow's decoder for a tile; the pixel layout is the first."""
    return tile.args if isinstance(tile.args, tuple) and tile.args else (tile.args,)


def _tag(picture: Opened, number: int, missing: Any) -> Any:
    return getattr(picture, "tag_v2", {}).get(number, missing)


def _grey(values: np.ndarray, picture: Opened) -> np.ndarray:
    """Return grey of 9 to 32 bits, or floats, as 16 bits."""
    if picture.mode == "F":
        values = np.nan_to_num(values.astype(np.float64))
        white = next((usual for usual in WHITES if values.max() <= usual), WHITES[-1])
    else:
        if _tag(picture, PHOTOMETRIC, None) == WHITE_IS_ZERO:
            values = 65535 - values
        bits = _tag(picture, BITS_PER_SAMPLE, (16,))[0]
        white = float(2 ** min(bits, 32) - 1) if bits > 8 else 65535.0
        if bits == 32:
            values = values.view(np.uint32)
            white = 65535.0 if values.max() <= 65535 else white
        if white == 65535.0 and values.dtype.itemsize == 2:
            return values.astype(np.uint16)
    return np.rint(values.clip(0, white) * (65535.0 / white)).astype(np.uint16)
