"""Where samples come from: stored pairs, clean photos that are damaged as they are drawn, and arrays."""

import random
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...degrade.dataset.files import check_whole
from ...degrade.degradation import apply
from ...degrade.recipe import Recipe
from ...image import from_levels
from ...photos.formats import PhotoError
from ...photos.reader import Photo
from .sample import Sample, Source, View, place_crop, sharpened, shuffled, squashed, to_bytes

AROUND_PX = 16  # of LR, damaged around a crop and cut away, so that it has no borders of its own; assumed
WHOLE_PIXELS = 1080 * 1920  # a photo that is damaged whole is made this small first; the size of KwaiSR's hr


class Store(Protocol):
    """Photos or pairs as files, wherever they lie."""

    kind: str
    names: list[str]
    groups: list[str]  # what each sample was made of: those of one photo are held out together
    problems: dict[str, str]

    def open(self, index: int, side: str) -> Photo:
        """The decoded photo."""
        ...

    def caption(self, index: int) -> str:
        """Its text or tags."""
        ...

    def order(self, rng: random.Random) -> list[int]:
        """All samples once."""
        ...

    def where(self, index: int, side: str) -> str:
        """Its file, for messages."""
        ...


class _Stored(Source):
    def __init__(self, store: Store) -> None:
        self.store = store
        self.names, self.groups, self.problems = store.names, store.groups, store.problems

    def order(self, rng: random.Random) -> list[int]:
        return self.store.order(rng)


class StoredPairs(_Stored):
    """Pairs that were made before."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.kind = f"pairs in a {store.kind}" if store.kind == "folder" else "pairs in shards"

    def sample(self, index: int, rng: random.Random, view: View) -> Sample:
        """A crop of a pair.

        Raises:
            PhotoError: if one of its photos can't be read, or they don't fit.
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
            whole=squashed(_pixels(lr), view.whole_px) if view.whole_px else None,
        )


class DamagedPhotos(_Stored):
    """Clean photos, of which a window is damaged by a fresh draw of a recipe."""

    def __init__(self, store: Store, recipe: Recipe) -> None:
        super().__init__(store)
        self.recipe = recipe
        self.kind = f"photos in {'shards' if store.kind == 'shards' else 'a folder'} damaged by {recipe.name}"

    def sample(self, index: int, rng: random.Random, view: View) -> Sample:
        """A crop of a damaged window, or of the whole photo where the view asks for that.

        The crop lies anywhere in the window, and so on any phase of the blocks that codecs make.

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
            whole=squashed(lr, view.whole_px) if view.whole_px else None,
        )


class Arrays(Source):
    """Two files of numpy, hr.npy (N, scale * h, scale * w, 3) and lr.npy (N, h, w, 3), uint8, read in place.

    A third, target.npy, of hr's shape, may hold what another network made of the damaged photos.

    Raises:
        ValueError: if they don't fit each other or the scale.
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

    # Opened where they are used: a process that is started gets the folder's name, not the pixels.
    @cached_property
    def hr(self) -> np.ndarray:
        """Clean photos."""
        return np.load(self.folder / "hr.npy", mmap_mode="r")

    @cached_property
    def lr(self) -> np.ndarray:
        """Damaged photos."""
        return np.load(self.folder / "lr.npy", mmap_mode="r")

    @cached_property
    def target(self) -> np.ndarray | None:
        """What another network made of them."""
        file = self.folder / "target.npy"
        return np.load(file, mmap_mode="r") if file.is_file() else None

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name not in ("hr", "lr", "target")}

    def order(self, rng: random.Random) -> list[int]:
        """All samples, shuffled."""
        return shuffled(len(self.names), rng)

    def sample(self, index: int, rng: random.Random, view: View) -> Sample:
        """A crop of a pair.

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
            whole=squashed(_bytes(self.lr[index], max(size)), view.whole_px) if view.whole_px else None,
            target=target,
        )


def _window(photo: Photo, where: str, rng: random.Random, view: View) -> np.ndarray:
    """A random part of a clean photo, larger than the crop where the photo is.

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
    """(3, H, W) uint8 of a photo or of the box (top, left, height, width) in it."""
    return torch.from_numpy(np.ascontiguousarray(photo.rgb(box, deep=False).transpose(2, 0, 1)))


def _cut(photo: Tensor, top: int, left: int, side: int) -> Tensor:
    return photo[:, top : top + side, left : left + side].contiguous()


def _bytes(photo: np.ndarray, side: int) -> Tensor:
    """The first `side` rows and columns of (H, W, 3) as (3, side, side)."""
    return torch.from_numpy(np.ascontiguousarray(photo[:side, :side].transpose(2, 0, 1)))
