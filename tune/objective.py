"""What a search makes as large as possible: a weighted sum of metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..score.extras import EXTRAS, Extra
from ..score.metrics import CHALLENGE, METRICS, badness

NAMED = {"perceptual": "st_lpips=-1 grid=-0.1"}  # nearer for the eye, and no weave


@dataclass(frozen=True)
class Objective:
    """Weights of metrics. Of one that is best near 1, its distance from 1 counts, |log value|."""

    weights: Mapping[str, float]

    @classmethod
    def parse(cls, text: str, extras: Sequence[str] = ()) -> Objective:
        """A name, or "METRIC=WEIGHT METRIC=WEIGHT"; `challenge` takes what is measured of its sum.

        The other name is `perceptual`.

        Raises:
            ValueError: for an unknown metric, one that is not measured, or a weight that rewards the worse.
        """
        if text == "challenge":
            return cls({name: weight for name, weight in CHALLENGE.items() if name in (*METRICS, *extras)})
        objective = cls(dict(_weight(part) for part in NAMED.get(text, text).split()))
        if not objective.weights:
            known = " or ".join(("challenge", *NAMED))
            raise ValueError(f'--objective is empty; expected "METRIC=WEIGHT ...", {known}.')
        for name, weight in objective.weights.items():
            check_metric(name, extras)
            better = {**METRICS, **EXTRAS}[name].better
            if (weight > 0) != (better == "higher") or not math.isfinite(weight) or not weight:
                sign = "positive" if better == "higher" else "negative"
                raise ValueError(
                    f"--objective {name}={weight:g}: {name} is better {better}; its weight must be {sign}."
                )
        return objective

    def of(self, scores: Mapping[str, float]) -> float:
        """The sum for one photo.

        Raises:
            ValueError: if a metric was not measured or is infinite.
        """
        missing = [name for name in self.weights if name not in scores]
        infinite = [name for name in self.weights if name in scores and not math.isfinite(scores[name])]
        if missing or infinite:
            raise ValueError(
                f"{', '.join(missing + infinite)} has no finite value here: the result is too small to "
                "measure it, or equals the original. Take out the photo, or the metric."
            )
        return math.fsum(weight * _amount(name, scores[name]) for name, weight in self.weights.items())

    def __str__(self) -> str:
        return " ".join(f"{name}={weight:g}" for name, weight in self.weights.items())


def check_metric(name: str, extras: Sequence[str] = ()) -> str:
    """The name, if that metric is measured for every trial.

    Raises:
        ValueError: if it is not.
    """
    trials = [known for known, metric in METRICS.items() if metric.reference != "borders"]
    if name not in (*trials, *extras):
        hint = _hint(EXTRAS[name], name) if name in EXTRAS else ""
        raise ValueError(f"No metric {name!r} is measured here{hint}. Measured are {', '.join(trials)}.")
    return name


def _hint(extra: Extra, name: str) -> str:
    return f"; {extra.install} brings it" if extra.complete else f"; --extra {name} measures it"


def _weight(part: str) -> tuple[str, float]:
    name, _, weight = part.partition("=")
    try:
        return name, float(weight)
    except ValueError:
        raise ValueError(f'--objective: expected "METRIC=WEIGHT", got {part!r}.') from None


def _amount(name: str, value: float) -> float:
    near_1 = {**METRICS, **EXTRAS}[name].better == "near 1"
    return badness(name, value) if near_1 else value
