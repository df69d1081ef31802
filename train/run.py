"""A run is a folder: its settings, its log, its pictures, its state, and the weights that came out of it."""

import json
import platform
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Any

from torch import Tensor

from ..files import parse_json, refuse_link, replace_file
from ..score.metrics import badness
from . import plan
from .checkpoint import read, save, trained
from .crew import Crew
from .data import Loader
from .loop import NotFiniteError, Trainer
from .presets import Preset, Stage, from_json, to_json
from .task import Start
from .tasks import build
from .validate import Validation
from .watch import Watch

CONFIG, STATE, STAGES, BEST, LAST = "config.json", "last.safetensors", "stages", "best", "last"
ECHO_S = 5.0  # launchers pass signals on, so that one Ctrl-C comes twice
PACKAGES = ("torch", "accelerate", "diffusers", "safetensors", "numpy")


class CannotWriteError(RuntimeError):
    """The run's folder takes nothing more; its last state is whole."""


class Interrupted(Exception):  # noqa: N818 - not an error
    """A signal ended the run, after its state was saved.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


@dataclass(frozen=True)
class Config:
    """All that decides what a run does.

    Attributes:
        name: of the preset.
        preset: with the changes of the command line, and the places of its data.
        base: pretrained weights.
        validate: folder of pairs to score on; None is the photos that the data holds out.
        workers: processes that make batches, for each process that trains.
    """

    name: str
    preset: Preset
    base: str | None = None
    validate: str | None = None
    workers: int = 2

    def write(self, folder: Path, changes: tuple[str, ...] = ()) -> None:
        """Make config.json, with what the code was; `changes` are noted with those of before."""
        file = folder / CONFIG
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_links(folder)
        before = parse_json(file.read_bytes())["changes"] if file.exists() else []
        content = {**asdict(self), "preset": to_json(self.preset)}
        content |= {"changes": [*before, *changes], "made_by": made_by()}
        replace_file(file, (json.dumps(content, indent=2) + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> "Config":
        """From a run's folder.

        Raises:
            FileNotFoundError: if it is none.
            ValueError: if its config.json isn't one, or there are links in it.
        """
        if not (folder / CONFIG).is_file():
            raise FileNotFoundError(
                f"There is no run in '{folder}': it has no {CONFIG}. --resume takes what --out named."
            )
        _refuse_links(folder)
        try:
            content = parse_json((folder / CONFIG).read_bytes())
            fields = {name: content[name] for name in ("name", "base", "validate", "workers")}
            return cls(preset=from_json(content["preset"]), **fields)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            why = error if type(error) is ValueError else f"{type(error).__name__}: {error}"
            raise ValueError(f"'{folder / CONFIG}' is not what a run writes there. {why}") from error


def made_by() -> dict[str, Any]:
    """The code's git revision, with a + if files were changed since, and the versions of what it uses."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {"revision": _revision(), "python": platform.python_version(), **versions}


def run(config: Config, folder: Path, crew: Crew) -> None:
    """Train all stages, or go on where the folder's state says.

    Raises:
        CannotWriteError: if the folder is full.
        Interrupted: if a signal came; the state is saved.
        NotFiniteError: if a loss or gradient isn't finite; the state before it is saved.
    """
    weights: dict[str, Tensor] = {}
    tensors, notes = read(folder / STATE) if (folder / STATE).exists() else ({}, {})
    watch = Watch(folder, quiet=not crew.main)
    for stage in config.preset.stages:
        if _end(folder, stage).exists():
            weights = read(_end(folder, stage))[0]
            continue
        base = Path(config.base) if config.base else None
        trainer = Trainer(build(stage, Start(config.preset.seed, base, weights)), stage, crew)
        phase = _Phase(config, folder, crew, watch, trainer, final=stage is config.preset.stages[-1])
        if notes.get("stage") == stage.name:
            trainer.load(tensors, notes)
            phase.best = notes["best"]
        tensors = {}  # they are in the trainer now
        weights = phase.train(weights)
    if crew.main:
        best = f", those that scored best in {folder / BEST}" if (folder / BEST).exists() else ""
        watch.say(f"Done. The trained weights are in {folder / LAST}{best}.")


