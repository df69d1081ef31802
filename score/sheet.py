"""A sheet that compares pictures of one scene side by side, whole and enlarged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageOps
from torch import Tensor

from ..color import luma
from ..fonts import font_for, shortened
from ..image import same_aspect
from .pil_image import from_picture

Panel = tuple[str, Image.Image]  # label, picture
Box = tuple[float, float, float, float]  # left, top, right, bottom as shares of the sides

FIND = ("detail", "difference")
PANEL_PX, TALLEST_PX = 420, 840  # width of a column, and the most height that a whole picture gets
CROP_SHARE = 5  # a crop is a fifth of the shorter side, ...
CROP_LEAST_PX = 96  # ... but shows at least this much of the largest picture
GAP_PX, LABEL_PX, FONT_PX, TITLE_PX = 12, 34, 20, 26
INK, FAINT, PAPER, MARK = (238, 238, 238), (160, 160, 165), (24, 24, 26), (255, 196, 0)
WHOLE = (0.0, 0.0, 1.0, 1.0)


def compare(
    panels: Sequence[Panel], *, crops: int = 2, crop_px: int = 0, find: str = "detail", title: str = ""
) -> Image.Image:
    """Return a sheet with a column per picture: the whole picture, and below it enlarged crops.

    Args:
        panels: labels and pictures of one scene, of any size; at least one.
        crops: number of crops; fewer if more don't fit without overlapping.
        crop_px: side of a crop in pixels of the largest picture; 0 is a fifth of its shorter side.
        find: place crops where the last picture has most "detail", or where the others have most "difference"
            from it.
        title: a line above everything.

    Raises:
        ValueError: if the aspect ratios differ, or one picture alone is searched for differences.
    """
    largest = max((picture for _, picture in panels), key=lambda picture: picture.width * picture.height)
    _check_shapes(panels, largest)
    boxes = places(interest([p for _, p in panels], largest.size, find), crops, crop_px) if crops else []
    share = min(PANEL_PX / largest.width, TALLEST_PX / largest.height)
    shown = max(1, round(largest.width * share)), max(1, round(largest.height * share))
    head = TITLE_PX + 2 * GAP_PX if title.strip() else 0
    rows = [shown[1], *[PANEL_PX] * len(boxes)]
    width = GAP_PX + (PANEL_PX + GAP_PX) * len(panels)
    sheet = Image.new("RGB", (width, head + LABEL_PX + sum(rows) + GAP_PX * (len(rows) + 1)), PAPER)
    font = font_for(title, TITLE_PX)
    line = shortened(title, font, width - 2 * GAP_PX)
    ImageDraw.Draw(sheet).text((GAP_PX, GAP_PX), line, fill=INK, font=font)
    for column, panel in enumerate(panels):
        _draw_column(sheet, (GAP_PX + column * (PANEL_PX + GAP_PX), head), panel, shown, boxes)
    return sheet


def stacked(sheets: Sequence[Image.Image]) -> Image.Image:
    """Return sheets of one width as one picture, one below the other."""
    return Image.fromarray(np.concatenate([np.asarray(sheet) for sheet in sheets]))


def level(sheets: Sequence[Image.Image]) -> list[Image.Image]:
    """Return the sheets padded to one height; some may have fewer crops than others."""
    height = max(sheet.height for sheet in sheets)
    return [ImageOps.expand(sheet, (0, 0, 0, height - sheet.height), PAPER) for sheet in sheets]


def _check_shapes(panels: Sequence[Panel], largest: Image.Image) -> None:
    for label, picture in panels:
        # A size that was divided by a scale is known to within a pixel.
        if not same_aspect(picture.size, largest.size, slack_px=1):
            raise ValueError(
                f"'{label}' is {picture.width}x{picture.height} px, which is another shape than "
                f"{largest.width}x{largest.height} px; expected pictures of one scene, cropped alike. "
                "Crop or resize it to fit the others."
            )


def _draw_column(
    sheet: Image.Image, corner: tuple[int, int], panel: Panel, shown: tuple[int, int], boxes: list[Box]
) -> None:
    (label, picture), (left, top) = panel, corner
    draw = ImageDraw.Draw(sheet)
    font = font_for(label, FONT_PX)
    size = f"{picture.width}x{picture.height}"
    space = PANEL_PX - GAP_PX - font.getlength(size)
    draw.text((left, top + GAP_PX), shortened(label, font, space), fill=INK, font=font)
    draw.text((left + PANEL_PX, top + GAP_PX), size, fill=FAINT, font=font_for(size, FONT_PX), anchor="ra")
    top += LABEL_PX + GAP_PX
    middle = left + (PANEL_PX - shown[0]) // 2
    sheet.paste(cut(picture, WHOLE, shown), (middle, top))
    for box in boxes:
        x0, y0, x1, y1 = (round(edge * side) for edge, side in zip(box, shown * 2, strict=True))
        draw.rectangle((middle + x0, top + y0, middle + x1, top + y1), outline=MARK, width=2)
    top += shown[1] + GAP_PX
    for box in boxes:
        sheet.paste(cut(picture, box, (PANEL_PX, PANEL_PX)), (left, top))
        top += PANEL_PX + GAP_PX


def cut(picture: Image.Image, box: Box, size: tuple[int, int]) -> Image.Image:
    """Return a part of a picture; enlarged with nearest neighbour, so that single pixels stay visible."""
    left, top, right, bottom = (edge * side for edge, side in zip(box, picture.size * 2, strict=True))
    enlarged = right - left < size[0]
    way = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
    return picture.resize(size, way, box=(left, top, right, bottom))


def interest(pictures: Sequence[Image.Image], size: tuple[int, int], find: str) -> Tensor:
    """Return the detail or difference at every pixel of the largest picture, at least 0: (1, 1, H, W).

    Raises:
        ValueError: if one picture alone is searched for differences.
    """
    *others, last = (
        from_picture(picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)) for picture in pictures
    )
    if find == "difference":
        if not others:
            raise ValueError("One picture alone has no difference. Give another one, or find 'detail'.")
        return sum(((other - last).square() for other in others), torch.zeros_like(last)).sum(1, keepdim=True)
    y = luma(last)
    return F.pad(y.diff(dim=3), (0, 1, 0, 0)).square() + F.pad(y.diff(dim=2), (0, 0, 0, 1)).square()


def places(seen: Tensor, crops: int, crop_px: int) -> list[Box]:
    """Return the non-overlapping squares of highest interest."""
    height, width = seen.shape[-2:]
    side = min(crop_px or max(min(width, height) // CROP_SHARE, CROP_LEAST_PX), width, height)
    step = max(side // 4, 1)
    sums = F.avg_pool2d(seen, side, stride=step)[0, 0]
    boxes = []
    while len(boxes) < crops and sums.max() >= 0:
        row, column = divmod(int(sums.argmax()), sums.shape[1])
        left, top = column * step, row * step
        boxes.append((left / width, top / height, (left + side) / width, (top + side) / height))
        reach = -(-side // step)
        sums[max(0, row - reach + 1) : row + reach, max(0, column - reach + 1) : column + reach] = -1
    return boxes
