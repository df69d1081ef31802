"""The objective of a search: a weighted sum of metrics, to be maximised."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..score.extras import EXTRAS
from ..score.metrics import CHALLENGE, METRICS, badness

NAMED = {"perceptual": "st_lpips=-1 grid=-0.1"}


@dataclass(frozen=True)
class Objective:
    """Weights of metrics. A metric that is best near 1 counts by its distance from 1, |log value|."""

    weights: Mapping[str, float]

    @classmethod
    def parse(cls, text: str, extras: Sequence[str] = ()) -> Objective:
        """Return the objective of a text: `challenge`, `perceptual`, or "METRIC=WEIGHT METRIC=WEIGHT".

        `challenge` is the part of the challenge's sum that is measured.

        Raises:
            ValueError: for an unknown or unmeasured metric, or a weight with the wrong sign.
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
        """Return the sum for one photo.

        Raises:
            ValueError: if a metric was not measured or is infinite.
        """
        lacking = [name for name in self.weights if not math.isfinite(scores.get(name, math.nan))]
        if lacking:
            raise ValueError(
                f"{', '.join(lacking)} has no finite value here: the result is too small to "
                "measure it, or equals the original. Remove the photo, or the metric."
            )
        return math.fsum(weight * _amount(name, scores[name]) for name, weight in self.weights.items())

    def __str__(self) -> str:
        return " ".join(f"{name}={weight:g}" for name, weight in self.weights.items())


def check_metric(name: str, extras: Sequence[str] = ()) -> str:
    """Return the name of a metric that is measured in every trial.

    Raises:
        ValueError: if it is not measured.
    """
    trials = [known for known, metric in METRICS.items() if metric.reference != "borders"]
    if name not in (*trials, *extras):
        hint = f"; --extra {name} measures it" if name in EXTRAS else ""
        if name in EXTRAS and EXTRAS[name].complete:
            hint = f"; {EXTRAS[name].install} brings it"
        raise ValueError(f"No metric {name!r} is measured here{hint}. Measured are {', '.join(trials)}.")
    return name


def _weight(part: str) -> tuple[str, float]:
    name, _, weight = part.partition("=")
    try:
        return name, float(weight)
    except ValueError:
        raise ValueError(f'--objective: expected "METRIC=WEIGHT", got {part!r}.') from None


def _amount(name: str, value: float) -> float:
    near_1 = {**METRICS, **EXTRAS}[name].better == "near 1"
    return badness(name, value) if near_1 else value
