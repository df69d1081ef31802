"""Training pairs: crops of photos and generated scenes, damaged by recipes, in two memory-mapped arrays."""

import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..degrade.degradation import apply
from ..degrade.recipes import RECIPES
from .photos import training_photos
from .scenes import captioned, dead_leaves

HR_PX, MARGIN_PX, SCALE = 192, 32, 4
MIX = {"upload": 0.3, "reupload": 0.7}  # share of each recipe
SHARES = {"photo": 0.74, "leaves": 0.14, "text": 0.12}
_PER_SCENE = 60
_DETAIL = 5.0  # grey levels; flatter crops are mostly skipped


@dataclass(frozen=True)
class Job:
    """Crops to take from one picture."""

    kind: str
    photo: Path
    count: int
    seed: int


class Pairs:
    """The finished arrays: `hr` (N, 192, 192, 3) and `lr` (N, 48, 48, 3), uint8."""

    def __init__(self, folder: Path) -> None:
        self.hr = np.load(folder / "hr.npy", mmap_mode="r")
        self.lr = np.load(folder / "lr.npy", mmap_mode="r")

    def batch(self, rng: np.random.Generator, size: int, crop: int) -> tuple[Tensor, Tensor]:
        """Random crops of `crop` LR pixels, flipped and turned: hr (B, 3, 4c, 4c) and lr (B, 3, c, c)."""
        hr, lr = [], []
        for index in rng.integers(0, len(self.hr), size):
            top, left = rng.integers(0, HR_PX // SCALE - crop + 1, 2)
            small = self.lr[index, top : top + crop, left : left + crop]
            rows = slice(SCALE * top, SCALE * (top + crop))
            columns = slice(SCALE * left, SCALE * (left + crop))
            turns, flip = int(rng.integers(4)), bool(rng.random() < 0.5)
            hr.append(_turn(self.hr[index, rows, columns], turns, flip))
            lr.append(_turn(small, turns, flip))
        return _to_tensor(np.stack(hr)), _to_tensor(np.stack(lr))


def make_pairs(photos: Path, folder: Path, count: int, workers: int) -> None:
    """Fill `folder` with `count` pairs; the same inputs give the same arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = _jobs(training_photos(photos), count)
    shape = (count, HR_PX, HR_PX, 3)
    hr = np.lib.format.open_memmap(folder / "hr.part", "w+", np.uint8, shape)
    lr = np.lib.format.open_memmap(
        folder / "lr.part", "w+", np.uint8, (count, HR_PX // SCALE, HR_PX // SCALE, 3)
    )
    done = 0
    with ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for clean, damaged in pool.map(_crops, jobs):
            take = min(len(clean), count - done)
            hr[done : done + take], lr[done : done + take] = clean[:take], damaged[:take]
            done += take
    for index in range(done, count):  # pictures too flat to fill their share: repeat from the start
        hr[index], lr[index] = hr[index - done], lr[index - done]
    hr.flush()
    lr.flush()
    (folder / "hr.part").rename(folder / "hr.npy")
    (folder / "lr.part").rename(folder / "lr.npy")


def _jobs(photos: list[Path], count: int) -> list[Job]:
    weights = []
    for path in photos:
        with Image.open(path) as photo:
            weights.append(min(6.0, photo.width * photo.height / 1e6) ** 0.5)
    share = count * SHARES["photo"] / sum(weights)
    jobs = [
        Job("photo", path, round(share * w) + 1, i)
        for i, (path, w) in enumerate(zip(photos, weights, strict=True))
    ]
    for kind in ("leaves", "text"):
        for i in range(round(count * SHARES[kind] / _PER_SCENE)):
            jobs.append(Job(kind, photos[i % len(photos)], _PER_SCENE, len(jobs)))
    random.Random(0).shuffle(jobs)
    return jobs


@cache
def _levels(path: Path) -> tuple[Image.Image, ...]:
    """The photo at a few sizes, so that one photo teaches several distances."""
    photo = Image.open(path).convert("RGB")
    side = min(photo.size)
    factors = (0.5, 0.35, 0.25) if side > 1500 else (1.0, 0.7, 0.5)
    smallest = HR_PX + 2 * MARGIN_PX
    sizes = [(round(photo.width * f), round(photo.height * f)) for f in factors if side * f >= smallest]
    return tuple(photo.resize(s, Image.Resampling.BOX) for s in sizes or [photo.size])


def _pictures(job: Job) -> tuple[Image.Image, ...]:
    if job.kind == "photo":
        pictures = _levels(job.photo)
        _levels.cache_clear()
        return pictures
    palette = np.asarray(Image.open(job.photo).convert("RGB").resize((48, 48))).reshape(-1, 3)
    scene = dead_leaves(job.seed, 768, palette)
    return (captioned(job.seed, scene) if job.kind == "text" else scene,)


def _crops(job: Job) -> tuple[np.ndarray, np.ndarray]:
    rng = random.Random(job.seed)
    pictures = [np.asarray(picture) for picture in _pictures(job)]
    side = HR_PX + 2 * MARGIN_PX
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


def _turn(photo: np.ndarray, turns: int, flip: bool) -> np.ndarray:
    turned = np.rot90(photo, turns)
    return turned[:, ::-1] if flip else turned


def _to_tensor(photos: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(photos)).permute(0, 3, 1, 2).contiguous().float() / 255
