"""Draws the pictures of the help pages from real results: python tools/help_pictures.py (some minutes)."""

import io
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ugc_sr.degrade.degradation import apply
from ugc_sr.degrade.grid import grid
from ugc_sr.degrade.recipes import RECIPES
from ugc_sr.fonts import font_for
from ugc_sr.restore.api import Client
from ugc_sr.restore.server import CHECKOUT, find_host, running_host
from ugc_sr.restore.workflow import find
from ugc_sr.sample.color_match import match
from ugc_sr.sample.frame import fit
from ugc_sr.sample.masks import feathered, put_back
from ugc_sr.sample.tiles import GRIDS
from ugc_sr.score.card import card
from ugc_sr.score.metrics import evaluate
from ugc_sr.score.pil_image import from_picture, to_picture
from ugc_sr.score.scoring import summary
from ugc_sr.score.sheet import compare

PICTURES = CHECKOUT / "web" / "docs" / "pictures"
PHOTO, ORIGINAL = CHECKOUT / "demo" / "photo.png", CHECKOUT / "demo" / "photo_gt.jpg"
PANEL_PX, GAP_PX, LABEL_PX = 300, 6, 26
LIMIT_BYTES = 60_000
INK, PAPER, MARK = (238, 238, 238), (24, 24, 26), (255, 196, 0)
FACE = (300, 360, 600, 660)  # box in the original, in pixels


def main() -> None:
    """Write the pictures into web/docs/pictures."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    original, photo = (Image.open(file).convert("RGB") for file in (ORIGINAL, PHOTO))
    with tempfile.TemporaryDirectory() as base, running_host(find_host(), Path(base), cpu=True) as host:
        made = Client(host.address).restore(PHOTO.name, PHOTO.read_bytes(), find("quickstart"))
    restored = Image.open(io.BytesIO(made), formats=("PNG",)).convert("RGB")
    bicubic = photo.resize(original.size, Image.Resampling.BICUBIC)
    damaged(original)
    prepared(photo)
    tiled(restored)
    colored(restored, bicubic)
    regions(restored, bicubic)
    scored(restored, original, photo, bicubic)
    save("nano", row({"small photo, enlarged": bicubic.crop(FACE), "nano": restored.crop(FACE)}))


def damaged(original: Image.Image) -> None:
    """Draw one photo under several recipes, a grid of seeds, and one degradation of two photos."""
    clean = from_picture(original)
    panels = {"clean": original.crop(FACE)}
    for name in ("upload", "ugc", "real_esrgan_x4"):
        panels[name] = zoomed(apply(RECIPES[name].draw(3, 4), clean).lr)
    save("degrade", row(panels, columns=2))
    drawn = [RECIPES["ugc"].draw(seed, 4) for seed in range(5)]
    shown = to_picture(grid(clean, drawn, columns=3, crop=320, cell=200))
    save("grid", shown)
    one = RECIPES["real_esrgan_x4"].draw(7, 4)
    photos = [from_picture(original.crop(box)) for box in ((150, 210, 750, 810), (330, 560, 930, 1160))]
    first, second = (to_picture(apply(one, photo).lr) for photo in photos)
    save("replay", row({"one photo": first, "another, the same damage": second}, sharp=True))


def prepared(photo: Image.Image) -> None:
    """Draw the padded canvas of a photo whose sides aren't multiples of 64."""
    hint, frame = fit(from_picture(photo.crop((60, 80, 210, 180))), 4.0)
    canvas = to_picture(hint)
    box = (0, 0, frame.width - 1, frame.height - 1)
    ImageDraw.Draw(canvas).rectangle(box, outline=MARK, width=3)
    save("prepare", canvas)


def tiled(restored: Image.Image) -> None:
    """Draw the two grids of tiles of 768 px with an overlap of 256 px."""
    panels = {}
    for name, cut in GRIDS.items():
        shown = Image.blend(restored, Image.new("RGB", restored.size), 0.35)
        draw = ImageDraw.Draw(shown)
        tiles = cut.split(restored.height, restored.width, 768, 256)
        for index, (top, left, height, width) in enumerate(tiles):
            inset = 10 * index
            colour = tuple(int(255 * (0.5 + 0.5 * np.cos(2 * np.pi * (index / 6 + c / 3)))) for c in range(3))
            box = (left + inset, top + inset, left + width - 1 - inset, top + height - 1 - inset)
            draw.rectangle(box, outline=colour, width=8)
        panels[f"{name}: {len(tiles)} tiles"] = shown
    save("tiles", row(panels))


