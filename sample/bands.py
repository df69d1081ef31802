"""Processing of large pictures in bands of rows, on a chosen device and in little memory.

The pixels are the same as those of processing the whole picture at once.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

BAND_PX = 1 << 19  # pixels of a band, 6 MiB of float32 RGB; larger ones are slower on a CPU
MARGINS = 4  # least height of a band, in multiples of its reach; assumed


class Band(NamedTuple):
    """One band of a photo of the batch.

    Attributes:
        photo: index of the photo in the batch.
        top: first row of the band.
        bottom: row after its last.
        above: rows that the parts hold above `top`.
        parts: one tensor (1, C, h, W) for each picture; row 0 is row `top - above` of the picture.
    """

    photo: int
    top: int
    bottom: int
    above: int
    parts: list[Tensor]


def bands(pictures: Sequence[Tensor], reach: int = 0, device: torch.device | None = None) -> Iterator[Band]:
    """Yield the bands of pictures (B or 1, C, H, W) of one size, photo by photo, in float32 on `device`.

    Args:
        pictures: pictures of equal height and width; one with a batch of 1 serves every photo.
        reach: number of rows that the processing of a row reads above and below it.
        device: device of the parts; by default that of each picture.
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
    """Return `work` applied to pictures (B or 1, C, H, W) of one size, as (B, c, H, W).

    The result has the dtype and device of the first picture.

    Args:
        work: function that takes one part (1, C, h, W) for each picture, in float32 on `device`, and returns
            (1, c, h, W). A row of its result depends on no row further away than `reach`; beyond the edges of
            the picture it repeats the edge rows or reads nothing.
        pictures: as for `bands`.
        reach: as for `bands`.
        device: as for `bands`.
    """
    batch, (height, width) = max(len(picture) for picture in pictures), pictures[0].shape[-2:]
    out = None
    for band in bands(pictures, reach, device):
        made = work(*band.parts).narrow(2, band.above, band.bottom - band.top)
        if out is None:  # in the memory layout of an IMAGE
            size = batch, made.shape[1], height, width
            like = {"dtype": pictures[0].dtype, "device": pictures[0].device}
            out = torch.empty(size, **like, memory_format=torch.channels_last)
        out[band.photo, :, band.top : band.bottom] = made[0].to(out)
    return out if out is not None else pictures[0].new_empty((0, *pictures[0].shape[1:]))
