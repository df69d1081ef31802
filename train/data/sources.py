"""Sources of samples: stored pairs, clean photos that are damaged when drawn, and arrays."""

import random
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...degrade.dataset.whole_photo import check_whole
from ...degrade.degradation import apply
from ...degrade.recipe import Recipe
from ...image import from_levels
from ...photos.formats import PhotoError
from ...photos.reader import Photo
from .folders import PhotoFolder
from .sample import Sample, Source, place_crop, sharpened, shuffled, square, to_bytes
from .settings import Data
from .shards import Shards

AROUND_PX = 16  # LR pixels damaged around a crop and cut away, so that crops have no borders; assumed
WHOLE_PIXELS = 1080 * 1920  # photos that are damaged whole are shrunk to this first; the size of KwaiSR's hr


class _Stored(Source):
    """Photos or pairs as files: in a folder, or in shards."""

    def __init__(self, store: PhotoFolder | Shards) -> None:
        self.store = store
        self.names, self.groups, self.problems = store.names, store.groups, store.problems
        self.kind = f"pairs in {store.kind}"

    def order(self, rng: random.Random) -> list[int]:
        return self.store.order(rng)


class StoredPairs(_Stored):
    """Pairs that exist as files."""

    def sample(self, index: int, rng: random.Random, data: Data, crop: int) -> Sample:
        """Return a crop of a pair.

        Raises:
            PhotoError: if one of its photos can't be read, or the sizes don't fit.
        """
        hr, lr = self.store.open(index, "hr"), self.store.open(index, "lr")
        where, scale = self.store.where(index, "hr"), data.scale
        if hr.size != (lr.width * scale, lr.height * scale):
            raise PhotoError(
                where, f"{hr.width}x{hr.height} px, not {scale} times its lr of {lr.width}x{lr.height} px."
            )
        top, left = place_crop(where, (lr.height, lr.width), crop, rng)
        clean = _pixels(hr, (top * scale, left * scale, crop * scale, crop * scale))
        return Sample(
            hr=sharpened(clean) if data.sharpen else clean,
            lr=_pixels(lr, (top, left, crop, crop)),
            caption=self.store.caption(index),
            whole=square(_pixels(lr), data.whole_px) if data.semantics == "whole" else None,
        )


class DamagedPhotos(_Stored):
    """Clean photos; for each sample, a window is damaged by a new draw of a recipe."""

    def __init__(self, store: PhotoFolder | Shards, recipe: Recipe) -> None:
        super().__init__(store)
        self.recipe, self.kind = recipe, f"photos in {store.kind} damaged by {recipe.name}"

    def sample(self, index: int, rng: random.Random, data: Data, crop: int) -> Sample:
        """Return a crop of a damaged window, or of the whole photo if semantics are read from that.

        The position of the crop in the window is random, and so is its offset to the blocks of codecs.

        Raises:
            PhotoError: if the photo can't be read or is too small.
        """
        photo, where, scale = self.store.open(index, "hr"), self.store.where(index, "hr"), data.scale
        recipe = self.recipe.sharpened() if data.sharpen else self.recipe
        degradation = recipe.draw(rng.getrandbits(48), scale)
        whole = data.semantics == "whole"
        clean = from_levels(_whole(photo, where) if whole else _window(photo, where, rng, scale, crop))
        try:
            hr, lr = (to_bytes(side[0]) for side in apply(degradation, clean))
        except ValueError as error:
            raise PhotoError(where, str(error)) from None
        top, left = place_crop(where, (lr.shape[1], lr.shape[2]), crop, rng)
        return Sample(
            hr=_cut(hr, top * scale, left * scale, crop * scale),
            lr=_cut(lr, top, left, crop),
            caption=self.store.caption(index),
            whole=square(lr, data.whole_px) if whole else None,
        )


