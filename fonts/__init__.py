"""The fonts for all text, from files of this folder; system fonts are never used."""

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
    """Return the font of a face in `FACES`, `size` px high.

    Characters that it lacks are drawn as boxes.
    """
    file = Path(__file__).with_name(f"{face}.ttf")
    # Raqm, the other engine, sets letters elsewhere, and is there only where the system has its libraries.
    return ImageFont.truetype(file, size, layout_engine=ImageFont.Layout.BASIC)


def font_for(text: str, size: int) -> FreeTypeFont:
    """Return the default font, or the one with the most characters if that lacks fewer of the text's."""
    return min((font(size), font(size, MOST_LETTERS)), key=lambda one: len(missing(one, text)))


def missing(one: FreeTypeFont, text: str) -> str:
    """Return the characters of the text that the font draws as boxes, each once, in order."""
    letters = sorted({letter for letter in text if not letter.isspace()})
    return "".join(letter for letter in letters if _is_missing(one, letter))


def shortened(text: str, one: FreeTypeFont, width: float) -> str:
    """Return the text in one line, cut to `width` px."""
    line = " ".join(text.split())
    if one.getlength(line) <= width:
        return line
    count = bisect(range(1, len(line)), width, key=lambda letters: one.getlength(f"{line[:letters]}..."))
    return f"{line[:count]}..."


def wrapped(text: str, one: FreeTypeFont, width: float) -> list[str]:
    """Return lines of at most `width` px, broken greedily at spaces; a longer word stays whole."""
    lines: list[str] = []
    for word in text.split():
        if lines and one.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


@lru_cache(maxsize=4096)
def _is_missing(one: FreeTypeFont, letter: str) -> bool:
    return _drawn(one, letter) == _drawn(one, _NO_CHARACTER)


def _drawn(one: FreeTypeFont, letter: str) -> bytes:
    left, top, right, bottom = (round(edge) for edge in one.getbbox(letter))
    picture = Image.new("L", (max(1, right - left), max(1, bottom - top)))
    ImageDraw.Draw(picture).text((-left, -top), letter, 255, one)
    return picture.tobytes()
