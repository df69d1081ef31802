"""Stickers drawn from simple shapes, as premultiplied RGBA layers (H, W, 4), float32 in [0, 1]."""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from ...fonts import font
from .lettering import BLACK, WHITE, Colour, check_letters, ink, is_light

Point = tuple[float, float]

_FINE = 4  # drawn this much larger, then reduced: smooth edges
_LARGE = 200  # px from which half of that is enough


def drawn(kind: str, side: int, angle: float, hue: float, text: str) -> np.ndarray:
    """Return one of `SHAPES` of `side` px, turned by `angle` radians, cropped to its visible part.

    Raises:
        ValueError: for characters that the font lacks.
    """
    check_letters(text)
    fine = _FINE if side < _LARGE else _FINE // 2
    sheet = Image.new("RGBA", (max(1, side) * fine, max(1, side) * fine))
    SHAPES[kind](Pen(sheet), ink(hue, 0.52), text)
    if angle:
        sheet = sheet.rotate(-math.degrees(angle), Image.Resampling.BILINEAR, expand=True)
    layer = sheet.reduce(fine).convert("RGBa")  # premultiplied
    return np.asarray(layer.crop(layer.getbbox()), np.float32) / 255


class Pen:
    """Drawing on a square sheet of side 1."""

    def __init__(self, sheet: Image.Image):
        self.pen, self.side = ImageDraw.Draw(sheet), sheet.width

    def polygon(self, points: list[Point], fill: Colour, rim: float = 0.0) -> None:
        """Draw a filled shape with a white outline."""
        outline = [(x * self.side, y * self.side) for x, y in points]
        if rim:
            self.pen.line([*outline, *outline[:2]], WHITE, round(2 * rim * self.side), joint="curve")
        self.pen.polygon(outline, fill)

    def disc(self, x: float, y: float, radius: float, fill: Colour) -> None:
        """Draw a filled circle."""
        self.pen.ellipse([self.side * at for at in (x - radius, y - radius, x + radius, y + radius)], fill)

    def stroke(self, points: list[Point], fill: Colour, width: float) -> None:
        """Draw a line through `points`, with round joints."""
        line = [(x * self.side, y * self.side) for x, y in points]
        self.pen.line(line, fill, round(width * self.side), joint="curve")

    def panel(self, box: tuple[float, float, float, float], radius: float, fill: Colour) -> None:
        """Draw a rectangle with round corners."""
        self.pen.rounded_rectangle([self.side * at for at in box], radius * self.side, fill)

    def write(self, text: str, x: float, y: float, room: Point, fill: Colour) -> None:
        """Draw one line of text about (x, y), as large as `room` (width, height) allows."""
        size = max(1, round(room[1] * self.side))
        length = font(size).getlength(text)
        size = max(1, math.floor(min(size, size * room[0] * self.side / max(1.0, length))))
        place = (x * self.side, y * self.side)
        self.pen.text(place, text, fill, font(size), anchor="mm", stroke_width=0.03 * size, stroke_fill=fill)


def _price(pen: Pen, colour: Colour, text: str) -> None:
    label = [(0.03, 0.5), (0.2, 0.27), (0.97, 0.27), (0.97, 0.73), (0.2, 0.73)]
    pen.polygon(label, colour, rim=0.022)
    pen.disc(0.16, 0.5, 0.045, WHITE)
    pen.write(text or "$19.99", 0.6, 0.5, (0.66, 0.3), BLACK if is_light(colour) else WHITE)


def _badge(pen: Pen, colour: Colour, text: str) -> None:
    pen.polygon(_burst(16, 0.46, 0.4), colour, rim=0.02)
    pen.write(text or "NEW", 0.5, 0.5, (0.68, 0.3), BLACK if is_light(colour) else WHITE)


def _star(pen: Pen, colour: Colour, _text: str) -> None:
    pen.polygon(_burst(5, 0.46, 0.2), colour, rim=0.03)


def _heart(pen: Pen, colour: Colour, _text: str) -> None:
    pen.polygon(_heart_at(0.5, 0.47, 0.027), colour, rim=0.03)


def _heart_at(x: float, y: float, scale: float) -> list[Point]:
    """Return the usual heart curve, 32 wide before `scale`."""
    turns = [math.tau * step / 90 for step in range(90)]
    down = [13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) for t in turns]
    return [(x + 16 * scale * math.sin(t) ** 3, y - scale * d) for t, d in zip(turns, down, strict=True)]


def _arrow(pen: Pen, colour: Colour, _text: str) -> None:
    shaft = [(0.06, 0.58), (0.06, 0.42), (0.56, 0.4), (0.53, 0.22), (0.95, 0.5), (0.53, 0.78), (0.56, 0.6)]
    pen.polygon(shaft, colour, rim=0.03)


def _emoji(pen: Pen, colour: Colour, _text: str) -> None:
    """A yellow face: in love if the colour is reddish, laughing if bluish, else smiling."""
    dark = (70, 42, 14, 255)
    red, _, blue, _ = colour
    pen.disc(0.5, 0.5, 0.48, (224, 150, 20, 255))
    pen.disc(0.5, 0.49, 0.455, (255, 206, 50, 255))
    for x in (0.33, 0.67):
        if red > max(blue, 200):
            pen.polygon(_heart_at(x, 0.38, 0.0075), (225, 30, 50, 255))
        else:
            pen.disc(x, 0.4, 0.065, dark)
            pen.disc(x + 0.02, 0.38, 0.02, WHITE)
    mouth = [math.radians(degrees) for degrees in range(20, 161, 5)]
    line = [(0.5 + 0.27 * math.cos(t), 0.52 + 0.25 * math.sin(t)) for t in mouth]
    if blue > 200:
        pen.polygon(line, dark)
    else:
        pen.stroke(line, dark, 0.05)


def _bubble(pen: Pen, colour: Colour, text: str) -> None:
    pen.panel((0.02, 0.16, 0.98, 0.7), 0.2, WHITE)
    pen.polygon([(0.24, 0.66), (0.22, 0.9), (0.46, 0.66)], WHITE)
    pen.write(text or "wow!", 0.5, 0.43, (0.78, 0.34), ink(0, 0.1) if is_light(colour) else colour)


def _circle(pen: Pen, colour: Colour, _text: str) -> None:
    """Draw a hand-drawn ring whose ends overlap."""
    turns = [math.radians(degrees) for degrees in range(-110, 291, 5)]
    reach = [0.46 - 0.012 * turn for turn in turns]
    ring = [(0.48 + r * math.cos(t), 0.5 + 0.8 * r * math.sin(t)) for t, r in zip(turns, reach, strict=True)]
    pen.stroke(ring, colour, 0.04)


def _burst(points: int, outer: float, inner: float) -> list[Point]:
    """Return a star about the middle, with its first point up."""
    radii = [outer, inner] * points
    turns = [math.pi * step / points for step in range(2 * points)]
    return [(0.5 + r * math.sin(t), 0.5 - r * math.cos(t)) for r, t in zip(radii, turns, strict=True)]


SHAPES: dict[str, Callable[[Pen, Colour, str], None]] = {
    "price": _price,
    "arrow": _arrow,
    "heart": _heart,
    "star": _star,
    "badge": _badge,
    "emoji": _emoji,
    "bubble": _bubble,
    "circle": _circle,
}
