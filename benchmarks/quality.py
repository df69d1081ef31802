"""The bundled model on photos that training never saw, through the host, against what else could be done."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import comfy.sample
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from ugc_sr.degrade.degradation import Pair, apply
from ugc_sr.degrade.recipe import Recipe
from ugc_sr.degrade.recipes import RECIPES
from ugc_sr.host.controlnet import apply_controlnet
from ugc_sr.host.encoder import encode
from ugc_sr.host.guidance import apply_guidance
from ugc_sr.host.nano import LoadedNano, NanoVAE, load_nano
from ugc_sr.image import from_socket, to_socket
from ugc_sr.models.semantics import Semantics
from ugc_sr.sample.color import match
from ugc_sr.sample.frame import finish, fit
from ugc_sr.score.metrics import METRICS
from ugc_sr.train.photos import HELD_OUT, HeldOut

MEASURED = ("upload", "messenger", "reupload", "ugc")
SCORED = ("psnr_y", "ssim_y", "ms_ssim_y", "gmsd", "hf_ratio", "lr_consistency")
SIDE_PX = 512
SEED = 1000  # photo k is damaged with seed 1000 + k
SHOWN = ("stream", "mountain", "brushes", "dogs", "bark", "astronaut")  # of clear origin
SHOWN_PX = 256
PUBLIC = (
    "aloe",
    "leuven",
    "graffiti",
    "baboon",
)  # Middlebury stereo, Oxford affine regions, USC-SIPI and Set14
TOKENS = ("nano, shuffled tokens", "nano, another photo's tokens", "nano, zero tokens")
RESAMPLED = 4_000

Tokens = Callable[[Semantics], Semantics]
Scores = dict[str, float]
Table = dict[tuple[str, str], dict[str, Scores]]  # by recipe and version, then photo


def run(
    photos: str,
    pictures: str | None = None,
    baseline: str | None = None,
    regression: str | None = None,
    recipes: Sequence[str] = MEASURED,
    steps: Sequence[int] = (4,),
) -> Iterator[dict[str, Any]]:
    """Yield a row for each recipe and version, then what the tokens bring: means over the held-out photos.

    Args:
        photos: folder that scripts/fetch_photos.sh filled.
        pictures: folder for one sheet a recipe, `RECIPE.jpg`: bicubic, baseline if given, nano and original
            of the photos of clear origin; none if not given.
        baseline: file of an earlier bundled model.
        regression: file of an anchor that was trained for as long as all of nano.
        recipes: to measure.
        steps: more numbers of steps to measure.
    """
    models = _models(baseline, regression)
    scores: Table = {}
    for name in recipes:
        rows: list[Tensor] = []
        for photo, pair, other in pairs(Path(photos), RECIPES[name]):
            restored = versions(models, pair.lr, other, steps)
            for version, (picture, seconds) in restored.items():
                row = scored(picture, pair.hr, pair.lr) | {"seconds": seconds}
                scores.setdefault((name, version), {})[photo] = row
            if photo in SHOWN:
                shown = (restored[v][0] for v in ("bicubic", "baseline", "nano") if v in restored)
                rows.append(_row(*shown, pair.hr))
        if pictures:
            Path(pictures).mkdir(parents=True, exist_ok=True)
            _save_jpeg(torch.cat(rows, dim=2), Path(pictures, f"{name}.jpg"))
        for version in _versions(scores):
            yield {"name": version, "recipe": name, **mean(scores[name, version].values())}
    yield from _summary(scores, recipes)


def _summary(scores: Table, recipes: Sequence[str]) -> Iterator[dict[str, Any]]:
    for version in _versions(scores):
        rows = [(photo, row) for r in recipes for photo, row in scores[r, version].items()]
        yield {"name": version, "recipe": "mean", **mean(row for _, row in rows)}
        public = (row for photo, row in rows if photo in PUBLIC)
        yield {"name": version, "recipe": "mean of public benchmarks' photos", **mean(public)}
    for version in TOKENS:
        yield {"name": f"nano less {version}", "recipe": "mean", **gains(scores, recipes, version)}


def _models(baseline: str | None, regression: str | None) -> dict[str, LoadedNano]:
    models = {"nano": load_nano()}
    if baseline:
        models["baseline"] = load_nano(Path(baseline))
    if regression:
        state = {k.removeprefix("vae."): v.float() for k, v in load_file(regression).items()}
        models["regression"] = replace(models["nano"], vae=NanoVAE(state))
    return models


def pairs(photos: Path, recipe: Recipe) -> Iterator[tuple[str, Pair, Tensor]]:
    """Each held-out photo by name, with its small twin, and another small photo."""
    pairs = {
        name: apply(recipe.draw(SEED + index), crop(photos, held_out))
        for index, (name, held_out) in enumerate(HELD_OUT.items())
    }
    others = [pair.lr for pair in pairs.values()]
    for index, (name, pair) in enumerate(pairs.items()):
        yield name, pair, others[index - 1]


def versions(
    models: Mapping[str, LoadedNano], lr: Tensor, other: Tensor, steps: Sequence[int]
) -> dict[str, tuple[Tensor, float]]:
    """The photo restored in every way that the tables compare, and the seconds that each took."""
    nano = models["nano"]
    stranger = encode(nano.encoder, other)
    ways: dict[str, Callable[[], Tensor]] = {
        "bicubic": lambda: finish(*fit(lr, scale=4)),
        "nano": lambda: restore(nano, lr),
        "nano, sampler off": lambda: restore(nano, lr, steps=0),
        "nano, shuffled tokens": lambda: restore(nano, lr, tokens=_shuffle),
        "nano, another photo's tokens": lambda: restore(nano, lr, tokens=lambda _: stranger),
        "nano, zero tokens": lambda: restore(nano, lr, tokens=zero),
    }
    ways |= {f"nano, {count} steps": lambda count=count: restore(nano, lr, steps=count) for count in steps}
    if "baseline" in models:
        ways["baseline"] = lambda: restore(models["baseline"], lr)
    if "regression" in models:
        ways["regression"] = lambda: restore(models["regression"], lr, steps=0)
    return {name: _timed(way) for name, way in ways.items()}


def scored(picture: Tensor, gt: Tensor, lr: Tensor) -> Scores:
    """SCORED, and SSIMULACRA2 (higher is better) where its package is installed."""
    references = {"gt": gt, "lr": lr}
    protocols = {name: METRICS[name] for name in SCORED}
    scores = {n: m.measure(picture, references[m.reference]).mean().item() for n, m in protocols.items()}
    try:
        from ssimulacra2 import compute_ssimulacra2
    except ImportError:
        return scores
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("gt.png", "picture.png")]
        for file, image in zip(files, (gt, picture), strict=True):
            _image(image).save(file)
        return scores | {"ssimulacra2": float(compute_ssimulacra2(str(files[0]), str(files[1])))}


def gains(scores: Table, recipes: Sequence[str], version: str, best: str = "nano") -> dict[str, Any]:
    """For each metric, "mean [low, high]" of `best` less that version, on the same photos and recipes.

    The interval holds 95 % of the means over photos drawn again with replacement, each with all its recipes.
    """
    result = {}
    for metric in (*SCORED, "ssimulacra2"):
        differences = [
            [scores[r, best][photo][metric] - scores[r, version][photo][metric] for r in recipes]
            for photo, row in scores[recipes[0], best].items()
            if metric in row
        ]
        if not differences:
            continue
        table = np.array(differences).mean(axis=1)
        drawn = np.random.default_rng(0).integers(len(table), size=(RESAMPLED, len(table)))
        low, high = np.percentile(table[drawn].mean(axis=1), (2.5, 97.5))
        result[metric] = f"{table.mean():.4f} [{low:.4f}, {high:.4f}]"
    return result


def mean(rows: Iterable[Scores]) -> dict[str, Any]:
    """How many photos, and the mean of each column."""
    rows = list(rows)
    means = {metric: round(float(np.mean([row[metric] for row in rows])), 4) for metric in rows[0]}
    return {"photos": len(rows), **means}


@torch.inference_mode()
def restore(
    nano: LoadedNano, lr: Tensor, steps: int = 1, seed: int = 0, tokens: Tokens | None = None
) -> Tensor:
    """The quick-start graph as a function: (B, 3, h, w) -> (B, 3, 4h, 4w)."""
    hint, frame = fit(lr, scale=4)
    picture = sampled(nano, lr, steps, seed, tokens)
    return finish(match(picture, hint, "wavelet"), frame).clamp(0, 1)


def sampled(
    nano: LoadedNano, lr: Tensor, steps: int = 1, seed: int = 0, tokens: Tokens | None = None
) -> Tensor:
    """What VAE Decode gives in that graph: on the padded canvas, colours not yet matched."""
    hint, _ = fit(lr, scale=4)
    semantics = encode(nano.encoder, lr)
    if tokens:
        semantics = tokens(semantics)
    model = apply_guidance(nano.model, nano.adapter, semantics)
    positive, negative = apply_controlnet([nano.conditioning] * 2, nano.control_net, hint, semantics)
    latent = nano.vae.encode(to_socket(hint))
    if steps:
        noise = comfy.sample.prepare_noise(latent, seed)
        latent = comfy.sample.sample(
            model,
            noise,
            steps,
            1.0,
            "euler",
            "simple",
            positive,
            negative,
            latent,
            disable_pbar=True,
            seed=seed,
        )
    return from_socket(nano.vae.decode(latent))


def crop(photos: Path, held_out: HeldOut) -> Tensor:
    """The held-out 512x512 crop as (1, 3, 512, 512) in [0, 1]."""
    photo = Image.open(photos / held_out.path).convert("RGB")
    if held_out.shrink != 1:
        size = round(photo.width * held_out.shrink), round(photo.height * held_out.shrink)
        photo = photo.resize(size, Image.Resampling.BOX)
    left = min(max(int(photo.width * held_out.x - SIDE_PX / 2), 0), photo.width - SIDE_PX)
    top = min(max(int(photo.height * held_out.y - SIDE_PX / 2), 0), photo.height - SIDE_PX)
    box = photo.crop((left, top, left + SIDE_PX, top + SIDE_PX))
    return torch.from_numpy(np.array(box)).permute(2, 0, 1)[None].float() / 255


def zero(semantics: Semantics) -> Semantics:
    """Tokens that say nothing."""
    return replace(semantics, tokens=torch.zeros_like(semantics.tokens))


def _shuffle(semantics: Semantics) -> Semantics:
    """The same numbers in another order of tokens and channels."""
    generator = torch.Generator().manual_seed(SEED)
    _, count, width = semantics.tokens.shape
    rows, columns = torch.randperm(count, generator=generator), torch.randperm(width, generator=generator)
    return replace(semantics, tokens=semantics.tokens[:, rows][:, :, columns])


def _row(*pictures: Tensor) -> Tensor:
    """The middles of (1, 3, 512, 512) pictures side by side."""
    edge = (SIDE_PX - SHOWN_PX) // 2
    return torch.cat([picture[:, :, edge:-edge, edge:-edge] for picture in pictures], dim=3)


def _versions(scores: Mapping[tuple[str, str], Any]) -> list[str]:
    return list(dict.fromkeys(version for _, version in scores))


def _timed(way: Callable[[], Tensor]) -> tuple[Tensor, float]:
    begun = time.perf_counter()
    with torch.inference_mode():
        picture = way()
    return picture, time.perf_counter() - begun


def _image(picture: Tensor) -> Image.Image:
    return Image.fromarray(picture[0].mul(255).round().byte().permute(1, 2, 0).numpy())


def _save_jpeg(picture: Tensor, path: Path) -> None:
    _image(picture).save(path, quality=92)
