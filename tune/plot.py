"""The plot of fidelity against perception."""

from __future__ import annotations

import io
from collections.abc import Sequence

from ..score.extras import EXTRAS
from ..score.metrics import METRICS
from .outcome import front, means
from .study import Trial

INK, QUIET, FRONT, PRESET, DEFAULT = "#24292f", "#9aa4b2", "#0b6e99", "#d9480f", "#2f9e44"
WORDS = {"higher": "higher is better", "lower": "lower is better", "near 1": "best near 1"}


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