@dataclass
class _Phase:
    """One stage of a run, from its state to its end."""

    config: Config
    folder: Path
    crew: Crew
    watch: Watch
    trainer: Trainer
    final: bool
    best: dict[str, float] = field(default_factory=dict)

    def train(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Do the steps that are left; `weights` of earlier stages come back with this one's.

        Raises:
            ValueError: if the processes can't share the batch.
        """
        stage, crew, trainer, preset = self.trainer.stage, self.crew, self.trainer, self.config.preset
        self._saved, self._saved_at = trainer.step, time.monotonic()
        loader = Loader(
            preset.data,
            seed=preset.seed,
            stage=stage.name,
            batch=stage.batch,
            crop=stage.crop,
            rank=crew.rank,
            world=crew.size,
            device=crew.device,
            workers=self.config.workers,
            run=self.folder if crew.main else None,
        )
        if stage.batch % (crew.size * stage.accumulate):
            raise ValueError(
                f"{stage.name}.batch is {stage.batch}; {crew.size} processes that accumulate "
                f"{stage.accumulate} parts each need a multiple of {crew.size * stage.accumulate}."
            )
        self._announce(loader)
        validation = Validation.of(self.config, stage, crew)
        with self.watch.stage(stage, trainer.step), _Signals() as signals:
            if trainer.step < stage.steps:
                with closing(loader.steps(trainer.step, stage.steps)) as batches:
                    for batch in batches:
                        self._step(batch, validation, signals)
            with self._writing():
                return self._finish(weights, loader)

    def _announce(self, loader: Loader) -> None:
        trainer = self.trainer
        if self.crew.main:
            self.watch.say(f"{trainer.stage.name}: {self.crew.size} processes on {self.crew.device.type}")
            self.watch.say(loader.describe())
            with closing(loader.steps(0, 1, workers=0)) as batches:
                memory = plan.measure(trainer, next(batches), self.crew)
            self.watch.say(plan.table(memory, plan.room(self.crew.device)))

    def _step(self, batch: Any, validation: Validation, signals: "_Signals") -> None:
        trainer, stage = self.trainer, self.trainer.stage
        began = time.monotonic()
        try:
            values = trainer.advance(batch.split(stage.accumulate))
        except NotFiniteError as error:
            raise self._stopped(error) from None
        values["seconds"] = time.monotonic() - began
        step = trainer.step
        with self._writing():
            self.watch.log(step, values)
            validate = _due(stage.validate_every, step, stage.steps)
            sample = _due(stage.sample_every, step, stage.steps)
            if validate or sample:
                self._validate(validation, validate, sample)
            stop = self.crew.any(bool(signals))
            late = time.monotonic() - self._saved_at >= stage.save_every_s
            if stop or late or step == stage.steps:
                self._save()
        if stop:
            raise Interrupted(
                signals.number or signal.SIGTERM,
                f"Stopped after step {step} of '{stage.name}'; its state is saved. {_resume(self.folder)}",
            )

    def _validate(self, validation: Validation, scores: bool, sheet: bool) -> None:
        trainer, stage = self.trainer, self.trainer.stage
        with trainer.average.worn():
            found, picture = validation.run(trainer, sheet=sheet)
            if sheet and picture is not None:
                self.watch.picture(f"{stage.name}-{trainer.step:06d}", picture)
            if not (scores and found):
                return
            self.watch.log(trainer.step, {f"validation.{name}": x for name, x in found.items()})
            metric = self.config.preset.best
            if metric not in found:
                return
            if not self.best or badness(metric, found[metric]) < badness(metric, self.best["value"]):
                self.best = {"step": trainer.step, "value": found[metric]}
                if self.final and self.crew.main:
                    self.trainer.task.export(_made(self.folder / BEST))

    def _save(self) -> None:
        trainer = self.trainer
        if self.crew.main:
            notes = {"stage": trainer.stage.name, **trainer.notes(), "best": self.best}
            save(self.folder / STATE, trainer.tensors(), notes)
            self.watch.curves(last=trainer.step == trainer.stage.steps)
        self._saved, self._saved_at = trainer.step, time.monotonic()

    def _finish(self, weights: Mapping[str, Tensor], loader: Loader) -> dict[str, Tensor]:
        """Keep the averaged weights, and export those of the last stage."""
        trainer = self.trainer
        if loader.skipped and self.crew.main:
            self.watch.say(
                f"{len(loader.skipped)} photos couldn't be used and others took their places: "
                f"{', '.join(list(loader.skipped)[:3])} … All are in {self.folder / 'skipped.txt'}."
            )
        with trainer.average.worn():
            weights = {
                **weights,
                **{name: x.detach().cpu().clone() for name, x in trained(trainer.task).items()},
            }
            if self.crew.main:
                if self.final:
                    trainer.task.export(_made(self.folder / LAST))
                save(_end(self.folder, trainer.stage), weights, {"step": trainer.step})
        self.crew.wait()
        return weights

    def _stopped(self, error: NotFiniteError) -> NotFiniteError:
        """Save what led to it, and say so."""
        trainer = self.trainer
        file = self.folder / f"nan-step-{trainer.step + 1}.safetensors"
        with self._writing():
            if self.crew.main:
                save(file, trainer.tensors(), {"stage": trainer.stage.name, **trainer.notes()})
        before = f"{STATE} is of step {self._saved}" if (self.folder / STATE).exists() else f"no {STATE} yet"
        return NotFiniteError(
            f"{error} The state before that is in '{file}'; {before}. Look at the "
            f"photos; a lower learning rate or precision bf16 may help. {_resume(self.folder)} "
            f"--set {trainer.stage.name}.learning_rate={trainer.stage.learning_rate / 2:g}"
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CannotWriteError(
                f"Can't write to '{self.folder}' after step {self.trainer.step}: {error}. {STATE} is whole, "
                f"of step {self._saved} of '{self.trainer.stage.name}'. Make room there. "
                f"{_resume(self.folder)}"
            ) from error


class _Signals:
    """Notes SIGINT and SIGTERM in a `with` statement; another one some seconds later ends the program."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._at = 0.0

    def __enter__(self) -> "_Signals":
        self._before = {
            number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __bool__(self) -> bool:
        return self.number is not None

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.number is not None and time.monotonic() - self._at > ECHO_S:
            raise KeyboardInterrupt
        if self.number is None:
            self.number, self._at = number, time.monotonic()


def _refuse_links(folder: Path) -> None:
    for path in folder.rglob("*"):
        refuse_link(path)


def _due(every: int, step: int, last: int) -> bool:
    return bool(every) and (step % every == 0 or step == last)


def _end(folder: Path, stage: Stage) -> Path:
    return folder / STAGES / f"{stage.name}.safetensors"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _resume(folder: Path) -> str:
    return f"Go on with:  python -m ugc_sr.train --resume {shlex.quote(str(folder))}"


def _revision() -> str | None:
    here = Path(__file__).resolve().parent
    try:
        answers = [
            subprocess.run(
                ["git", *words], cwd=here, capture_output=True, text=True, check=True, timeout=20
            ).stdout
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    return answers[0].strip() + ("+" if answers[1].strip() else "")
