"""Training pairs per second: this package against BasicSR's functions with the same settings."""

import platform
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ugc_sr.degrade.dataset.worker import start_worker
from ugc_sr.degrade.degradation import apply
from ugc_sr.degrade.effects import EFFECTS, kernels
from ugc_sr.degrade.recipes import RECIPES
from ugc_sr.degrade.recipes.real_esrgan import SETTINGS
from ugc_sr.photos.reader import open_photo

from . import bootstrap
from .baseline import Chain, basicsr

SIDE_PX = 512
CORES = 2
SEED = 1000
OURS = 120  # pairs per round
BATCH = 8
REPEATS = 9  # repetitions of each effect

# Settings of the table of effects: medium strength, and the same for BasicSR where it has the effect.
PARAMETERS: dict[str, dict[str, Any]] = {
    "gaussian_blur": {"sigma_x": 2.0, "sigma_y": 1.0, "angle": 0.5, "size": 21},
    "generalized_blur": {"sigma_x": 2.0, "sigma_y": 1.0, "angle": 0.5, "size": 21, "beta": 2.0},
    "plateau_blur": {"sigma_x": 2.0, "sigma_y": 1.0, "angle": 0.5, "size": 21, "beta": 1.5},
    "sinc_blur": {"size": 21, "cutoff": 1.5},
    "defocus_blur": {"radius": 3.0},
    "motion_blur": {"length": 15.0, "angle": 0.5},
    "rescale": {"factor": 0.6, "mode": "bicubic", "antialias": False},
    "shrink": {"mode": "area"},
    "fake_hd": {"factor": 1.5, "down": "area", "up": "bicubic"},
    "gaussian_noise": {"sigma": 10.0, "grey": False},
    "shot_noise": {"sigma": 10.0, "grey": False},
    "poisson_noise": {"scale": 1.0, "grey": False},
    "correlated_noise": {"sigma": 10.0},
    "sensor_noise": {"shot": 0.05, "read": 0.01, "chroma": 0.5},
    "demosaic": {"pattern": "RGGB"},
    "denoise": {"strength": 0.5, "radius": 4},
    "sharpen": {"amount": 1.0, "radius": 1.5},
    "usm": {},
    "chroma_subsample": {"layout": "4:2:0"},
    "jpeg": {"quality": 60},
    "webp": {"quality": 60},
    "avif": {"quality": 60},
    "video": {"codec": "h264", "crf": 26, "preset": "veryfast"},
    "screenshot": {"factor": 0.8, "shift": 0.3},
    "caption": {"text": "link in bio", "x": 0.5, "y": 0.8, "size": 0.06, "style": "outline"},
    "sticker": {"kind": "heart", "x": 0.5, "y": 0.5, "size": 0.2},
    "color_filter": {"saturation": 1.3, "contrast": 1.1},
}


def run(rounds: int) -> Iterator[dict[str, Any]]:
    """Yield one row per recipe, in images per second, then one per effect, in milliseconds.

    Recipes include the sharpened target that BasicSR's chain always makes. BasicSR runs on two threads, this
    package in two processes of one thread each, in turn; both read pixels from memory and write them to
    memory. `baseline` and `ratio` are null for recipes and effects that BasicSR doesn't have.
    """
    machine = {"device": _processor(), "cores": CORES}
    workers = {"max_workers": CORES, "mp_context": get_context("spawn"), "initializer": start_worker}
    with ProcessPoolExecutor(**workers) as pool:
        for name in RECIPES:
            yield {"name": f"degrade-{name}", **_recipe(name, pool, rounds), "unit": "images/s", **machine}
    for name in PARAMETERS:
        yield {"name": f"degrade-effect-{name}", **_effect(name), "unit": "ms", **machine, "cores": 1}
    yield _gpu()


def _recipe(name: str, pool: ProcessPoolExecutor, rounds: int) -> dict[str, Any]:
    chain = Chain(SETTINGS[name]) if name in SETTINGS else None
    list(pool.map(_make_pairs, [name] * CORES, [0] * CORES, [4] * CORES))  # warm-up
    times: dict[str, list[float]] = {"ours": [], "baseline": [], "baseline_batch_8": []}
    for index in range(rounds):
        seed = SEED + index * OURS
        for settle in (random.seed, np.random.seed, torch.manual_seed):  # BasicSR uses all three generators
            settle(seed)
        share = OURS // CORES
        started = time.perf_counter()
        list(pool.map(_make_pairs, [name] * CORES, range(seed, seed + OURS, share), [share] * CORES))
        times["ours"].append((time.perf_counter() - started) / OURS)
        if chain:
            times["baseline"].append(_baseline(chain, batch=1, count=BATCH))
            times["baseline_batch_8"].append(_baseline(chain, batch=BATCH, count=BATCH))
    rates = {key: 1 / median(values) for key, values in times.items() if values}
    row: dict[str, Any] = {key: round(rate, 2) for key, rate in rates.items()}
    for key, ratio in (("baseline", "ratio"), ("baseline_batch_8", "ratio_batch_8")):
        row[ratio] = round(rates["ours"] / rates[key], 1) if key in rates else None
    return {"baseline": None, **row}


