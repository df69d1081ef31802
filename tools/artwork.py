"""Draws the registry's icon and banner: python tools/artwork.py RESTORED.png (from `make demo`)."""

import sys
from pathlib import Path

from PIL import Image, ImageDraw

from ugc_sr.fonts import font

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
ICON_PX = 400
BANNER_PX = (1260, 540)  # 21:9
SHARPER = 4  # supersampling factor
BLOCK_PX = 40  # block size of the icon's coarse half
INK, PAPER, SKY, SUN, FAR, NEAR = "#101820", "#f4f1ea", "#7fb2d9", "#ffd166", "#3c6e8f", "#1f4257"


def main() -> None:
    """Write docs/icon.png and docs/banner.png."""
    restored = Image.open(sys.argv[1]).convert("RGB")
    icon().save(DOCS / "icon.png", optimize=True)
    banner(Image.open(ROOT / "demo" / "photo.png").convert("RGB"), restored).save(
        DOCS / "banner.png", optimize=True
    )


def icon() -> Image.Image:
    """Return the icon: a landscape, coarse on the left of a diagonal and sharp on the right."""
    sharp = _landscape(ICON_PX * SHARPER).resize((ICON_PX, ICON_PX), Image.Resampling.BOX)
    cells = ICON_PX // BLOCK_PX
    coarse = sharp.resize((cells, cells), Image.Resampling.BOX).resize(sharp.size, Image.Resampling.NEAREST)
    side = ICON_PX * SHARPER
    left = Image.new("L", (side, side), 0)
    ImageDraw.Draw(left).polygon([(0, 0), (side * 0.62, 0), (side * 0.38, side), (0, side)], fill=255)
    picture = Image.composite(coarse, sharp, left.resize(sharp.size, Image.Resampling.BOX))
    line = Image.new("L", (side, side), 0)
    ImageDraw.Draw(line).line([(side * 0.62, 0), (side * 0.38, side)], fill=255, width=side // 60)
    picture.paste(PAPER, (0, 0), line.resize(sharp.size, Image.Resampling.BOX))
    corners = Image.new("L", (side, side), 0)
    ImageDraw.Draw(corners).rounded_rectangle((0, 0, side - 1, side - 1), side // 6, fill=255)
    picture.putalpha(corners.resize(sharp.size, Image.Resampling.BOX))
    return picture


def banner(lr: Image.Image, restored: Image.Image) -> Image.Image:
    """Return the banner: the name beside the demo's photo, before and after."""
    width, height = BANNER_PX
    picture = Image.new("RGB", BANNER_PX, INK)
    size = height // 2, height
    face = (270, 220, 520, 720)
    after = restored.resize(size, Image.Resampling.LANCZOS, box=face)
    scale = restored.width / lr.width
    left, top, right, bottom = (round(edge / scale) for edge in face)
    before = lr.crop((left, top, right, bottom)).resize(size, Image.Resampling.NEAREST)
    left = width - height
    picture.paste(before, (left, 0))
    picture.paste(after, (left + size[0], 0))
    draw = ImageDraw.Draw(picture)
    draw.line([(left + size[0], 0), (left + size[0], height)], fill=PAPER, width=4)
    draw.text((56, 160), "UGC\nSuper-Resolution", PAPER, font(60, "DejaVuSans-Bold"), spacing=14)
    words = "Photos from phones and networks,\nsharp again. For ComfyUI."
    draw.text((58, 340), words, SKY, font(30, "DejaVuSans"), spacing=12)
    return picture


def _landscape(side: int) -> Image.Image:
    picture = Image.new("RGB", (side, side), SKY)
    draw = ImageDraw.Draw(picture)

    def shape(points: list[tuple[float, float]], color: str) -> None:
        draw.polygon([(x * side, y * side) for x, y in points], fill=color)

    draw.ellipse([side * part for part in (0.62, 0.14, 0.84, 0.36)], fill=SUN)
    shape([(0, 0.62), (0.3, 0.3), (0.55, 0.6), (0.78, 0.4), (1, 0.62), (1, 1), (0, 1)], FAR)
    shape([(0, 0.86), (0.2, 0.7), (0.42, 0.84), (0.72, 0.6), (1, 0.8), (1, 1), (0, 1)], NEAR)
    shape([(0.3, 0.3), (0.37, 0.384), (0.3, 0.41), (0.24, 0.364)], PAPER)
    shape([(0.78, 0.4), (0.83, 0.45), (0.78, 0.47), (0.734, 0.443)], PAPER)
    for x, y, tall in ((0.62, 0.80, 0.16), (0.70, 0.82, 0.20), (0.80, 0.82, 0.17), (0.89, 0.86, 0.2)):
        shape([(x, y - tall), (x + 0.045, y), (x - 0.045, y)], INK)
    return picture


if __name__ == "__main__":
    main()
