"""Results of a search: comparison with the workflow's own values, fidelity-perception curve, and plot."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence

from ..sample.presets import Comparison, FidelityCurve, Point, Value
from ..score.extras import EXTRAS
from ..score.metrics import METRICS, badness
from ..score.scoring import interval
from .objective import Objective
from .restorer import Scores
from .study import Trial

DIGITS = 6
INK, QUIET, FRONT, PRESET, DEFAULT = "#24292f", "#9aa4b2", "#0b6e99", "#d9480f", "#2f9e44"
WORDS = {"higher": "higher is better", "lower": "lower is better", "near 1": "best near 1"}


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
    for place, trial in sorted(zip(places, trials, strict=True), key=lambda entry: entry[0]):
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


def pareto(trials: Sequence[Trial], default: Trial, preset: Trial, fidelity: str, perception: str) -> bytes:
    """Return a PNG with all trials, the Pareto front, the workflow's own values and the preset."""
    from matplotlib.figure import Figure

    def places(shown: Sequence[Trial]) -> tuple[list[float], list[float]]:
        figures = [means(trial.scores) for trial in shown]
        return [f[fidelity] for f in figures], [f[perception] for f in figures]

    figure = Figure(figsize=(7.2, 4.8), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    optimal = front(trials, fidelity, perception)
    axes.scatter(*places(trials), s=28, c=QUIET, linewidths=0, label=f"{len(trials)} trials")
    axes.plot(*places(optimal), "o:", color=FRONT, ms=6, lw=1.2, label=f"Pareto front, {len(optimal)}")
    axes.scatter(*places([default]), s=90, c=DEFAULT, marker="s", zorder=3, label="the workflow's own values")
    axes.scatter(*places([preset]), s=210, c=PRESET, marker="*", zorder=4, label="preset")
    for name, axis in ((fidelity, axes.xaxis), (perception, axes.yaxis)):
        better = {**METRICS, **EXTRAS}[name].better
        axis.set_label_text(f"{name}, {WORDS[better]}", color=INK)
        axis.set_inverted(better == "lower")
    axes.set_title("Fidelity against perception", loc="left", color=INK, fontsize=11)
    axes.ticklabel_format(useOffset=False)
    axes.grid(color="#e6e9ee", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()