def _make_pairs(name: str, seed: int, count: int) -> None:
    """Make `count` pairs in a worker process, each with its own random draw."""
    recipe, gt = RECIPES[name].sharpened(), _photos()
    for index in range(seed, seed + count):
        apply(recipe.draw(index), gt[index % len(gt)][None])


def _baseline(chain: Chain, batch: int, count: int) -> float:
    """Return BasicSR's seconds per photo."""
    torch.set_num_threads(CORES)
    gt = _photos()[:count]
    started = time.perf_counter()
    for photos in gt.split(batch):
        chain(photos)
    return (time.perf_counter() - started) / count


def _effect(name: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    photo = _photos()[:1]
    given = dict(PARAMETERS[name])
    if name.endswith("_noise"):
        given["generator"] = torch.Generator().manual_seed(SEED)
    if name == "shrink":
        given["lr_size"] = (SIDE_PX // 4, SIDE_PX // 4)
    theirs = _theirs(photo).get(name)
    ours, baseline = [], []
    for _ in range(REPEATS):
        ours.append(_milliseconds(partial(EFFECTS[name], photo, **given)))
        if theirs:
            baseline.append(_milliseconds(theirs))
    best, other = min(ours), min(baseline, default=None)
    return {
        "baseline": round(other, 3) if other else None,
        "ours": round(best, 3),
        "ratio": round(other / best, 1) if other else None,
    }


def _theirs(photo: Tensor) -> dict[str, Callable[[], Any]]:
    """Return effect -> BasicSR's function with the settings of the table; the kernels are made beforehand."""
    noise, process = basicsr("degradations"), basicsr("img_process_util")
    shape = 21, 2.0, 1.0, 0.5
    made = {
        "gaussian_blur": kernels.gaussian(*shape),
        "generalized_blur": kernels.generalized_gaussian(*shape, beta=2.0),
        "plateau_blur": kernels.plateau(*shape, beta=1.5),
        "sinc_blur": kernels.sinc(21, cutoff=1.5),
    }
    jpeg, usm = basicsr("diffjpeg").DiffJPEG(differentiable=False), process.USMSharp()
    small = (SIDE_PX // 4, SIDE_PX // 4)
    return {
        **{name: partial(process.filter2D, photo, kernel[None]) for name, kernel in made.items()},
        "rescale": partial(interpolate, photo, scale_factor=0.6, mode="bicubic"),
        "shrink": partial(interpolate, photo, size=small, mode="area"),
        "gaussian_noise": partial(noise.add_gaussian_noise_pt, photo, sigma=10.0),
        "poisson_noise": partial(noise.add_poisson_noise_pt, photo, scale=1.0),
        "jpeg": partial(jpeg, photo, quality=torch.tensor([60.0])),
        "usm": partial(usm, photo),
    }


@torch.no_grad()
def _milliseconds(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    function()
    return (time.perf_counter() - started) * 1000


def _gpu() -> dict[str, Any]:
    """Return the row of all effects on a GPU, JPEG by kornia, each photo with its own random draw."""
    row = {"name": "degrade-srlab_wild-gpu", "unit": "images/s"}
    if not torch.cuda.is_available():
        return {**row, "ours": None, "device": "no GPU here: not measured"}
    recipe = RECIPES["srlab_wild"].sharpened().differentiable()
    photos = _photos().cuda().split(1)
    started = 0.0
    for _ in ("to warm up", "to measure"):
        torch.cuda.synchronize()
        started = time.perf_counter()
        for index in range(OURS):
            apply(recipe.draw(SEED + index), photos[index % len(photos)])
    torch.cuda.synchronize()
    rate = OURS / (time.perf_counter() - started)
    return {**row, "ours": round(rate, 1), "device": torch.cuda.get_device_name()}


@cache
def _photos() -> Tensor:
    """Return crops of the demo photo, (8, 3, 512, 512) in [0, 1]."""
    pixels = open_photo(bootstrap.ROOT / "demo" / "photo_gt.jpg").rgb()
    places = [(top, left) for top in range(0, 1024, 256) for left in (0, 512)][:BATCH]
    crops = [pixels[top : top + SIDE_PX, left : left + SIDE_PX] for top, left in places]
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous().float() / 255


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
