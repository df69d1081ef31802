"""Work on large pictures in bands of rows: on another device, in little memory, to the same pixels."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

BAND_PX = 1 << 19  # pixels of a band, 6 MiB of float32 RGB; larger ones are slower on a CPU
MARGINS = 4  # a band is at least so many times as high as what is read above and below it; assumed


class Band(NamedTuple):
    """Rows `top` to `bottom` of photo `index`; `parts` begin `above` rows higher, each (1, C, h, W)."""

    index: int
    top: int
    bottom: int
    above: int
    parts: list[Tensor]


def bands(pictures: Sequence[Tensor], reach: int = 0, device: torch.device | None = None) -> Iterator[Band]:
    """The bands of pictures (B or 1, C, H, W) of one size, photo by photo, float32 on `device`.

    Args:
        pictures: those of one photo serve all.
        reach: rows that the work reads above and below a row.
        device: where the work is done; that of the first picture if not given.
    """
    height, width = pictures[0].shape[-2:]
    rows = max(1, BAND_PX // width, MARGINS * reach)
    for index in range(max(len(picture) for picture in pictures)):
        photos = [picture[index if len(picture) > 1 else 0][None] for picture in pictures]
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            first, last = max(0, top - reach), min(bottom + reach, height)
            parts = [photo[:, :, first:last] for photo in photos]
            parts = [part.to(device or part.device, torch.float32).contiguous() for part in parts]
            yield Band(index, top, bottom, top - first, parts)


def in_bands(
    work: Callable[..., Tensor],
    pictures: Sequence[Tensor],
    reach: int = 0,
    device: torch.device | None = None,
) -> Tensor:
    """What `work` makes of pictures (B or 1, C, H, W) of one size: (B, c, H, W), where and as the first is.

    Args:
        work: takes as many parts (1, C, h, W), float32 on `device`, and returns (1, c, h, W). A row that it
            makes depends on no row that is further away than `reach`; beyond the edges it repeats them, or
            reads nothing.
        pictures: as for `bands`.
        reach: as for `bands`.
        device: as for `bands`.
    """
    batch, (height, width) = max(len(picture) for picture in pictures), pictures[0].shape[-2:]
    out = None
    for band in bands(pictures, reach, device):
        made = work(*band.parts).narrow(2, band.above, band.bottom - band.top)
        if out is None:  # in the layout of an IMAGE
            size = batch, made.shape[1], height, width
            like = {"dtype": pictures[0].dtype, "device": pictures[0].device}
            out = torch.empty(size, **like, memory_format=torch.channels_last)
        out[band.index, :, band.top : band.bottom] = made[0].to(out)
    return out if out is not None else pictures[0].new_empty((0, *pictures[0].shape[1:]))
