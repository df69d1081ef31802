"""Seams: steps along the borders of the tiles that a picture was restored in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..sample.tiles import split

SEGMENT_PX = 8  # assumed: long enough for texture to cancel, short enough for seams that change sign
BESIDE_PX = (2, 5)  # assumed: nearest and farthest step to compare with; the nearest pixel may be blended
FLOOR = 0.25  # of 255, assumed: keeps the ratio of flat areas near 1
CANVAS_PX = 64  # photos are padded to multiples of it before they are restored
CELLS_PX = (8, 4)  # side of a latent cell of Stable Diffusion, and of the bundled model


@dataclass(frozen=True)
class Borders:
    """Borders between tiles: one at row or column k lies between pixels k - 1 and k."""

    rows: tuple[int, ...] = ()
    columns: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check that there are borders.

        Raises:
            ValueError: if there are none.
        """
        if not self.rows and not self.columns:
            raise ValueError("There are no borders; a picture made in one piece has no seams.")


def tile_borders(height: int, width: int, tile: int, overlap: int) -> tuple[Borders, ...]:
    """Return the rows and columns inside a photo at which tiles begin and end.

    Tiles begin at whole latent cells, whose size is unknown, so there is one result per cell size, or a
    single one if they agree.

    Args:
        height: height of the restored photo in pixels.
        width: width of the restored photo in pixels.
        tile: side of a tile in pixels.
        overlap: minimum width in pixels that neighbouring tiles share.

    Raises:
        ValueError: if the photo is a single tile, or the overlap doesn't fit the tile.
    """
    plans = [_ends(height, width, tile, overlap, cell) for cell in CELLS_PX]
    if not any(map(any, plans)):
        raise ValueError(
            f"A photo of {width}x{height} px is one tile of {tile} px and has no seams. "
            "Leave the tile size out."
        )
    return tuple(dict.fromkeys(Borders(*plan) for plan in plans if any(plan)))


def _ends(height: int, width: int, tile: int, overlap: int, cell: int) -> tuple[tuple[int, ...], ...]:
    """Return the rows and columns at which tiles begin and end.

    Raises:
        ValueError: if the overlap doesn't fit the tile.
    """
    cells, shared = tile // cell, overlap // cell
    if not 0 <= shared < cells:
        raise ValueError(
            f"The tiles are {tile} px with an overlap of {overlap} px; expected an overlap that is not "
            f"negative and at least {cell} px smaller. Give both as they were when the photo was restored."
        )
    canvas = [-(-side // CANVAS_PX) * (CANVAS_PX // cell) for side in (height, width)]
    tiles = [box.scaled(cell) for box in split(*canvas, tile=cells, overlap=shared)]
    rows = {end for box in tiles for end in (box.top, box.top + box.height) if 0 < end < height}
    columns = {end for box in tiles for end in (box.left, box.left + box.width) if 0 < end < width}
    return tuple(sorted(rows)), tuple(sorted(columns))


def seam_score(image: Tensor, borders: Borders | Sequence[Borders]) -> Tensor:
    """Return the steps of RGB (B, 3, H, W) in [0, 255] across borders over those beside them: (B,).

    1 is no seams. For several alternatives, the highest score is returned. A step is the difference of
    neighbours averaged over 8 px along the border: grain cancels, an offset between two tiles remains. A
    strong edge of the photo on a border counts too.

    Raises:
        ValueError: if a border lies outside the image, or there is no room beside it.
    """
    if not isinstance(borders, Borders):
        return torch.stack([seam_score(image, plan) for plan in borders]).amax(dim=0)
    for name, places, size in (
        ("row", borders.rows, image.shape[-2]),
        ("column", borders.columns, image.shape[-1]),
    ):
        outside = [place for place in places if not 0 < place < size]
        if outside:
            raise ValueError(f"A tile border at {name} {outside[0]} lies outside the image of {size} px.")
    sides = ((image, borders.columns), (image.transpose(-1, -2), borders.rows))
    steps = [_steps(turned, places) for turned, places in sides if places]
    across, beside = (torch.cat(part, dim=1).mean(dim=1) for part in zip(*steps, strict=True))
    return (across + FLOOR) / (beside + FLOOR)


def _steps(image: Tensor, places: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return the mean step across each column border and beside it, both (B, borders).

    Raises:
        ValueError: if there is no room beside a border.
    """
    # A last segment that is not full would count for less.
    steps = F.avg_pool2d(image.diff(dim=-1), (min(SEGMENT_PX, image.shape[-2]), 1)).abs().mean(dim=(1, 2))
    near, far = BESIDE_PX
    across, beside = [], []
    for place in places:
        at = [place - 1 + sign * d for d in range(near, far + 1) for sign in (-1, 1)]
        at = [i for i in at if 0 <= i < steps.shape[1] and i + 1 not in places]
        if not at:
            raise ValueError(f"The tile border at {place} has other borders on every pixel beside it.")
        across.append(steps[:, place - 1])
        beside.append(steps[:, at].mean(dim=1))
    return torch.stack(across, dim=1), torch.stack(beside, dim=1)
