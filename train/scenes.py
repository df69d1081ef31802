"""Synthetic training pictures: dead leaves (occlusion, edges, texture) and text."""

import math
import random

import numpy as np
from PIL import Image, ImageDraw

from ..fonts import FACES, font

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,-!?&"


def dead_leaves(seed: int, size: int, palette: np.ndarray) -> Image.Image:
    """Return opaque shapes of power-law sizes that occlude each other (Lee, Mumford and Huang 2001).

    Args:
        seed: determines the picture.
        size: side in pixels; drawn at twice that and averaged, for smooth edges.
        palette: (N, 3) uint8 colours to draw from.
    """
    rng = random.Random(seed)
    side = size * 2
    picture = Image.new("RGB", (side, side), _color(rng, palette))
    for _ in range(rng.randint(300, 900)):
        radius = min(10 / max(rng.random(), 1e-3) ** 0.6, side / 3)
        box = _place(rng, side, radius)
        texture = _texture(rng, palette, box)
        mask = Image.new("L", texture.size, 0)
        _shape(rng, ImageDraw.Draw(mask), texture.size)
        picture.paste(texture, box[:2], mask)
    return picture.resize((size, size), Image.Resampling.BOX)


def captioned(seed: int, background: Image.Image) -> Image.Image:
    """Return the background with lines of text in many sizes and fonts, half of them on a box."""
    rng = random.Random(seed)
    picture = background.copy()
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.randint(15, 50)):
        face, size = rng.choice(FACES), rng.randint(14, 80)
        text = "".join(rng.choices(_LETTERS, k=rng.randint(3, 22)))
        place = (rng.randint(-40, picture.width), rng.randint(-10, picture.height))
        if rng.random() < 0.5:
            left, top, right, bottom = draw.textbbox(place, text, font=font(size, face))
            draw.rectangle((left - 6, top - 6, right + 6, bottom + 6), fill=_any_color(rng))
        draw.text(place, text, font=font(size, face), fill=_any_color(rng))
    return picture


def _place(rng: random.Random, side: int, radius: float) -> tuple[int, int, int, int]:
    x, y = rng.uniform(0, side), rng.uniform(0, side)
    flat = rng.uniform(0.3, 1.0)
    width, height = max(3, round(2 * radius)), max(3, round(2 * radius * flat))
    return round(x - width / 2), round(y - height / 2), width, height


def _texture(rng: random.Random, palette: np.ndarray, box: tuple[int, int, int, int]) -> Image.Image:
    width, height = box[2], box[3]
    color = np.asarray(_color(rng, palette), dtype=np.float32)
    kind = rng.choice(("flat", "shade", "stripes", "grain"))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    if kind == "shade":
        pattern = rng.uniform(-60, 60) * (y / height - 0.5)
    elif kind == "stripes":
        angle, frequency = rng.uniform(0, math.pi), rng.uniform(0.03, 0.8)
        wave = np.sin((x * math.cos(angle) + y * math.sin(angle)) * frequency)
        pattern = rng.uniform(5, 45) * wave
    elif kind == "grain":
        grain = np.random.default_rng(rng.getrandbits(32)).standard_normal((height, width))
        blurred = np.asarray(
            Image.fromarray(grain.astype(np.float32))
            .resize((max(1, width // rng.randint(1, 6)), max(1, height // rng.randint(1, 6))))
            .resize((width, height), Image.Resampling.BICUBIC)
        )
        pattern = rng.uniform(5, 30) * blurred
    else:
        pattern = np.zeros((height, width), dtype=np.float32)
    return Image.fromarray((color + pattern[..., None]).clip(0, 255).astype(np.uint8))


def _shape(rng: random.Random, draw: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    width, height = size
    if rng.random() < 0.4:
        draw.ellipse((0, 0, width - 1, height - 1), fill=255)
        return
    angles = sorted(rng.uniform(0, 2 * math.pi) for _ in range(rng.randint(3, 8)))
    reach = [rng.uniform(0.5, 1.0) for _ in angles]
    corners = [
        (width / 2 * (1 + r * math.cos(a)), height / 2 * (1 + r * math.sin(a)))
        for a, r in zip(angles, reach, strict=True)
    ]
    draw.polygon(corners, fill=255)


def _color(rng: random.Random, palette: np.ndarray) -> tuple[int, int, int]:
    r, g, b = palette[rng.randrange(len(palette))]
    return int(r), int(g), int(b)


def _any_color(rng: random.Random) -> tuple[int, int, int]:
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)
