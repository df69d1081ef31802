"""One picture that shows what restoring did: its versions side by side, whole and zoomed into detail."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..image import luma

Panels = dict[str, Image.Image]  # label -> picture; the first has the size of the result or is an enlargement

PANEL_PX = 420  # width of one picture
CROPS = 2
CROP_SHARE = 5  # a zoomed crop is a fifth of the shorter side, ...
CROP_LEAST_PX = 96  # ... but shows at least this much of the result
GAP_PX, LABEL_PX, FONT_PX = 12, 34, 20
INK, PAPER, MARK = (238, 238, 238), (24, 24, 26), (255, 196, 0)


def compare(panels: Panels, detail_of: str) -> Image.Image:
    """Draw one column a version; below, the same crops of each.

    Args:
        panels: label -> picture, all showing the same scene; sizes may differ.
        detail_of: label of the version whose richest regions are zoomed into.
    """
    boxes = _detailed_boxes(panels[detail_of])
    width, height = panels[detail_of].size
    shown = PANEL_PX, max(1, round(PANEL_PX * height / width))
    rows = [shown[1], *[PANEL_PX] * len(boxes)]
    sheet = Image.new(
        "RGB",
        (GAP_PX + (PANEL_PX + GAP_PX) * len(panels), LABEL_PX + sum(rows) + GAP_PX * (len(rows) + 1)),
        PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=FONT_PX)
    for column, (label, picture) in enumerate(panels.items()):
        left, top = GAP_PX + column * (PANEL_PX + GAP_PX), LABEL_PX + GAP_PX
        draw.text((left, GAP_PX), f"{label}  {picture.width}x{picture.height}", fill=INK, font=font)
        enlarged = picture.width < shown[0]
        whole = picture.resize(shown, Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS)
        sheet.paste(whole, (left, top))
        for box in boxes:
            x0, y0, x1, y1 = (
                round(v * share) for v, share in zip(box, (shown[0], shown[1]) * 2, strict=True)
            )
            draw.rectangle((left + x0, top + y0, left + x1, top + y1), outline=MARK, width=2)
        top += shown[1] + GAP_PX
        for box in boxes:
            sheet.paste(_zoom(picture, box), (left, top))
            top += PANEL_PX + GAP_PX
    return sheet


def _zoom(picture: Image.Image, box: tuple[float, float, float, float]) -> Image.Image:
    """A crop as large squares of its own pixels: nothing is smoothed that the file does not hold."""
    left, top, right, bottom = box
    width, height = picture.size
    edges = left * width, top * height, right * width, bottom * height
    return picture.resize((PANEL_PX, PANEL_PX), Image.Resampling.NEAREST, box=edges)


def _detailed_boxes(picture: Image.Image) -> list[tuple[float, float, float, float]]:
    """The squares of most contrast that do not overlap: left, top, right, bottom as shares of the sides."""
    width, height = picture.size
    side = min(max(min(width, height) // CROP_SHARE, CROP_LEAST_PX), width, height)
    step = max(side // 4, 1)
    energy = F.avg_pool2d(_squared_gradient(picture), side, stride=step)[0, 0]
    boxes = []
    while len(boxes) < CROPS and energy.max() >= 0:
        row, column = divmod(int(energy.argmax()), energy.shape[1])
        left, top = column * step, row * step
        boxes.append((left / width, top / height, (left + side) / width, (top + side) / height))
        reach = -(-side // step)
        energy[max(0, row - reach + 1) : row + reach, max(0, column - reach + 1) : column + reach] = -1
    return boxes


def _squared_gradient(picture: Image.Image) -> Tensor:
    """(1, 1, H, W) of luma."""
    rgb = picture.convert("RGB")
    pixels = torch.frombuffer(bytearray(rgb.tobytes()), dtype=torch.uint8).view(rgb.height, rgb.width, 3)
    y = luma(pixels.movedim(-1, 0)[None].float() / 255)
    return F.pad(y.diff(dim=3), (0, 1, 0, 0)).square() + F.pad(y.diff(dim=2), (0, 0, 0, 1)).square()
