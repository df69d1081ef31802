"""The command that compares the damage of two folders of photos, statistic by statistic."""

import argparse
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..console import columns
from ..files import replace_file
from ..photos.formats import PhotoError
from ..photos.listing import list_photos
from ..score.damage import STATISTICS, measure
from ..score.plots import require_matplotlib
from .dataset.whole_photo import load_photo

Figures = dict[str, Any]  # {"name": file, statistic: value, ...}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `python -m ugc_sr.degrade compare`."""
    parser.add_argument("a", type=Path, metavar="A", help="damaged photos, such as lr/ that a recipe made")
    parser.add_argument(
        "b", type=Path, metavar="B", help="photos that A should resemble, such as real uploads"
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write a report here instead of a table; - is the screen"
    )
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the distributions into this picture")


def main(options: argparse.Namespace) -> int:
    """Print a table or write a report; print a line on stderr for each photo that could not be measured.

    Returns:
        The exit status: 0; 1 if a photo could not be measured; 2 if nothing could.
    """
    sides, problems = {}, []
    try:
        for name, path in (("a", options.a), ("b", options.b)):
            sides[name] = measure_all(path, problems)
        report = compare(sides["a"], sides["b"])
        if options.plot:
            plot(sides["a"], sides["b"], (str(options.a), str(options.b)), options.plot)
        report = {"a": str(options.a), "b": str(options.b), **report}
        text = table(report) if options.json is None else json.dumps(report, indent=2, allow_nan=False) + "\n"
        if options.json not in (None, "-"):
            replace_file(Path(options.json), text.encode())
    except (ValueError, OSError, RuntimeError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    if options.json in (None, "-"):
        sys.stdout.write(text)
    return int(bool(problems))


def measure_all(path: Path, problems: list[str]) -> list[Figures]:
    """Return the statistics of every photo of a file or folder.

    Args:
        path: the file or folder.
        problems: gets a line for each photo that can't be measured.

    Raises:
        ValueError: if no photo is left.
    """
    measured, listing = [], list_photos(path)
    sys.stderr.writelines(f"{path}: {line}\n" for line in listing.passed_over())
    for name, file in listing.photos.items():
        try:
            measured.append({"name": name, **measure(load_photo(file))})
        except PhotoError as error:
            problems.append(str(error))
        except ValueError as error:
            problems.append(f"{file}: {error}")
    if not measured:
        raise ValueError("\n".join([*problems, f"{path}: there is no photo that can be measured."]))
    return measured


def compare(a: Sequence[Figures], b: Sequence[Figures]) -> dict[str, Any]:
    """Return medians, interquartile ranges and distances of all statistics.

    Returns:
        {"statistics": {name: {"meaning", "unit", "a": {"median", "iqr"}, "b": ..., "distance": Wasserstein
        distance in the unit of the statistic, "over_iqr": the distance over the IQR of `b`, null where that
        is 0}}, "photos": {"a": [...], "b": [...]}}. Distributions with "over_iqr" below 0.3 are hard to
        tell apart.
    """
    from scipy.stats import wasserstein_distance

    statistics = {}
    for name, statistic in STATISTICS.items():
        left, right = (torch.tensor([row[name] for row in side], dtype=torch.float64) for side in (a, b))
        distance, spread = float(wasserstein_distance(left, right)), _iqr(right)
        statistics[name] = {
            "meaning": statistic.meaning,
            "unit": statistic.unit,
            "a": {"median": left.quantile(0.5).item(), "iqr": _iqr(left)},
            "b": {"median": right.quantile(0.5).item(), "iqr": spread},
            "distance": distance,
            "over_iqr": distance / spread if spread else None,
        }
    return {"statistics": statistics, "photos": {"a": list(a), "b": list(b)}}


def table(report: dict[str, Any]) -> str:
    """Return a report as text, one line per statistic."""
    lines: list[tuple[str, ...]] = [("", "A median", "IQR", "B median", "IQR", "distance", "/ IQR of B")]
    for name, row in report["statistics"].items():
        values = (row["a"]["median"], row["a"]["iqr"], row["b"]["median"], row["b"]["iqr"], row["distance"])
        ratio = "-" if row["over_iqr"] is None else f"{row['over_iqr']:.2f}"
        lines.append((name, *(f"{value:.3f}" for value in values), ratio))
    head = "".join(
        f"{side.upper()}: {len(report['photos'][side])} photos of {report[side]}\n" for side in "ab"
    )
    return head + columns(lines)


def plot(a: Sequence[Figures], b: Sequence[Figures], names: tuple[str, str], file: Path) -> None:
    """Draw the empirical CDFs of both sides into a PNG file, one panel per statistic.

    Raises:
        RuntimeError: if matplotlib is missing.
    """
    require_matplotlib("--plot")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 7), layout="constrained")
    panels = list(figure.subplots(2, 4).flat)
    for unused in panels[len(STATISTICS) :]:
        unused.set_axis_off()
    for panel, (name, statistic) in zip(panels, STATISTICS.items(), strict=False):
        for side, label in zip((a, b), names, strict=True):
            panel.ecdf([row[name] for row in side], label=f"{label} ({len(side)})")
        panel.set_title(f"{name}: {statistic.meaning}", fontsize=9)
        panel.set_xlabel(statistic.unit)
        panel.set_ylabel("share of photos below")
        panel.legend(fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    replace_file(file, buffer.getvalue())


def _iqr(values: Tensor) -> float:
    return (values.quantile(0.75) - values.quantile(0.25)).item()
