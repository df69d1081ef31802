"""One sample: a clean crop, the damaged crop, and the photo's caption."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ...degrade.effects.sharpen import usm
from ...image import resize
from ...photos.formats import PhotoError
from .settings import Data

EDGE_PX = 4  # LR pixels between a crop and the border of its window, where there is room; assumed


@dataclass(frozen=True, eq=False)
class Sample:
    """A pair of crops of the same place, as uint8."""

    hr: Tensor  # clean crop (3, scale * c, scale * c)
    lr: Tensor  # damaged crop (3, c, c)
    caption: str = ""  # text or tags of the photo, "" if there is none
    whole: Tensor | None = None  # (3, S, S), the whole damaged photo resized to a square, if requested
    target: Tensor | None = None  # of hr's shape, another network's result for the damaged photo

    def turned(self, rng: random.Random, how: str) -> "Sample":
        """Return the sample mirrored or not ('flip'), in one of 8 symmetries ('all'), or as it is."""
        flip = how != "none" and rng.random() < 0.5
        turns = rng.randrange(4) if how == "all" else 0
        if not flip and not turns:
            return self

        def turn(photo: Tensor) -> Tensor:
            turned = torch.rot90(photo, turns, (1, 2))
            return turned.flip(2) if flip else turned

        whole, target = (None if x is None else turn(x) for x in (self.whole, self.target))
        return replace(self, hr=turn(self.hr), lr=turn(self.lr), whole=whole, target=target)


class Source(Protocol):
    """Photos or pairs with random access."""

    kind: str  # for the log
    names: Sequence[str]
    groups: Sequence[str]  # the photo behind each sample; samples of one photo are held out together
    problems: Mapping[str, str]  # unusable when the source was opened: name -> reason

    def order(self, rng: random.Random) -> list[int]:
        """Return all indices in an order for reading."""
        ...

    def sample(self, index: int, rng: random.Random, data: Data, crop: int) -> Sample:
        """Return a crop of one sample, `crop` LR pixels wide; `rng` is the only source of randomness.

        Raises:
            PhotoError: if the sample can't be used.
        """
        ...


def shuffled(count: int, rng: random.Random) -> list[int]:
    """Return the numbers from 0 to count - 1 in random order."""
    order = list(range(count))
    rng.shuffle(order)
    return order


def place_crop(name: str, size: tuple[int, int], crop: int, rng: random.Random) -> tuple[int, int]:
    """Return top and left of a random crop in a damaged photo of (height, width).

    Raises:
        PhotoError: naming the photo, if it is smaller than the crop.
    """
    spare = [side - crop for side in size]
    if min(spare) < 0:
        raise PhotoError(name, f"{size[1]}x{size[0]} px of lr are too few for a crop of {crop}x{crop}.")
    top, left = (rng.randint(min(EDGE_PX, s // 2), s - min(EDGE_PX, s // 2)) for s in spare)
    return top, left


def square(photo: Tensor, side: int) -> Tensor:
    """Return (3, H, W) uint8 as (3, side, side) uint8, resized as the semantic encoder does."""
    resized = resize(photo[None].float(), side, side, mode="bilinear")
    return resized[0].round_().clamp_(0, 255).byte()


def sharpened(photo: Tensor) -> Tensor:
    """Return (3, H, W) uint8 with the sharpened edges of Real-ESRGAN's targets."""
    return to_bytes(usm(photo[None].float() / 255)[0])


def to_bytes(photo: Tensor) -> Tensor:
    """Return values in [0, 1] as uint8."""
    return photo.mul(255).round_().clamp_(0, 255).byte()
