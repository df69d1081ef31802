"""Training pairs of the bundled model: photos and generated scenes, damaged by recipes, in two arrays."""

import argparse
import math
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..console import keep_printing
from ..degrade.degradation import apply
from ..degrade.recipes import RECIPES
from ..photos.reader import open_photo, size_of
from ..processes import end_with_parent
from .photos import training_photos
from .scenes import captioned, dead_leaves

MARGIN_PX, SCALE = 16, 4
MIX = {"upload": 0.2, "messenger": 0.2, "reupload": 0.32, "ugc": 0.28}  # share of each recipe
SHARES = {"photo": 0.74, "leaves": 0.1, "text": 0.16}
_SCENE_PX = 768
_DETAIL = 5.0  # grey levels; flatter crops are mostly skipped


@dataclass(frozen=True)
class Job:
    """Crops to take from one picture."""

    kind: str
    photo: Path
    count: int
    side: int
    seed: int


def make_pairs(photos: Path, folder: Path, count: int, side: int, workers: int) -> None:
    """Fill `folder` with `count` pairs of `side` HR pixels; the same inputs give the same arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("hr.part", "lr.part"):
        (folder / part).unlink(missing_ok=True)  # of a run that was killed, or a link
    jobs = _jobs(training_photos(photos), count, side)
    hr, lr = (
        np.lib.format.open_memmap(folder / f"{name}.part", "w+", np.uint8, (count, px, px, 3))
        for name, px in (("hr", side), ("lr", side // SCALE))
    )
    done = 0
    with ProcessPoolExecutor(workers, initializer=_start_worker) as pool:
        for clean, damaged in pool.map(_crops, jobs):
            take = min(len(clean), count - done)
            hr[done : done + take], lr[done : done + take] = clean[:take], damaged[:take]
            done += take
    for index in range(done, count):  # pictures too flat to fill their share: repeat from the start
        hr[index], lr[index] = hr[index - done], lr[index - done]
    hr.flush()
    lr.flush()
    (folder / "hr.part").replace(folder / "hr.npy")
    (folder / "lr.part").replace(folder / "lr.npy")


def _start_worker() -> None:
    end_with_parent()
    torch.set_num_threads(1)


def _jobs(photos: list[Path], count: int, side: int) -> list[Job]:
    sizes = {path: size_of(path) for path in photos}
    photos = [path for path in photos if min(sizes[path]) >= side + 2 * MARGIN_PX]
    weights = [min(6.0, math.prod(sizes[path]) / 1e6) ** 0.5 for path in photos]
    share = count * SHARES["photo"] / sum(weights)
    jobs = [
        Job("photo", path, round(share * w) + 1, side, i)
        for i, (path, w) in enumerate(zip(photos, weights, strict=True))
    ]
    per_scene = max(1, 6 * (_SCENE_PX // side) ** 2)
    for kind in ("leaves", "text"):
        for i in range(round(count * SHARES[kind] / per_scene)):
            jobs.append(Job(kind, photos[i % len(photos)], per_scene, side, len(jobs)))
    random.Random(0).shuffle(jobs)
    return jobs


def _opened(path: Path) -> Image.Image:
    return Image.fromarray(open_photo(path).rgb(deep=False))


@cache
def _levels(path: Path, smallest: int) -> tuple[Image.Image, ...]:
    """The photo at a few sizes, so that one photo teaches several distances."""
    photo = _opened(path)
    side = min(photo.size)
    factors = (0.5, 0.35, 0.25) if side > 1500 else (1.0, 0.7, 0.5)
    sizes = [
        (round(photo.width * f), round(photo.height * f)) for f in factors if round(side * f) >= smallest
    ]
    return tuple(photo.resize(s, Image.Resampling.BOX) for s in sizes or [photo.size])


def _pictures(job: Job) -> tuple[Image.Image, ...]:
    if job.kind == "photo":
        pictures = _levels(job.photo, job.side + 2 * MARGIN_PX)
        _levels.cache_clear()
        return pictures
    palette = np.asarray(_opened(job.photo).resize((48, 48))).reshape(-1, 3)
    scene = dead_leaves(job.seed, _SCENE_PX, palette)
    return (captioned(job.seed, scene) if job.kind == "text" else scene,)


def _crops(job: Job) -> tuple[np.ndarray, np.ndarray]:
    rng = random.Random(job.seed)
    pictures = [np.asarray(picture) for picture in _pictures(job)]
    side = job.side + 2 * MARGIN_PX
    hr, lr = [], []
    for _ in range(job.count * 8):
        picture = rng.choice(pictures)
        top = rng.randint(0, picture.shape[0] - side)
        left = rng.randint(0, picture.shape[1] - side)
        crop = picture[top : top + side, left : left + side]
        if _detail(crop) < _DETAIL and rng.random() > 0.15:
            continue
        recipe = RECIPES[rng.choices(tuple(MIX), tuple(MIX.values()))[0]]
        pair = apply(recipe.draw(rng.getrandbits(32)), _to_tensor(crop[None]))
        for photo, margin, crops in ((pair.hr, MARGIN_PX, hr), (pair.lr, MARGIN_PX // SCALE, lr)):
            pixels = photo.mul(255).round().byte()[0].permute(1, 2, 0).numpy()
            crops.append(pixels[margin:-margin, margin:-margin])
        if len(hr) == job.count:
            break
    return np.stack(hr), np.stack(lr)


def _detail(crop: np.ndarray) -> float:
    luma = crop.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return float(np.diff(luma, axis=0).std() + np.diff(luma, axis=1).std())


def _to_tensor(photos: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(photos)).permute(0, 3, 1, 2).contiguous().float() / 255


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the pairs of the bundled model: python -m ugc_sr.train.pairs PHOTOS FOLDER."""
    keep_printing()
    parser = argparse.ArgumentParser(prog="python -m ugc_sr.train.pairs", description=main.__doc__)
    parser.add_argument("photos", type=Path, help="folder that scripts/fetch_photos.sh filled")
    parser.add_argument("folder", type=Path, help="for hr.npy and lr.npy")
    parser.add_argument("--count", type=int, default=4_400)
    parser.add_argument("--side", type=int, default=512, help="clean pixels")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    options = parser.parse_args(arguments)
    try:
        make_pairs(options.photos, options.folder, options.count, options.side, options.workers)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
