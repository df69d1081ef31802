"""What a search found: the preset, and the curve between fidelity and perception."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..sample.presets import Comparison, FidelityCurve, Point, Value
from ..score.files import interval
from ..score.metrics import badness
from .objective import Objective
from .restorer import Scores
from .study import Trial

DIGITS = 6


def compare(objective: Objective, default: Sequence[Scores], tuned: Sequence[Scores]) -> Comparison:
    """The tuned values against the default, photo by photo."""
    gains = [objective.of(after) - objective.of(before) for before, after in zip(default, tuned, strict=True)]
    found = interval(gains)
    return Comparison(
        pairs=len(gains),
        default=means(default),
        preset=means(tuned),
        gain=round(math.fsum(gains) / len(gains), DIGITS),
        interval=(round(found[0], DIGITS), round(found[1], DIGITS)) if found else None,
    )


def means(scores: Sequence[Scores]) -> dict[str, float]:
    """Each metric that every photo has, finite, averaged over them."""
    complete = [name for name in scores[0] if all(math.isfinite(row.get(name, math.inf)) for row in scores)]
    return {name: round(math.fsum(row[name] for row in scores) / len(scores), DIGITS) for name in complete}


def front(trials: Sequence[Trial], fidelity: str, perception: str) -> list[Trial]:
    """The trials that none other beats in one of the two metrics without losing in the other.

    Sorted from the best perception to the best fidelity; of trials with equal figures, the first.
    """
    places = [tuple(badness(name, means(t.scores)[name]) for name in (perception, fidelity)) for t in trials]
    kept: list[Trial] = []
    best = math.inf
    for place, _, trial in sorted(zip(places, range(len(trials)), trials, strict=True), key=lambda e: e[:2]):
        if place[1] < best:
            best = place[1]
            kept.append(trial)
    return kept


def curve(
    name: str, trials: Sequence[Trial], fidelity: str, perception: str, made_with: Mapping[str, Value]
) -> FidelityCurve:
    """The front as positions from 0 to 1, by how near each comes to the best fidelity."""
    kept = front(trials, fidelity, perception)
    lost = [badness(fidelity, means(trial.scores)[fidelity]) for trial in kept]
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
            for trial, loss in zip(kept, lost, strict=True)
        ),
        made_with=made_with,
    )
