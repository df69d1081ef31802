"""Plots of a report as SVG, in the colours and the font of the page around them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# What is drawn stands for a colour that the page chooses, so that one plot serves light and dark.
INK, FAINT, MARK = "#010203", "#040506", "#070809"
VARIABLES = {INK: "var(--ink)", FAINT: "var(--faint)", MARK: "var(--mark)"}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "text.color": INK,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
}


def require_matplotlib(option: str) -> None:
    """Check that matplotlib, which an option of a command needs, is installed.

    Raises:
        RuntimeError: if it is missing.
    """
    if find_spec("matplotlib") is None:
        raise RuntimeError(
            f'{option} needs matplotlib. Install it with  pip install "ugc-super-resolution[plots]"'
        )


def distribution(name: str, values: Sequence[float], mean: float, interval: Sequence[float]) -> str:
    """Return a histogram of finite values with a tick per value, their mean, and its interval as a band.

    Args:
        name: the metric; unique among the plots of a page.
        values: at least two.
        mean: drawn as a line.
        interval: (low, high).
    """

    def draw(axes: Axes) -> None:
        axes.hist(values, bins="auto" if min(values) < max(values) else 1, color=FAINT, alpha=0.45)
        axes.axvspan(*interval, color=MARK, alpha=0.25, linewidth=0)
        axes.axvline(mean, color=MARK, linewidth=2)
        foot = axes.get_xaxis_transform()
        axes.plot(values, [0.04] * len(values), "|", color=INK, markersize=7, transform=foot)
        axes.locator_params(axis="y", nbins=4, integer=True)
        axes.locator_params(axis="x", nbins=6)
        axes.set_ylabel("pictures")

    return _svg(name, (3.6, 1.9), draw)


def scatter(x: Sequence[float], y: Sequence[float], labels: tuple[str, str], down: tuple[bool, bool]) -> str:
    """Return a scatter plot with a numbered point per picture; better is to the right and up.

    Args:
        x: finite values.
        y: as many finite values.
        labels: labels of both axes.
        down: for each axis, whether lower is better, which inverts the axis.
    """

    def draw(axes: Axes) -> None:
        axes.scatter(x, y, s=28, color=MARK, alpha=0.8, linewidth=0)
        for number, place in enumerate(zip(x, y, strict=True), start=1):
            axes.annotate(str(number), place, xytext=(4, 3), textcoords="offset points", fontsize=8)
        axes.set_xlabel(f"{labels[0]}, better to the right")
        axes.set_ylabel(f"{labels[1]}, better up")
        axes.xaxis.set_inverted(down[0])
        axes.yaxis.set_inverted(down[1])
        axes.margins(0.08)

    return _svg("scatter", (5.2, 3.2), draw)


def _svg(name: str, size: tuple[float, float], draw: Callable[[Axes], None]) -> str:
    """Return the plot that `draw` draws; the bytes are reproducible, and ids differ between names."""
    import matplotlib
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained", facecolor="none")
        axes = figure.subplots()
        axes.set_facecolor("none")
        draw(axes)
        # Without the program's name, the date, and ids of groups, which every plot has.
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    drawn = buffer.getvalue()
    drawn = re.sub(r'<g id="[^"]*"', "<g", drawn[drawn.index("<svg") :])
    return re.sub("|".join(VARIABLES), lambda found: VARIABLES[found.group()], drawn)
