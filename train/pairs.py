"""Training data of the bundled model: damaged photos on their canvas, clean photos, a teacher's results."""

import argparse
import math
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..color import BT601
from ..console import keep_printing
from ..degrade.dataset.worker import start_worker
from ..degrade.degradation import apply
from ..degrade.recipes import RECIPES
from ..files import TEMPORARY, atomic_write
from ..image import from_levels, to_levels
from ..models.nano import FOLD
from ..photos.reader import open_photo, size_of
from ..sample.frame import fit
from .photos import training_photos
from .scenes import captioned, dead_leaves

MIX = {  # recipe -> share
    "upload": 0.11,
    "messenger": 0.12,
    "reupload": 0.14,
    "enlarged": 0.12,
    "ugc": 0.2,
    "srlab_wild": 0.19,
    "real_esrgan_x4": 0.12,
}
SCALES = {4.0: 0.46, 3.0: 0.12, 2.0: 0.17, 1.5: 0.07, 1.0: 0.18}  # share of each enlargement
SHARES = {"photo": 0.8, "leaves": 0.08, "text": 0.12}
SIDES = ("hr", "lr", "target")
TEACHER = "x4plus"
NATIVE = 2.0  # up to this scale, half of the crops are of unresized photos, whose grain isn't damage
TAUGHT = (4.0, 3.0)  # scales with a teacher; at smaller ones it is slow and sharpens too much
SIDE_PX = 264  # side of a crop; a whole number of latent cells, and of damaged pixels at every scale
MARGIN_PX = 24  # damaged around a crop and cut away
_TEACHER_MARGIN = 2  # damaged pixels around the teacher's input
_SCENE_PX = 768
_DETAIL = 5.0  # grey levels; most crops with less are skipped
_PER_JOB = 6

Teacher = Callable[[Tensor], Tensor]  # (1, 3, h, w) -> (1, 3, 4h, 4w), both in [0, 1]


@dataclass(frozen=True)
class Job:
    """Crops to be made from one picture."""

    kind: str
    photo: Path
    count: int
    seed: int


