"""The samples of the quality benchmarks: held-out photos degraded by a recipe, or a folder of pairs."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from ugc_sr.degrade.degradation import apply
from ugc_sr.degrade.recipes import RECIPES
from ugc_sr.photos.reader import open_photo
from ugc_sr.score.pil_image import from_picture
from ugc_sr.score.scoring import load, matched
from ugc_sr.train.photos import HELD_OUT, HeldOut

MEASURED = ("upload", "messenger", "reupload", "enlarged", "ugc", "srlab_wild", "real_esrgan_x4")
SIDE_PX = 512
SEED = 1000  # photo k is degraded with seed 1000 + k


@dataclass(frozen=True, eq=False)
class Sample:
    """A small photo and its original, (1, 3, h, w) and (1, 3, H, W) RGB in [0, 1]."""

    name: str
    lr: Tensor
    hr: Tensor

    @property
    def scale(self) -> float:
        """The size of the original / the size of the small photo."""
        return self.hr.shape[-1] / self.lr.shape[-1]


def held_out(photos: Path, recipe: str, scale: int | None = None) -> Iterator[Sample]:
    """Yield each held-out photo, degraded by a recipe; `scale` replaces the recipe's own if given."""
    for index, (name, photo) in enumerate(HELD_OUT.items()):
        pair = apply(RECIPES[recipe].draw(SEED + index, scale), crop(photos, photo))
        yield Sample(name, pair.lr, pair.hr)


def folder(pairs: Path) -> Iterator[Sample]:
    """Yield the pairs of a folder with `lr/` and `hr/`, matched by name.

    Raises:
        ValueError: if a photo has no original, or their aspects differ.
        FileNotFoundError: if a folder is missing.
    """
    for small, files in matched(pairs / "lr", lr=pairs / "hr").items():
        sample = Sample(small.stem, load(small), load(files["lr"]))
        height, width = (int(side * sample.scale + 0.5) for side in sample.lr.shape[-2:])
        if (height, width) != tuple(sample.hr.shape[-2:]):
            raise ValueError(
                f"'{small}' enlarged to the width of its original is {width}x{height} px, and the original "
                f"{sample.hr.shape[-1]}x{sample.hr.shape[-2]}; expected pairs of one shape."
            )
        yield sample


def crop(photos: Path, photo: HeldOut) -> Tensor:
    """Return the held-out crop, (1, 3, 512, 512) in [0, 1]."""
    picture = Image.fromarray(open_photo(photos / photo.path).rgb(deep=False))
    if photo.shrink != 1:
        size = round(picture.width * photo.shrink), round(picture.height * photo.shrink)
        picture = picture.resize(size, Image.Resampling.BOX)
    left = min(max(int(picture.width * photo.x - SIDE_PX / 2), 0), picture.width - SIDE_PX)
    top = min(max(int(picture.height * photo.y - SIDE_PX / 2), 0), picture.height - SIDE_PX)
    return from_picture(picture.crop((left, top, left + SIDE_PX, top + SIDE_PX)))
