"""One sample: a clean crop, its damaged twin, and what is known of the photo that they are of."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ...degrade.effects.sharpen import usm
from ...image import resize
from ...photos.formats import PhotoError

EDGE_PX = 4  # of LR, kept away from the border of a window where there is room; assumed


@dataclass(frozen=True, eq=False)
class Sample:
    """A pair of crops that show the same place, as bytes.

    Attributes:
        hr: clean (3, scale * c, scale * c) uint8.
        lr: damaged (3, c, c) uint8.
        caption: text or tags of the photo, "" where there is none.
        whole: (3, S, S) uint8, the whole damaged photo squashed to a square, if it was asked for.
        target: what another network made of the damaged photo, as hr, if the source has it.
    """

    hr: Tensor
    lr: Tensor
    caption: str = ""
    whole: Tensor | None = None
    target: Tensor | None = None

    def turned(self, rng: random.Random, how: str) -> "Sample":
        """The sample mirrored or not ('flip'), in one of the 8 ways a square can lie ('all'), or as it is."""
        flip = how != "none" and rng.random() < 0.5
        turns = rng.randrange(4) if how == "all" else 0
        if not flip and not turns:
            return self

        def turn(photo: Tensor) -> Tensor:
            turned = torch.rot90(photo, turns, (1, 2))
            return turned.flip(2) if flip else turned

        whole, target = (None if x is None else turn(x) for x in (self.whole, self.target))
        return replace(self, hr=turn(self.hr), lr=turn(self.lr), whole=whole, target=target)


@dataclass(frozen=True)
class View:
    """What to take of a photo.

    Args:
        crop: side of the damaged crop in pixels.
        scale: size of hr / size of lr.
        whole_px: side of the square of the whole damaged photo; None for no such view.
        sharpen: sharpen hr as in Real-ESRGAN.
        align: crops of stored arrays begin at whole multiples of so many pixels.
    """

    crop: int
    scale: int = 4
    whole_px: int | None = None
    sharpen: bool = False
    align: int = 1


class Source(Protocol):
    """Photos or pairs that can be read in any order."""

    kind: str  # for the log
    names: Sequence[str]
    groups: Sequence[str]  # what each sample was made of: those of one photo are held out together
    problems: Mapping[str, str]  # what was found useless when it was opened: name -> why

    def order(self, rng: random.Random) -> list[int]:
        """All samples once, in an order to read them in."""
        ...

    def sample(self, index: int, rng: random.Random, view: View) -> Sample:
        """A crop of one sample; everything random comes from `rng`.

        Raises:
            PhotoError: if this one can't be used.
        """
        ...


def shuffled(count: int, rng: random.Random) -> list[int]:
    """The numbers from 0 to count - 1 in random order."""
    order = list(range(count))
    rng.shuffle(order)
    return order


def place_crop(name: str, size: tuple[int, int], crop: int, rng: random.Random) -> tuple[int, int]:
    """Top and left of a random crop in a damaged photo of (height, width).

    Raises:
        PhotoError: naming the photo, if it is smaller than the crop.
    """
    spare = [side - crop for side in size]
    if min(spare) < 0:
        raise PhotoError(name, f"{size[1]}x{size[0]} px of lr are too few for a crop of {crop}x{crop}.")
    top, left = (rng.randint(min(EDGE_PX, s // 2), s - min(EDGE_PX, s // 2)) for s in spare)
    return top, left


def squashed(photo: Tensor, side: int) -> Tensor:
    """(3, H, W) uint8 -> (3, side, side) uint8, resized as the semantic encoder would."""
    resized = resize(photo[None].float(), side, side, mode="bilinear")
    return resized[0].round_().clamp_(0, 255).byte()


def sharpened(photo: Tensor) -> Tensor:
    """(3, H, W) uint8 with the sharper edges of Real-ESRGAN's targets."""
    return to_bytes(usm(photo[None].float() / 255)[0])


def to_bytes(photo: Tensor) -> Tensor:
    """From [0, 1] to uint8."""
    return photo.mul(255).round_().clamp_(0, 255).byte()
