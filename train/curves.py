"""Learning curves as one picture."""

import io
from collections.abc import Sequence
from typing import Any

PANEL_IN = (6.0, 3.0)  # inches, width and height
COLUMNS = 3
HIDDEN = ("seconds",)
POINTS = 200  # of a smoothed line


def curves(rows: Sequence[tuple[str, int, str, float]]) -> bytes:
    """Return a PNG with a panel per name, the stages one after the other.

    Args:
        rows: (stage, step, name, value), in the order of logging.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for name in dict.fromkeys(row[2] for row in rows) if name not in HIDDEN] or ["loss"]
    ends: dict[str, int] = {}  # last step of each stage
    for stage, step, *_ in rows:
        ends[stage] = max(ends.get(stage, 0), step)
    begins = {stage: sum(list(ends.values())[:place]) for place, stage in enumerate(ends)}
    lines = -(-len(names) // COLUMNS)
    size = (PANEL_IN[0] * min(len(names), COLUMNS), PANEL_IN[1] * lines)
    figure = Figure(figsize=size, layout="constrained")
    for place, name in enumerate(names):
        axes = figure.add_subplot(lines, min(len(names), COLUMNS), place + 1)
        for stage in ends:
            points = [(begins[stage] + row[1], row[3]) for row in rows if row[0] == stage and row[2] == name]
            if points:
                _draw(axes, points, stage)
        axes.set_title(name.replace("validation.", "validation: "), loc="left", fontsize=10)
        axes.set_xlabel("step")
        if place == 0 and len(ends) > 1:
            axes.legend(frameon=False)
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)
    return content.getvalue()


def _draw(axes: Any, points: Sequence[tuple[int, float]], label: str) -> None:
    """Draw few points as they are, many as a faint line under their running means."""
    steps, values = zip(*points, strict=True)
    if len(points) <= POINTS:
        axes.plot(steps, values, label=label, marker="." if len(points) < POINTS // 8 else "")
        return
    width = len(points) // POINTS + 1
    chunks = [slice(first, first + width) for first in range(0, len(points), width)]
    means = [sum(values[chunk]) / len(values[chunk]) for chunk in chunks]
    (line,) = axes.plot([steps[chunk][-1] for chunk in chunks], means, label=label)
    axes.plot(steps, values, color=line.get_color(), alpha=0.2, linewidth=0.5)
