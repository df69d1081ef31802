"""Ablation of the semantic tokens: equal short trainings with true, exchanged, shuffled and zero tokens."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from ugc_sr.degrade.recipes import RECIPES
from ugc_sr.sample.frame import finish, fit
from ugc_sr.score.extras import Extras
from ugc_sr.train.data import Loader
from ugc_sr.train.distributed import Distributed
from ugc_sr.train.loop import Trainer
from ugc_sr.train.nano_network import Nano, restore
from ugc_sr.train.nano_tasks import build_restore
from ugc_sr.train.presets import PRESETS, Stage
from ugc_sr.train.task import Start

from .quality import Table, gains, medians, scored
from .samples import Sample, held_out

MEASURED = ("upload", "messenger", "reupload", "ugc")

SEMANTICS = ("true", "another photo's", "shuffled", "zero")
BATCH, SEED = 4, 0


def run(photos: str, data: str, weights: list[str], base: str | None, steps: int) -> Iterator[dict[str, Any]]:
    """Train one model for each kind of tokens; yield its means, then the paired gains of true tokens.

    The zero tokens stand for no semantics: the image attentions are there, but get no information.

    Args:
        photos: folder that tools/fetch_photos.sh filled.
        data: pairs to train on, by python -m ugc_sr.train.pairs.
        weights: files that the stage `reading` of a training run wrote to its folder `stages`.
        base: file of an earlier bundled model, the initial weights.
        steps: training steps of each model.
    """
    stage = replace(next(stage for stage in PRESETS["nano"].stages if stage.name == "restore"), steps=steps)
    arms = {}
    for semantics in SEMANTICS:
        start = Start(
            SEED, Path(base) if base else None, {k: v for f in weights for k, v in load_file(f).items()}
        )
        arms[semantics] = trained(stage, start, data, semantics, steps)
    yield from measured(arms, photos)


def trained(stage: Stage, start: Start, data: str, semantics: str, steps: int) -> Nano:
    """Return the model, trained for so many steps with one kind of tokens."""
    task = build_restore(stage, start, **stage.options)
    true = task.tokens
    task.tokens = lambda seen, seeds: chosen(semantics, true(seen, seeds))  # type: ignore[method-assign]
    trainer = Trainer(task, stage, Distributed(cpu=True))
    loader = Loader(PRESETS["nano"].data.at({"pairs": data}), SEED, stage.name, BATCH, stage.crop)
    for batch in loader.steps(0, steps):
        trainer.advance([batch])
    with trainer.average.applied():
        return copy.deepcopy(task.model)


def chosen(semantics: str, tokens: Tensor) -> Tensor:
    """Return tokens (B, N, D): the photos' own, those of other photos of the batch, shuffled, or zero."""
    order = torch.randperm(tokens.shape[2], generator=torch.Generator().manual_seed(SEED))
    kinds = (tokens, tokens.roll(1, 0), tokens[:, :, order], torch.zeros_like(tokens))
    return kinds[SEMANTICS.index(semantics)]


@torch.no_grad()
def measured(arms: Mapping[str, Nano], photos: str) -> Iterator[dict[str, Any]]:
    """Yield rows on the held-out photos: each model with its tokens, and the first model with each kind."""
    scores: Table = {}
    network = Extras(["st_lpips"])
    for name in MEASURED:
        other = None
        for photo, pair in held_out(Path(photos), RECIPES[name]):
            sample = Sample(photo, pair.lr, pair.hr)
            other, stranger = pair.lr, pair.lr.flip(-1) if other is None else other
            hint, frame = fit(pair.lr, scale=4)
            for arm, model in arms.items():
                both = model.encoder(torch.cat([pair.lr, stranger]))
                for semantics in SEMANTICS if arm == "true" else (arm,):
                    picture = finish(restore(model, hint, chosen(semantics, both)[:1]).clamp(0, 1), frame)
                    version = f"trained with {arm} tokens, run with {semantics}"
                    scores.setdefault((name, version), {})[photo] = scored(picture, sample, network)
    first, *others = dict.fromkeys(version for _, version in scores)
    for version in (first, *others):
        rows = (row for r in MEASURED for row in scores[r, version].values())
        yield {"name": version, **medians(rows)}
    for version in others:
        yield {"name": f"less: {version}", **gains(scores, MEASURED, version, first)}
