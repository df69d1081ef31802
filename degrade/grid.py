"""A labelled sheet of one photo under many seeds, for looking at a recipe."""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

from ..fonts import font_for, wrapped
from ..image import from_levels
from ..score.pil_image import to_picture
from ..score.sheet import GAP_PX, INK, PAPER
from .degradation import Degradation, apply
from .labels import describe

CELL_PX = 384
TITLE_PX, LABEL_PX, LINE_PX, LABEL_LINES = 24, 17, 22, 2

Cell = tuple[Image.Image, str, str]  # picture, heading, words


def grid(
    photo: Tensor,
    degradations: Sequence[Degradation],
    *,
    columns: int,
    crop: int,
    cell: int = CELL_PX,
    done: Callable[[int], None] | None = None,
) -> Tensor:
    """Return a sheet with the clean photo and the result of each degradation.

    The whole photo is degraded; every cell shows the same part of it, with the pixels of the damaged photo
    enlarged as squares.

    Args:
        photo: (1, 3, H, W) in [0, 1].
        degradations: at least one, all of one scale that is not larger than the photo.
        columns: cells per row.
        crop: side of the part shown, in pixels of `photo`; the square with most detail. 0 shows everything.
        cell: longer side of a cell in pixels.
        done: called with the number of finished cells.

    Returns:
        (1, 3, H, W) in [0, 1].
    """
    damaged = []
    for degradation in degradations:
        damaged.append(apply(degradation, photo).lr)
        if done:
            done(len(damaged))
    scale = degradations[0].scale
    box = _shown(photo, crop, scale)
    cells: list[Cell] = [(_cell(photo, [scale * edge for edge in box], cell), "clean photo", "")]
    for degradation, lr in zip(degradations, damaged, strict=True):
        cells.append((_cell(lr, box, cell), f"seed {degradation.seed}", describe(degradation)))
    title = f"{degradations[0].recipe}, scale {scale}"
    return from_levels(np.asarray(_sheet(cells, title, columns, cell)))


def _shown(photo: Tensor, crop: int, scale: int) -> tuple[int, int, int, int]:
    """Return top, left, height and width of the square with most detail, in pixels of the damaged photo."""
    height, width = photo.shape[2] // scale, photo.shape[3] // scale
    side = crop // scale
    if not side or side >= max(height, width):
        return 0, 0, height, width
    tall, wide = min(side, height), min(side, width)
    small = F.interpolate(photo.mean(dim=1, keepdim=True), (height, width), mode="area")
    slope = F.pad(small.diff(dim=2), (0, 0, 0, 1)).abs() + F.pad(small.diff(dim=3), (0, 1)).abs()
    # Running sums: a window of any size at the cost of a few additions a pixel.
    sums = F.pad(slope[0, 0].cpu().double().cumsum(0).cumsum(1), (1, 0, 1, 0))
    detail = sums[tall:, wide:] - sums[:-tall, wide:] - sums[tall:, :-wide] + sums[:-tall, :-wide]
    place = int(detail.flatten().argmax())
    top, left = divmod(place, detail.shape[1])
    return top, left, tall, wide


def _cell(photo: Tensor, box: Sequence[int], cell: int) -> Image.Image:
    top, left, height, width = box
    part = to_picture(photo[:, :, top : top + height, left : left + width])
    factor = cell / max(part.size)
    size = (max(1, round(part.width * factor)), max(1, round(part.height * factor)))
    return part.resize(size, Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS)


def _sheet(cells: Sequence[Cell], title: str, columns: int, cell: int) -> Image.Image:
    columns = min(columns, len(cells))
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    tall = max(picture.height for picture, _, _ in cells)
    head, foot = 2 * TITLE_PX, (1 + LABEL_LINES) * LINE_PX
    size = (GAP_PX + columns * (cell + GAP_PX), head + len(rows) * (tall + foot + GAP_PX))
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP_PX, GAP_PX), title, fill=INK, font=font_for(title, TITLE_PX))
    for row, members in enumerate(rows):
        top = head + row * (tall + foot + GAP_PX)
        for column, (picture, heading, words) in enumerate(members):
            left = GAP_PX + column * (cell + GAP_PX)
            sheet.paste(picture, (left, top))
            font = font_for(heading + words, LABEL_PX)
            text = "\n".join([heading, *wrapped(words, font, cell)[:LABEL_LINES]])
            draw.multiline_text((left, top + tall + 4), text, fill=INK, font=font, spacing=4)
    return sheet
