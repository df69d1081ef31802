"""The fonts that draw all letters: files beside this one, never a font of the system."""

from bisect import bisect
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from PIL.ImageFont import FreeTypeFont

FACES = (
    "Aileron-Regular",
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSerif",
    "DejaVuSerif-Italic",
    "DejaVuSansMono",
)
MOST_LETTERS = "DejaVuSans"
_NO_CHARACTER = "\U0010ffff"  # never has a glyph; every font draws its sign for a missing letter


@lru_cache(maxsize=64)
def font(size: int, face: str = FACES[0]) -> FreeTypeFont:
    """The font of that face, one of `FACES`, `size` px high.

    Letters that it lacks are drawn as boxes.
    """
    file = Path(__file__).with_name(f"{face}.ttf")
    # Raqm, the other engine, sets letters elsewhere, and is there only where the system has its libraries.
    return ImageFont.truetype(file, size, layout_engine=ImageFont.Layout.BASIC)


def font_for(text: str, size: int) -> FreeTypeFont:
    """The usual font, `size` px high, or the one with the most letters if that has more of these."""
    return min((font(size), font(size, MOST_LETTERS)), key=lambda one: len(missing(one, text)))


def missing(one: FreeTypeFont, text: str) -> str:
    """The letters of the text that the font draws as boxes, each once, in order."""
    letters = sorted({letter for letter in text if not letter.isspace()})
    return "".join(letter for letter in letters if _is_missing(one, letter))


def shortened(text: str, one: FreeTypeFont, width: float) -> str:
    """The text in one line, cut to `width` px."""
    line = " ".join(text.split())
    if one.getlength(line) <= width:
        return line
    kept = bisect(range(1, len(line)), width, key=lambda letters: one.getlength(f"{line[:letters]}..."))
    return f"{line[:kept]}..."


@lru_cache(maxsize=4096)
def _is_missing(one: FreeTypeFont, letter: str) -> bool:
    return _drawn(one, letter) == _drawn(one, _NO_CHARACTER)


def _drawn(one: FreeTypeFont, letter: str) -> bytes:
    left, top, right, bottom = (round(edge) for edge in one.getbbox(letter))
    picture = Image.new("L", (max(1, right - left), max(1, bottom - top)))
    ImageDraw.Draw(picture).text((-left, -top), letter, 255, one)
    return picture.tobytes()
