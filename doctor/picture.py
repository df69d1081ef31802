"""Whether a restored picture is sound, by numbers with bounds.

The bounds hold for the bundled model on the sample photo and on 30 photos of other damage, with room to
spare; a picture that is black, grey, noise, of other colours, of another photo, or only enlarged breaks one.
docs/troubleshooting.md has the figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..score.metrics import METRICS, badness

_DARK = 32 / 255  # what is brighter in the photo doesn't turn black
LOST_SHARE = 0.001
MEAN_LEVELS = 4.0
SPREAD = (0.85, 1.2)
CONSISTENCY_DB = 22.0
ANCHOR_LEVELS = 0.5
BETTER_SCORES = 1


@dataclass(frozen=True)
class Check:
    """One property of a picture.

    Attributes:
        name: of it.
        value: what was measured.
        bound: what was expected, in words.
        passed: whether it holds.
        hint: what a person does if it doesn't.
    """

    name: str
    value: float
    bound: str
    passed: bool
    hint: str


def checks(picture: Tensor, photo: Tensor, bicubic: Tensor, anchor: Tensor) -> list[Check]:
    """Every check of a result.

    Args:
        picture: the result, (1, 3, H, W) RGB in [0, 1].
        photo: that it was made of, (1, 3, h, w).
        bicubic: the photo at the result's size.
        anchor: what the same graph makes with its sampler left out, of the result's size.
    """
    lost = ((picture.amax(1) == 0) & (bicubic.amax(1) > _DARK)).double().mean().item()
    mean, spread = _colours(picture, photo)
    consistency = METRICS["lr_consistency"].measure(picture, photo).item()
    change = 255 * (picture - anchor).double().square().mean().sqrt().item()
    better = _better(picture, bicubic)
    return [
        Check(
            "lost pixels",
            lost,
            f"at most {LOST_SHARE:g} of them are black where the photo is not; numbers that are not finite "
            "come out so",
            lost <= LOST_SHARE,
            "Start ComfyUI with --force-fp32, or with --fp32-vae alone, and try again.",
        ),
        Check(
            "mean of each colour",
            mean,
            f"at most {MEAN_LEVELS:g} of 255 levels from the photo's",
            mean <= MEAN_LEVELS,
            "Put Match Color behind VAE Decode, as the shipped workflows have it.",
        ),
        Check(
            "spread of each colour",
            spread,
            f"from {SPREAD[0]:g} to {SPREAD[1]:g} of the photo's",
            SPREAD[0] <= spread <= SPREAD[1],
            "The networks do not fit each other, or a file is not what its name says: look at the origins.",
        ),
        Check(
            "agreement with the photo",
            consistency,
            f"at least {CONSISTENCY_DB:g} dB, once averaged down to its size",
            consistency >= CONSISTENCY_DB,
            "The networks do not fit each other, or a file is not what its name says: look at the origins.",
        ),
        Check(
            "work of the sampler",
            change,
            f"at least {ANCHOR_LEVELS:g} of 255 levels from what is there without it",
            change >= ANCHOR_LEVELS,
            "The sampler changes nothing: another extension may stand in its way. Start ComfyUI with "
            "--disable-all-custom-nodes --whitelist-custom-nodes ugc_sr.",
        ),
        Check(
            "scores better than bicubic",
            len(better),
            f"at least {BETTER_SCORES} of {', '.join(_free())}"
            + (f"; {', '.join(better)}" if better else ""),
            len(better) >= BETTER_SCORES,
            "The picture is no better than an enlarged photo: look at it, and at the origins of the files.",
        ),
    ]


def _colours(picture: Tensor, photo: Tensor) -> tuple[float, float]:
    """Largest difference of a channel's mean, in levels; spread over the photo's that is farthest from 1."""
    means = 255 * (picture.double().mean((0, 2, 3)) - photo.double().mean((0, 2, 3)))
    one = torch.tensor(1 / 255, dtype=torch.float64)  # keeps the ratio of flat channels at 1
    spreads = (picture.double().std((0, 2, 3)) + one) / (photo.double().std((0, 2, 3)) + one)
    return means.abs().max().item(), max(spreads.tolist(), key=lambda ratio: max(ratio, 1 / ratio))


def _better(picture: Tensor, bicubic: Tensor) -> list[str]:
    found = []
    for name, measure in _free().items():
        ours, plain = (badness(name, measure(image).item()) for image in (picture, bicubic))
        if ours < plain:  # never where one has no value
            found.append(name)
    return found


def _free() -> dict[str, Callable[[Tensor], Tensor]]:
    """The scores that need no reference."""
    return {name: metric.measure for name, metric in METRICS.items() if metric.reference == "nothing"}
