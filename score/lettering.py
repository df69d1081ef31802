"""Text on pictures: a font that has its letters, and no more of it than fits."""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Of the systems that ComfyUI runs on, looked up by Pillow: Linux, Linux with Asian languages, macOS, Windows.
INSTALLED = ("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "msyh.ttc", "arial.ttf")
NO_CHARACTER = "\U0010ffff"  # never has a glyph; every font draws its sign for a missing letter


def font_for(text: str, size: int) -> Font:
    """Pillow's own font of that size in px, or an installed one that has more of the letters.

    Letters that no font has are drawn as boxes.
    """
    own = ImageFont.load_default(size=size)
    if not _lacking(own, text):
        return own
    return min((own, *_installed(size)), key=lambda font: _lacking(font, text))


def shortened(text: str, font: Font, width: float) -> str:
    """The text in one line, cut to `width` px."""
    line = " ".join(text.split())
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(f"{line}...") > width:
        line = line[:-1]
    return f"{line}..."


def _installed(size: int) -> Iterator[Font]:
    for name in INSTALLED:
        try:
            yield ImageFont.truetype(name, size)
        except OSError:
            continue


def _lacking(font: Font, text: str) -> int:
    missing = _drawn(font, NO_CHARACTER)
    return sum(_drawn(font, letter) == missing for letter in text)


def _drawn(font: Font, letter: str) -> bytes:
    size = font.getbbox(letter)
    picture = Image.new("L", (max(1, round(size[2])), max(1, round(size[3]))))
    ImageDraw.Draw(picture).text((0, 0), letter, fill=255, font=font)
    return picture.tobytes()
