"""The bundled model on photos that training never saw, through the host, against bicubic enlargement."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import comfy.sample
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ugc_sr.degrade.degradation import apply
from ugc_sr.degrade.recipes import RECIPES
from ugc_sr.host.controlnet import apply_controlnet
from ugc_sr.host.encoder import encode
from ugc_sr.host.guidance import apply_guidance
from ugc_sr.host.nano import LoadedNano, load_nano
from ugc_sr.image import from_socket, to_socket
from ugc_sr.models.semantics import Semantics
from ugc_sr.sample.color import match
from ugc_sr.sample.frame import finish, fit
from ugc_sr.score.metrics import evaluate
from ugc_sr.train.photos import HELD_OUT, HeldOut

MEASURED = ("upload", "messenger", "reupload", "ugc")
SIDE_PX = 512
SEED = 1000  # photo k is damaged with seed 1000 + k
SHOWN = ("stream", "mountain", "brushes", "dogs", "bark", "astronaut")  # of clear origin
SHOWN_PX = 256

Tokens = Callable[[Semantics], Semantics]


def run(photos: str, pictures: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield one row for each recipe and version: means over the held-out photos.

    Args:
        photos: folder that scripts/fetch_photos.sh filled.
        pictures: folder for one sheet a recipe, `RECIPE.jpg`: bicubic, nano and original of the photos
            of clear origin; none if not given.
    """
    nano = load_nano()
    for recipe in (RECIPES[name] for name in MEASURED):
        scores: dict[str, list[dict[str, float]]] = {}
        rows: list[Tensor] = []
        for index, (name, held_out) in enumerate(HELD_OUT.items()):
            gt, lr = apply(recipe.draw(SEED + index), crop(Path(photos), held_out))
            restored = versions(nano, lr)
            for version, picture in restored.items():
                scores.setdefault(version, []).append(evaluate(picture, gt=gt, lr=lr))
            if name in SHOWN:
                rows.append(_row(restored["bicubic"], restored["nano"], gt))
        if pictures:
            Path(pictures).mkdir(parents=True, exist_ok=True)
            _save_jpeg(torch.cat(rows, dim=2), Path(pictures, f"{recipe.name}.jpg"))
        for version, values in scores.items():
            means = {metric: round(float(np.mean([v[metric] for v in values])), 4) for metric in values[0]}
            yield {"name": version, "recipe": recipe.name, "photos": len(values), **means}


@torch.inference_mode()
def versions(nano: LoadedNano, lr: Tensor) -> dict[str, Tensor]:
    """The photo restored in every way that the tables compare."""
    hint, frame = fit(lr, scale=4)
    return {
        "bicubic": finish(hint, frame),
        "nano": restore(nano, lr),
        "nano, 4 steps": restore(nano, lr, steps=4),
        "nano, sampler off": restore(nano, lr, steps=0),
        "nano, shuffled tokens": restore(nano, lr, tokens=_shuffle),
    }


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


def _save_jpeg(picture: Tensor, path: Path) -> None:
    pixels = picture[0].mul(255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(path, quality=92)
