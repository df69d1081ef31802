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
from .sample import Sample, Source, View, place_crop, sharpened, shuffled, square, to_bytes
from .shards import Shards

AROUND_PX = 16  # LR pixels damaged around a crop and cut away, so that crops have no borders; assumed
WHOLE_PIXELS = 1080 * 1920  # photos that are damaged whole are shrunk to this first; the size of KwaiSR's hr


# Photos or pairs as files: a folder, or shards.
Store = PhotoFolder | Shards


class _Stored(Source):
    def __init__(self, store: Store) -> None:
        self.store = store
        self.names, self.groups, self.problems = store.names, store.groups, store.problems

    def order(self, rng: random.Random) -> list[int]:
        return self.store.order(rng)


class StoredPairs(_Stored):
    """Existing pairs."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.kind = f"pairs in a {store.kind}" if store.kind == "folder" else "pairs in shards"

    def sample(self, index: int, rng: random.Random, view: View) -> Sample:
        """Return a crop of a pair.

        Raises:
            PhotoError: if one of its photos can't be read, or the sizes don't fit.
        """
        hr, lr = self.store.open(index, "hr"), self.store.open(index, "lr")
        where, scale, crop = self.store.where(index, "hr"), view.scale, view.crop
        if hr.size != (lr.width * scale, lr.height * scale):
            raise PhotoError(
                where, f"{hr.width}x{hr.height} px, not {scale} times its lr of {lr.width}x{lr.height} px."
            )
        top, left = place_crop(where, (lr.height, lr.width), crop, rng)
        clean = _pixels(hr, (top * scale, left * scale, crop * scale, crop * scale))
        return Sample(
            hr=sharpened(clean) if view.sharpen else clean,
            lr=_pixels(lr, (top, left, crop, crop)),
            caption=self.store.caption(index),
            whole=square(_pixels(lr), view.whole_px) if view.whole_px else None,
        )


class DamagedPhotos(_Stored):
    """Clean photos; for each sample, a window is damaged by a new draw of a recipe."""

    def __init__(self, store: Store, recipe: Recipe) -> None:
        super().__init__(store)
        self.recipe = recipe
        self.kind = f"photos in {'shards' if store.kind == 'shards' else 'a folder'} damaged by {recipe.name}"

    def sample(self, index: int, rng: random.Random, view: View) -> Sample:
        """Return a crop of a damaged window, or of the whole photo if the view includes it.

        The position of the crop in the window is random, and so is its offset to the blocks of codecs.

        Raises:
            PhotoError: if the photo can't be read or is too small.
        """
        photo, where, scale = self.store.open(index, "hr"), self.store.where(index, "hr"), view.scale
        recipe = self.recipe.sharpened() if view.sharpen else self.recipe
        degradation = recipe.draw(rng.getrandbits(48), scale)
        clean = from_levels(_whole(photo, where) if view.whole_px else _window(photo, where, rng, view))
        try:
            hr, lr = (to_bytes(side[0]) for side in apply(degradation, clean))
        except ValueError as error:
            raise PhotoError(where, str(error)) from None
        top, left = place_crop(where, (lr.shape[1], lr.shape[2]), view.crop, rng)
        return Sample(
            hr=_cut(hr, top * scale, left * scale, view.crop * scale),
            lr=_cut(lr, top, left, view.crop),
            caption=self.store.caption(index),
            whole=square(lr, view.whole_px) if view.whole_px else None,
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
        count, height, width = self.lr.shape[:3]
        wanted = ((count, height * scale, width * scale, 3), (count, height, width, 3))
        if (self.hr.shape, self.lr.shape) != wanted or not self.hr.dtype == self.lr.dtype == np.uint8:
            raise ValueError(
                f"{folder}: at scale {scale}, hr.npy {wanted[0]} and lr.npy {wanted[1]}, uint8, would fit; "
                f"they are {self.hr.shape} {self.hr.dtype} and {self.lr.shape} {self.lr.dtype}."
            )
        if self.target is not None and (self.target.shape, self.target.dtype) != (self.hr.shape, np.uint8):
            raise ValueError(
                f"{folder}: target.npy is {self.target.shape} {self.target.dtype}; expected {wanted[0]} "
                "uint8, as hr.npy."
            )
        self.names = self.groups = [str(index) for index in range(count)]
        self.problems = {}

    # Opened on use: a new process gets the name of the folder, not the pixels.
    @cached_property
    def hr(self) -> np.ndarray:
        """The clean photos."""
        return np.load(self.folder / "hr.npy", mmap_mode="r")

    @cached_property
    def lr(self) -> np.ndarray:
        """The damaged photos."""
        return np.load(self.folder / "lr.npy", mmap_mode="r")

    @cached_property
    def target(self) -> np.ndarray | None:
        """Another network's results, if there are any."""
        file = self.folder / "target.npy"
        return np.load(file, mmap_mode="r") if file.is_file() else None

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name not in ("hr", "lr", "target")}

    def order(self, rng: random.Random) -> list[int]:
        """Return all indices, shuffled."""
        return shuffled(len(self.names), rng)

    def sample(self, index: int, rng: random.Random, view: View) -> Sample:
        """Return a crop of a pair.

        Raises:
            PhotoError: if the crop is larger than the photos.
        """
        size = (self.lr.shape[1], self.lr.shape[2])
        top, left = place_crop(f"{self.folder}/lr.npy", size, view.crop, rng)
        top, left = (side - side % view.align for side in (top, left))

        def large(side: np.ndarray) -> Tensor:
            return _bytes(side[index, top * view.scale :, left * view.scale :], view.crop * view.scale)

        hr, target = large(self.hr), None if self.target is None else large(self.target)
        return Sample(
            hr=sharpened(hr) if view.sharpen else hr,
            lr=_bytes(self.lr[index, top:, left:], view.crop),
            whole=square(_bytes(self.lr[index], max(size)), view.whole_px) if view.whole_px else None,
            target=target,
        )


def _window(photo: Photo, where: str, rng: random.Random, view: View) -> np.ndarray:
    """Return a random window of a clean photo, larger than the crop if the photo is.

    Raises:
        PhotoError: if the photo is smaller than the crop.
    """
    sides = [
        min(side // view.scale, view.crop + AROUND_PX) * view.scale for side in (photo.height, photo.width)
    ]
    if min(sides) < view.crop * view.scale:
        raise PhotoError(
            where,
            f"{photo.width}x{photo.height} px are too few for a crop of "
            f"{view.crop * view.scale}x{view.crop * view.scale}.",
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
    return torch.from_numpy(np.ascontiguousarray(photo.rgb(box, deep=False).transpose(2, 0, 1)))


def _cut(photo: Tensor, top: int, left: int, side: int) -> Tensor:
    return photo[:, top : top + side, left : left + side].contiguous()


def _bytes(photo: np.ndarray, side: int) -> Tensor:
    """Return the first `side` rows and columns of (H, W, 3) as (3, side, side)."""
    return torch.from_numpy(np.ascontiguousarray(photo[:side, :side].transpose(2, 0, 1)))
