"""Checks of a restored picture: measured values with bounds.

The bundled model's results on the sample photo, and on photos with other damage, are well within the bounds.
A picture that is black, grey, noise, of other colours, of another photo, or only enlarged is outside of one.
Source of the bounds: the figures in docs/troubleshooting.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..score.metrics import METRICS, badness

_BRIGHT = 32 / 255  # pixels brighter than that in the photo must not turn black
_PRECISION = "Start ComfyUI with --force-fp32, or with --fp32-vae alone, and try again."
_FILES = "The files may not belong together, or not be what their names say: look at their origins."


@dataclass(frozen=True)
class Check:
    """One property of a picture.

    Attributes:
        name: the property's name.
        value: the measured value.
        bound: a description of the allowed range.
        passed: True if the value is within the bound; NaN never is.
        hint: what to do if it isn't.
    """

    name: str
    value: float
    bound: str
    passed: bool
    hint: str


class _Bound(NamedTuple):
    low: float
    high: float
    unit: str
    hint: str

    def __str__(self) -> str:
        if self.low == -math.inf:
            return f"at most {self.high:g} {self.unit}"
        if self.high == math.inf:
            return f"at least {self.low:g} {self.unit}"
        return f"from {self.low:g} to {self.high:g} {self.unit}"


BOUNDS = {
    "lost pixels": _Bound(
        -math.inf, 0.1, "% black where the photo is not, as numbers that are not finite come out", _PRECISION
    ),
    "mean of each colour": _Bound(-math.inf, 4.0, "of 255 levels from the photo's", _PRECISION),
    "spread of each colour": _Bound(0.85, 1.2, "of the photo's", _FILES),
    "agreement with the photo": _Bound(22.0, math.inf, "dB, once averaged down to its size", _FILES),
    "work of the sampler": _Bound(
        0.5, math.inf, "of 255 levels from the picture that is there without it", _FILES
    ),
    "scores better than bicubic": _Bound(1, math.inf, "of those that need no original", _FILES),
}


def checks(picture: Tensor, photo: Tensor, bicubic: Tensor, anchor: Tensor) -> list[Check]:
    """Return every check of a result, in the order of `BOUNDS`.

    Args:
        picture: the result, (1, 3, H, W) RGB in [0, 1].
        photo: the input photo, (1, 3, h, w).
        bicubic: the photo enlarged to the result's size.
        anchor: the result of the same graph without its sampler, of the result's size.
    """
    lost = (picture.amax(1) == 0) & (bicubic.amax(1) > _BRIGHT)
    mean, spread = _colours(picture, photo)
    values = (
        100 * lost.double().mean().item(),
        mean,
        spread,
        METRICS["lr_consistency"].measure(picture, photo).item(),
        255 * (picture - anchor).double().square().mean().sqrt().item(),
        _better(picture, bicubic),
    )
    return [
        Check(name, value, str(bound), bound.low <= value <= bound.high, bound.hint)
        for (name, bound), value in zip(BOUNDS.items(), values, strict=True)
    ]


def _colours(picture: Tensor, photo: Tensor) -> tuple[float, float]:
    """Return the largest difference of channel means, in levels, and the contrast ratio farthest from 1."""
    means = 255 * (picture.double().mean((0, 2, 3)) - photo.double().mean((0, 2, 3)))
    one = torch.tensor(1 / 255, dtype=torch.float64)  # makes the ratio of flat channels 1
    spreads = (picture.double().std((0, 2, 3)) + one) / (photo.double().std((0, 2, 3)) + one)
    return means.abs().max().item(), max(spreads.tolist(), key=lambda ratio: max(ratio, 1 / ratio))


def _better(picture: Tensor, bicubic: Tensor) -> int:
    """Return how many no-reference scores are better than bicubic's; scores without a value don't count."""
    free = [(name, metric.measure) for name, metric in METRICS.items() if metric.reference == "nothing"]
    return sum(
        badness(name, measure(picture).item()) < badness(name, measure(bicubic).item())
        for name, measure in free
    )