def make_pairs(photos: Path, folder: Path, count: int, seed: int, workers: int, taught: bool = True) -> None:
    """Write hr.npy, lr.npy and target.npy, each (count, 264, 264, 3) uint8, into a folder.

    The same inputs give the same arrays. lr holds damaged photos on the canvas that the model restores, hr
    the clean photos, target the pictures that the sharpest result is trained towards. Without `taught`,
    target.npy, which takes most of the time, is left out; the other arrays are the same.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for remains in folder.glob(TEMPORARY):  # of a run that was killed
        remains.unlink()
    sides = SIDES if taught else SIDES[:-1]
    with ExitStack() as stack:
        shape = (count, SIDE_PX, SIDE_PX, 3)
        arrays = [
            np.lib.format.open_memmap(
                stack.enter_context(atomic_write(folder / f"{side}.npy")), "w+", np.uint8, shape
            )
            for side in sides
        ]
        done = 0
        with ProcessPoolExecutor(workers, initializer=start_worker) as pool:
            jobs = _jobs(training_photos(photos), count, seed)
            crops = partial(_crops, teacher=_teacher if taught else None)
            for made in filter(None, pool.map(crops, jobs)):  # None of a picture that is too flat
                take = min(len(made[0]), count - done)
                for array, side in zip(arrays, made, strict=True):
                    array[done : done + take] = side[:take]
                done += take
        for array in arrays:
            for index in range(done, count):  # where flat pictures gave fewer crops, repeat from the start
                array[index] = array[index - done]
            array.flush()


def _jobs(photos: list[Path], count: int, seed: int) -> list[Job]:
    sizes = {path: size_of(path) for path in photos}
    photos = [path for path in photos if min(sizes[path]) >= SIDE_PX + 2 * MARGIN_PX]
    weights = [min(6.0, math.prod(sizes[path]) / 1e6) ** 0.5 for path in photos]
    rng = random.Random(seed)
    jobs = []
    for kind, share in SHARES.items():
        for _ in range(math.ceil(count * share / _PER_JOB)):
            (photo,) = rng.choices(photos, weights)
            jobs.append(Job(kind, photo, _PER_JOB, rng.getrandbits(48)))
    rng.shuffle(jobs)
    return jobs


def _opened(path: Path) -> Image.Image:
    return Image.fromarray(open_photo(path).rgb(deep=False))


def _levels(path: Path) -> list[Image.Image]:
    """Return the photo as it is, and at a few sizes, for training at several distances."""
    photo = _opened(path)
    side = min(photo.size)
    factors = (0.7, 0.5, 0.35, 0.25) if side > 1500 else (1.0, 0.7, 0.5)
    least = SIDE_PX + 2 * MARGIN_PX
    sizes = [(round(photo.width * f), round(photo.height * f)) for f in factors if round(side * f) >= least]
    return [photo, *(photo.resize(size, Image.Resampling.BOX) for size in sizes or [photo.size])]


def _pictures(job: Job) -> list[Image.Image]:
    if job.kind == "photo":
        return _levels(job.photo)
    palette = np.asarray(_opened(job.photo).resize((48, 48))).reshape(-1, 3)
    scene = dead_leaves(job.seed, _SCENE_PX, palette)
    return [captioned(job.seed, scene) if job.kind == "text" else scene]


def _crops(job: Job, teacher: Callable[[], Teacher] | None) -> list[np.ndarray]:
    rng = random.Random(job.seed)
    pictures = [np.asarray(picture) for picture in _pictures(job)]
    made = []
    for _ in range(job.count * 8):
        (scale,) = rng.choices(tuple(SCALES), tuple(SCALES.values()))
        crop = _crop(rng, pictures, scale)
        if crop is None or (_detail(crop) < _DETAIL and rng.random() > 0.15):
            continue
        recipe = rng.choices(tuple(MIX), tuple(MIX.values()))[0]
        made.append(damage(from_levels(crop), recipe, rng.getrandbits(32), scale, teacher))
        if len(made) == job.count:
            break
    return [np.concatenate([to_levels(picture) for picture in side]) for side in zip(*made, strict=True)]


def _crop(rng: random.Random, pictures: list[np.ndarray], scale: float) -> np.ndarray | None:
    """Return a square of a random picture for `damage`, None if the picture is too small."""
    side = (SIDE_PX + 2 * MARGIN_PX) * _shrink(scale)
    picture = rng.choice(pictures[1:] or pictures)
    if scale <= NATIVE and rng.random() < 0.5:
        picture = pictures[0]
    spare = [length - side for length in picture.shape[:2]]
    if min(spare) < 0:
        return None
    top, left = (rng.randint(0, length) for length in spare)
    return picture[top : top + side, left : left + side]


def _shrink(scale: float) -> int:
    """Return the factor to shrink the clean photo by, since recipes work at integer scales only."""
    return 1 if scale == int(scale) else 2


def damage(
    clean: Tensor, recipe: str, seed: int, scale: float, teacher: Callable[[], Teacher] | None
) -> tuple[Tensor, ...]:
    """Return the clean photo, the canvas and, with a teacher, the target, each (1, 3, 264, 264) in [0, 1].

    Args:
        clean: (1, 3, s, s) in [0, 1], where s is 312, or 624 for fractional scales.
        recipe: name of the recipe.
        seed: seed of the draw.
        scale: side of the canvas / side of the damaged photo.
        teacher: returns a network that enlarges by 4; called for scales in TAUGHT only. None for no target.
    """
    shrink = _shrink(scale)
    pair = apply(RECIPES[recipe].draw(seed, round(scale * shrink)), clean)
    hr = F.avg_pool2d(pair.hr, shrink)
    hint, _ = fit(pair.lr, scale, FOLD)
    hr, hint = (side[..., MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX] for side in (hr, hint))
    if teacher is None:
        return hr, hint
    if scale not in TAUGHT:
        return hr, hint, hr
    cut = round(MARGIN_PX / scale) - _TEACHER_MARGIN
    with torch.no_grad():
        taught = teacher()(pair.lr[..., cut:-cut, cut:-cut]).clamp(0, 1)
    margin = round(_TEACHER_MARGIN * scale)
    side = SIDE_PX + 2 * margin
    if taught.shape[-1] != side:
        taught = F.interpolate(taught, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
    return hr, hint, taught[..., margin:-margin, margin:-margin]


@cache
def _teacher() -> Teacher:
    from .realesrgan import load

    return load(TEACHER).eval()


def _detail(crop: np.ndarray) -> float:
    luma = crop.astype(np.float32) @ np.array(BT601, dtype=np.float32)
    return float(np.diff(luma, axis=0).std() + np.diff(luma, axis=1).std())


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the training pairs of the bundled model: python -m ugc_sr.train.pairs PHOTOS FOLDER."""
    keep_printing()
    parser = argparse.ArgumentParser(prog="python -m ugc_sr.train.pairs", description=main.__doc__)
    parser.add_argument("photos", type=Path, help="folder that tools/fetch_photos.sh filled")
    parser.add_argument("folder", type=Path, help="for hr.npy, lr.npy and target.npy")
    parser.add_argument("--count", type=int, default=1_200)
    parser.add_argument("--seed", type=int, default=0, help="another one gives other pairs")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument(
        "--untaught", action="store_true", help="without target.npy: pairs for the anchor, quickly"
    )
    options = parser.parse_args(arguments)
    try:
        make_pairs(
            options.photos, options.folder, options.count, options.seed, options.workers, not options.untaught
        )
    except (ValueError, OSError) as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
