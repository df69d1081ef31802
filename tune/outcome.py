"""Results of a search: comparisons with the workflow's own values, and the fidelity-perception curve."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..sample.presets import Comparison, FidelityCurve, Point, Value
from ..score.metrics import badness
from ..score.scoring import interval
from .objective import Objective
from .restorer import Scores
from .study import Trial

DIGITS = 6


def compare(objective: Objective, default: Sequence[Scores], tuned: Sequence[Scores]) -> Comparison:
    """Return the comparison of the tuned values with the default, photo by photo."""
    gains = [objective.of(after) - objective.of(before) for before, after in zip(default, tuned, strict=True)]
    ends = interval(gains)
    return Comparison(
        pairs=len(gains),
        default=means(default),
        preset=means(tuned),
        gain=round(math.fsum(gains) / len(gains), DIGITS),
        interval=(round(ends[0], DIGITS), round(ends[1], DIGITS)) if ends else None,
    )


def means(scores: Sequence[Scores]) -> dict[str, float]:
    """Return the mean of each metric that has a finite value for every photo."""
    complete = [name for name in scores[0] if all(math.isfinite(row.get(name, math.inf)) for row in scores)]
    return {name: round(math.fsum(row[name] for row in scores) / len(scores), DIGITS) for name in complete}


def front(trials: Sequence[Trial], fidelity: str, perception: str) -> list[Trial]:
    """Return the Pareto-optimal trials for two metrics, from the best perception to the best fidelity.

    Of trials with equal figures, the first is taken.
    """
    places = [tuple(badness(name, means(t.scores)[name]) for name in (perception, fidelity)) for t in trials]
    optimal: list[Trial] = []
    best = math.inf
    for place, _, trial in sorted(zip(places, range(len(trials)), trials, strict=True), key=lambda e: e[:2]):
        if place[1] < best:
            best = place[1]
            optimal.append(trial)
    return optimal


def curve(
    name: str, trials: Sequence[Trial], fidelity: str, perception: str, made_with: Mapping[str, Value]
) -> FidelityCurve:
    """Return the Pareto front as positions from 0 (best perception) to 1 (best fidelity)."""
    optimal = front(trials, fidelity, perception)
    lost = [badness(fidelity, means(trial.scores)[fidelity]) for trial in optimal]
    reach = lost[0] - lost[-1]
    return FidelityCurve(
        name=name,
        fidelity=fidelity,
        perception=perception,
        points=tuple(
            Point(
                position=(lost[0] - loss) / reach if reach else 1.0,
                values=trial.values,
                figures=means(trial.scores),
            )
            for trial, loss in zip(optimal, lost, strict=True)
        ),
        made_with=made_with,
    )
