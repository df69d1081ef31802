"""The log of a run: lines or a progress bar, metrics.csv, TensorBoard, pictures and curves."""

import csv
import io
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard.writer import SummaryWriter
from tqdm import tqdm

from ..files import replace_file
from .stages import Stage

METRICS, CURVES, SAMPLES, TENSORBOARD = "metrics.csv", "curves.png", "samples", "tensorboard"
HEAD = ["stage", "step", "name", "value"]
LINE_EVERY_S, DRAW_EVERY_S = 30, 60
SMOOTH = 0.95  # decay of the loss that is displayed
PANEL_IN = (6.0, 3.0)  # inches, width and height of a panel of curves
COLUMNS = 3
HIDDEN = ("seconds",)
POINTS = 200  # of a smoothed line
Row = tuple[str, int, str, float]  # stage, step, name, value


class RunLog:
    """The log of a run; with `quiet`, for processes that don't write, it does nothing."""

    def __init__(self, folder: Path, quiet: bool = False) -> None:
        self.folder, self.quiet = folder, quiet
        self._drawn = -math.inf
        self._console = Console(quiet=quiet, soft_wrap=True, highlight=False, markup=False)

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text)

    @contextmanager
    def stage(self, stage: Stage, step: int) -> Iterator[None]:
        """Open the logs of a stage during the `with` statement; entries of steps after `step` are deleted."""
        if self.quiet:
            yield
            return
        forget(self.folder / METRICS, stage.name, step)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(compact=True),
        )
        self._stage, self._first, self._began = stage, step, time.monotonic()
        self._printed, self._loss = 0.0, None
        self._board = SummaryWriter(self.folder / TENSORBOARD / stage.name, purge_step=step + 1)
        self._file = (self.folder / METRICS).open("a", newline="")
        self._rows = csv.writer(self._file)
        try:
            if not self._file.tell():
                self._rows.writerow(HEAD)
            bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
            with bar as self._bar:
                self._item = bar.add_task(stage.name, total=stage.steps, completed=step, loss="")
                yield
        finally:
            for log in (self._board, self._file):
                with suppress(OSError):  # a full disk was reported already
                    log.close()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers of a step."""
        if self.quiet:
            return
        self._rows.writerows([self._stage.name, step, name, f"{value:.9g}"] for name, value in values.items())
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)
        if "loss" in values:
            self._show(step, values["loss"])
        scores = {name: value for name, value in values.items() if name.startswith("validation.")}
        if scores:
            text = "  ".join(
                f"{name.removeprefix('validation.')} {value:.4g}" for name, value in scores.items()
            )
            self.say(f"{self._stage.name} {step}: {text}")

    def picture(self, step: int, picture: Image.Image) -> None:
        """Save a sheet of pictures."""
        if self.quiet:
            return
        content = io.BytesIO()
        picture.save(content, "PNG")
        (self.folder / SAMPLES).mkdir(exist_ok=True)
        replace_file(self.folder / SAMPLES / f"{self._stage.name}-{step:06d}.png", content.getvalue())
        self._board.add_image("samples", np.asarray(picture), step, dataformats="HWC")

    def curves(self, last: bool) -> None:
        """Draw the learning curves, unless they were drawn recently and more steps will follow."""
        if not self.quiet and (last or time.monotonic() - self._drawn >= DRAW_EVERY_S):
            self._drawn = time.monotonic()
            replace_file(self.folder / CURVES, _curves(rows(self.folder / METRICS)))

    def _show(self, step: int, loss: float) -> None:
        self._loss = loss if self._loss is None else SMOOTH * self._loss + (1 - SMOOTH) * loss
        self._bar.update(self._item, completed=step, loss=f"loss {self._loss:.5f}")
        now = time.monotonic()
        last = step == self._stage.steps
        if self._console.is_terminal or not (last or now - self._printed >= LINE_EVERY_S):
            return
        self._printed = now
        speed = (step - self._first) / max(now - self._began, 1e-9)
        left = (self._stage.steps - step) / speed
        self.say(
            f"{self._stage.name} {step}/{self._stage.steps}  loss {self._loss:.5f}  {speed:.2f} steps/s  "
            f"{tqdm.format_interval(left)} left"
        )


def rows(file: Path) -> list[Row]:
    """Return the numbers of metrics.csv, without an incomplete last line."""
    if not file.exists():
        return []
    with file.open(newline="") as lines:
        complete = [row for row in csv.reader(lines) if len(row) == len(HEAD) and row != HEAD]
    return [(stage, int(step), name, float(value)) for stage, step, name, value in complete if value]


def forget(file: Path, stage: str, step: int) -> None:
    """Delete the entries of a stage after a step, and of later stages."""
    if not file.exists():
        return
    logged = rows(file)
    later = next((i for i, row in enumerate(logged) if row[0] == stage and row[1] > step), len(logged))
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(HEAD)
    writer.writerows([row[0], row[1], row[2], f"{row[3]:.9g}"] for row in logged[:later])
    replace_file(file, out.getvalue().encode())


def _curves(rows: Sequence[Row]) -> bytes:
    """Return a PNG with a panel per name, the stages one after the other."""
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
        for number, stage in enumerate(ends):
            points = [(begins[stage] + row[1], row[3]) for row in rows if row[0] == stage and row[2] == name]
            if points:
                _draw(axes, points, stage, f"C{number}")  # one colour a stage in all panels
        axes.set_title(name.replace("validation.", "validation: "), loc="left", fontsize=10)
        axes.set_xlabel("step")
        if place == 0 and len(ends) > 1:
            axes.legend(frameon=False)
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)
    return content.getvalue()


def _draw(axes: Any, points: Sequence[tuple[int, float]], label: str, color: str) -> None:
    """Draw few points as they are, many as a faint line under their running means."""
    steps, values = zip(*points, strict=True)
    if len(points) <= POINTS:
        axes.plot(steps, values, color, label=label, marker="." if len(points) < POINTS // 8 else "")
        return
    width = len(points) // POINTS + 1
    chunks = [slice(first, first + width) for first in range(0, len(points), width)]
    means = [sum(values[chunk]) / len(values[chunk]) for chunk in chunks]
    axes.plot([steps[chunk][-1] for chunk in chunks], means, color, label=label)
    axes.plot(steps, values, color, alpha=0.2, linewidth=0.5)
