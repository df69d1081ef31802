"""Captions in the style of short videos, as premultiplied RGBA layers (H, W, 4), float32 in [0, 1]."""

from colorsys import hls_to_rgb

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ...color import BT601
from ...files import brief
from ...fonts import font, missing, wrapped

STYLES = ("plain", "outline", "box", "shadow")
LONGEST_TEXT = 1000  # letters; each is measured at every size that is tried
_CHECKED_PX = 32  # the size at which letters are looked for
Colour = tuple[int, int, int, int]

WHITE, BLACK = (255, 255, 255, 255), (0, 0, 0, 255)
_GLASS = (0, 0, 0, 150)  # lets the photo through

# In font sizes.
_BOLD = 0.026  # the built-in font is thin; its own outline makes it bold
_OUTLINE = 0.09
_LINE = 1.22
_SIDE = 0.35  # of a box beside the text


def ink(hue: float, lightness: float = 0.55) -> Colour:
    """Return a vivid colour of a hue in [0, 1]; 0 and 1 are red, 1/3 is green."""
    red, green, blue = (round(255 * part) for part in hls_to_rgb(hue % 1, lightness, 0.9))
    return red, green, blue, 255


def is_light(colour: Colour) -> bool:
    """Return whether dark letters are easier to read on `colour` than light ones."""
    return sum(weight * part for weight, part in zip(BT601, colour[:3], strict=True)) > 150


def check_letters(text: str) -> None:
    """Check that the built-in font has all characters, and that the text is not too long.

    Raises:
        ValueError: naming the characters.
    """
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"caption or sticker: the text has {len(text)} letters; it may have {LONGEST_TEXT}.")
    if lacking := missing(font(_CHECKED_PX), text):
        raise ValueError(
            f"caption or sticker: the built-in font has no {brief(lacking)} (text {brief(text)}). "
            "Use English letters, digits and punctuation."
        )


def lettered(text: str, size: int, space: tuple[int, int], style: str, hue: float) -> np.ndarray | None:
    """Return `text` as a layer that fits into `space` (height, width) px; None if no size fits.

    Raises:
        ValueError: for characters that the font lacks.
    """
    check_letters(text)
    while text.strip() and size >= 1:
        lines = wrapped(text, font(size), space[1] - 2 * _pad(size))
        height = round(_LINE * size * len(lines)) + 2 * _pad(size)
        width = round(max(font(size).getlength(line) for line in lines)) + 2 * _pad(size)
        if height <= space[0] and width <= space[1]:
            return _layer(lines, size, (width, height), style, hue)
        size = min(size - 1, round(0.92 * size))
    return None


def _pad(size: int) -> int:
    return round(_SIDE * size) + 1


def _layer(lines: list[str], size: int, extent: tuple[int, int], style: str, hue: float) -> np.ndarray:
    layer = np.zeros((extent[1], extent[0], 4), np.float32)
    letters = ink(2 * hue - 1, 0.6) if hue >= 0.5 else WHITE
    if style == "box":
        box = WHITE if hue < 0.25 else _GLASS if hue < 0.5 else ink(2 * hue - 1, 0.5)
        letters = BLACK if is_light(box) else WHITE
        _paint(layer, _boxes(lines, size, extent), box)
    elif style == "shadow":
        cast = _written(lines, size, extent, _OUTLINE, shift=0.06)
        _paint(layer, cast.filter(ImageFilter.GaussianBlur(0.07 * size)), (0, 0, 0, 200))
    elif style == "outline":
        rim = BLACK if is_light(letters) else WHITE
        _paint(layer, _written(lines, size, extent, _OUTLINE), rim)
    _paint(layer, _written(lines, size, extent, _BOLD), letters)
    return layer


def _paint(layer: np.ndarray, mask: Image.Image, colour: Colour) -> None:
    """Composite a colour over the layer; Pillow's own drawing on RGBA differs between versions."""
    alpha = np.asarray(mask, np.float32)[..., None] * (colour[3] / 255**2)
    layer *= 1 - alpha
    layer += alpha * (np.array([*colour[:3], 255], np.float32) / 255)


def _boxes(lines: list[str], size: int, extent: tuple[int, int]) -> Image.Image:
    """Return a mask of a rounded box behind each line, drawn at 4x and reduced for smooth corners."""
    fine = 4
    mask = Image.new("L", (extent[0] * fine, extent[1] * fine))
    pen = ImageDraw.Draw(mask)
    for number, line in enumerate(lines):
        left = _start(line, size, extent) - _SIDE * size
        top = _pad(size) + (_LINE * number - 0.08) * size
        box = (left, top, extent[0] - left, top + (_LINE + 0.16) * size)
        pen.rounded_rectangle([fine * edge for edge in box], radius=0.22 * fine * size, fill=255)
    return mask.reduce(fine)


def _start(line: str, size: int, extent: tuple[int, int]) -> float:
    return (extent[0] - font(size).getlength(line)) / 2


def _written(
    lines: list[str], size: int, extent: tuple[int, int], stroke: float, shift: float = 0.0
) -> Image.Image:
    """Return the letters as a mask, each `stroke` wider all round."""
    mask = Image.new("L", extent)
    pen = ImageDraw.Draw(mask)
    for number, line in enumerate(lines):
        baseline = _pad(size) + (_LINE * (number + 0.5) + 0.34) * size
        place = _start(line, size, extent) + shift * size, baseline + shift * size
        pen.text(place, line, 255, font(size), anchor="ls", stroke_width=stroke * size)
    return mask