class Arrays(Source):
    """Memory-mapped hr.npy (N, scale * h, scale * w, 3) and lr.npy (N, h, w, 3), uint8.

    target.npy, of hr's shape, may hold another network's results for the damaged photos.

    Raises:
        ValueError: if the shapes don't fit each other or the scale.
    """

    kind = "pairs in arrays"

    def __init__(self, folder: Path, scale: int) -> None:
        self.folder = folder
        hr, lr, target = self.sides
        count, height, width = lr.shape[:3]
        wanted = ((count, height * scale, width * scale, 3), (count, height, width, 3))
        if (hr.shape, lr.shape) != wanted or not hr.dtype == lr.dtype == np.uint8:
            raise ValueError(
                f"{folder}: at scale {scale}, hr.npy {wanted[0]} and lr.npy {wanted[1]}, uint8, would fit; "
                f"they are {hr.shape} {hr.dtype} and {lr.shape} {lr.dtype}."
            )
        if target is not None and (target.shape, target.dtype) != (hr.shape, np.uint8):
            raise ValueError(
                f"{folder}: target.npy is {target.shape} {target.dtype}; expected {wanted[0]} "
                "uint8, as hr.npy."
            )
        self.names = self.groups = [str(index) for index in range(count)]
        self.problems = {}

    @cached_property
    def sides(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """The clean and the damaged photos, and another network's results, if there are any."""
        hr, lr = (np.load(self.folder / f"{side}.npy", mmap_mode="r") for side in ("hr", "lr"))
        target = self.folder / "target.npy"
        return hr, lr, np.load(target, mmap_mode="r") if target.is_file() else None

    def __getstate__(self) -> dict[str, object]:
        """Leave the pixels out: another process opens the files itself."""
        return {name: value for name, value in self.__dict__.items() if name != "sides"}

    def order(self, rng: random.Random) -> list[int]:
        """Return all indices, shuffled."""
        return shuffled(len(self.names), rng)

    def sample(self, index: int, rng: random.Random, data: Data, crop: int) -> Sample:
        """Return a crop of a pair.

        Raises:
            PhotoError: if the crop is larger than the photos.
        """
        hr, lr, target = self.sides
        height, width = lr.shape[1:3]
        top, left = place_crop(f"{self.folder}/lr.npy", (height, width), crop, rng)
        top, left = (side - side % data.align for side in (top, left))

        def large(side: np.ndarray) -> Tensor:
            return _bytes(side[index, top * data.scale :, left * data.scale :], crop * data.scale)

        clean = large(hr)
        return Sample(
            hr=sharpened(clean) if data.sharpen else clean,
            lr=_bytes(lr[index, top:, left:], crop),
            whole=square(_bytes(lr[index]), data.whole_px) if data.semantics == "whole" else None,
            target=None if target is None else large(target),
        )


def _window(photo: Photo, where: str, rng: random.Random, scale: int, crop: int) -> np.ndarray:
    """Return a random window of a clean photo, larger than the crop if the photo is.

    Raises:
        PhotoError: if the photo is smaller than the crop.
    """
    sides = [min(side // scale, crop + AROUND_PX) * scale for side in (photo.height, photo.width)]
    if min(sides) < crop * scale:
        raise PhotoError(
            where,
            f"{photo.width}x{photo.height} px are too few for a crop of {crop * scale}x{crop * scale}.",
        )
    top, left = rng.randint(0, photo.height - sides[0]), rng.randint(0, photo.width - sides[1])
    return photo.rgb((top, left, sides[0], sides[1]))


def _whole(photo: Photo, where: str) -> np.ndarray:
    check_whole(photo, Path(where))
    pixels = photo.rgb()
    shrink = (WHOLE_PIXELS / (photo.width * photo.height)) ** 0.5
    if shrink >= 1:
        return pixels
    pixels = photo.rgb(deep=False)
    size = (round(photo.width * shrink), round(photo.height * shrink))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def _pixels(photo: Photo, box: tuple[int, int, int, int] | None = None) -> Tensor:
    """Return a photo, or its box (top, left, height, width), as (3, H, W) uint8."""
    return _bytes(photo.rgb(box, deep=False))


def _cut(photo: Tensor, top: int, left: int, side: int) -> Tensor:
    return photo[:, top : top + side, left : left + side].contiguous()


def _bytes(photo: np.ndarray, side: int | None = None) -> Tensor:
    """Return (H, W, 3), or its first `side` rows and columns, as (3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(photo[:side, :side].transpose(2, 0, 1)))