def colored(restored: Image.Image, bicubic: Image.Image) -> None:
    """Draw a result with shifted colours, and the three methods of Match Color."""
    shift = torch.tensor([1.12, 0.98, 0.8]).view(1, 3, 1, 1)
    shifted = (from_picture(restored) * shift + 0.03).clamp(0, 1)
    panels = {"shifted": to_picture(shifted).crop(FACE), "reference": bicubic.crop(FACE)}
    for method in ("wavelet", "adain"):
        panels[method] = to_picture(match(shifted, from_picture(bicubic), method)).crop(FACE)
    save("colors", row(panels, columns=2))


def regions(restored: Image.Image, bicubic: Image.Image) -> None:
    """Draw a result with a kept region."""
    mask = torch.zeros(1, 1, restored.height, restored.width)
    middle = (FACE[0] + FACE[2]) // 2
    mask[..., FACE[1] : FACE[3], middle : FACE[2]] = 1
    blended = put_back(from_picture(restored), from_picture(bicubic), feathered(mask, 32), "detail")
    panels = {
        "mask, feather 32": to_picture(feathered(mask, 32).expand(-1, 3, -1, -1)).crop(FACE),
        "restored, blended": to_picture(blended).crop(FACE),
    }
    save("regions", row(panels))


def scored(restored: Image.Image, original: Image.Image, photo: Image.Image, bicubic: Image.Image) -> None:
    """Draw a result's score report, and versions side by side."""
    figures = evaluate(sr=from_picture(restored), gt=from_picture(original), lr=from_picture(photo))
    save("score", card(summary([{"name": "photo 1", **figures}])), ending="png")
    panels = [("bicubic", bicubic), ("restored", restored), ("original", original)]
    save("sheet", compare(panels, crops=1, title="Versions of one photo"))


def row(panels: dict[str, Image.Image], columns: int = 0, *, sharp: bool = False) -> Image.Image:
    """Return the pictures side by side, each below its label; `sharp` enlarges small ones unsmoothed."""
    filtering = Image.Resampling.NEAREST if sharp else Image.Resampling.LANCZOS
    columns = columns or len(panels)
    size = next(iter(panels.values())).size
    height = round(PANEL_PX * size[1] / size[0])
    rows = -(-len(panels) // columns)
    sheet = Image.new("RGB", (columns * (PANEL_PX + GAP_PX) - GAP_PX, rows * (height + LABEL_PX)), PAPER)
    for index, (label, shown) in enumerate(panels.items()):
        left, top = index % columns * (PANEL_PX + GAP_PX), index // columns * (height + LABEL_PX)
        ImageDraw.Draw(sheet).text((left + 6, top + 3), label, fill=INK, font=font_for(label, 16))
        sheet.paste(shown.resize((PANEL_PX, height), filtering), (left, top + LABEL_PX))
    return sheet


def zoomed(lr: Tensor) -> Image.Image:
    """Return the part FACE of a photo that was reduced four times, enlarged without smoothing."""
    left, top, right, bottom = FACE
    small = to_picture(lr).crop((left // 4, top // 4, right // 4, bottom // 4))
    return small.resize((right - left, bottom - top), Image.Resampling.NEAREST)


def save(name: str, shown: Image.Image, ending: str = "jpg") -> None:
    """Write a picture, limited to the width of a help panel and to the file size of a help page."""
    shown.thumbnail((640, 960), Image.Resampling.LANCZOS)
    file = PICTURES / f"{name}.{ending}"
    if ending == "png":
        shown.quantize(32).save(file, optimize=True)
        return
    for quality in range(85, 50, -5):
        shown.save(file, quality=quality, optimize=True)
        if file.stat().st_size <= LIMIT_BYTES:
            return


if __name__ == "__main__":
    main()
