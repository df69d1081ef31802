"""A training run: all stages of a preset, in a folder with its settings, log, state and weights."""

import shlex
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from ..console import StopSignals
from ..score.metrics import badness
from . import memory_plan
from .checkpoint import read, save, trained
from .config import Config
from .data import Loader
from .distributed import Distributed
from .loop import NotFiniteError, Trainer
from .run_log import RunLog
from .stages import Stage
from .task import Batch, Start, build
from .validate import validate, validation_batch

STATE, STAGES, BEST, LAST = "last.safetensors", "stages", "best", "last"
FULL, NOT_FINITE = 3, 4  # exit codes: the disk is full; a loss or gradient isn't finite
ECHO_S = 5.0  # launchers pass signals on, so one Ctrl-C arrives twice


class EndedError(Exception):
    """The run ended early, its last state whole; `code` is FULL, NOT_FINITE, or 128 + a signal's number."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def run(config: Config, folder: Path, processes: Distributed) -> None:
    """Train all stages, or continue from the state in the folder.

    Raises:
        EndedError: if the disk is full, a loss or gradient isn't finite, or after a signal.
    """
    weights: dict[str, Tensor] = {}
    tensors, notes = read(folder / STATE) if (folder / STATE).exists() else ({}, {})
    log = RunLog(folder, quiet=not processes.is_main)
    for stage in config.preset.stages:
        if _end(folder, stage).exists():
            weights = read(_end(folder, stage))[0]
            continue
        base = Path(config.base) if config.base else None
        trainer = Trainer(build(stage, Start(config.preset.seed, base, weights)), stage, processes)
        is_last = stage is config.preset.stages[-1]
        stage_run = _StageRun(config, folder, processes, log, trainer, is_last)
        if notes.get("stage") == stage.name:
            trainer.load(tensors, notes)
            stage_run.best = notes["best"]
        tensors = {}  # free the memory: they are in the trainer now
        weights = stage_run.train(weights)
    if processes.is_main:
        best = f", those with the best score in {folder / BEST}" if (folder / BEST).exists() else ""
        log.say(f"Done. The trained weights are in {folder / LAST}{best}.")


@dataclass
class _StageRun:
    """One stage of a run, from its saved state to its end."""

    config: Config
    folder: Path
    processes: Distributed
    log: RunLog
    trainer: Trainer
    is_last: bool
    best: dict[str, float] = field(default_factory=dict)

    def train(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Do the remaining steps.

        Returns:
            `weights`, those of earlier stages, with this stage's added.

        Raises:
            ValueError: if the processes can't share the batch.
        """
        trainer, processes, preset = self.trainer, self.processes, self.config.preset
        stage = trainer.stage
        self._saved, self._saved_at = trainer.step, time.monotonic()
        if stage.batch % (processes.size * stage.accumulate):
            raise ValueError(
                f"{stage.name}.batch is {stage.batch}; {processes.size} processes that accumulate "
                f"{stage.accumulate} parts each need a multiple of {processes.size * stage.accumulate}."
            )
        loader = Loader(
            preset.data,
            seed=preset.seed,
            stage=stage.name,
            batch=stage.batch,
            crop=stage.crop,
            rank=processes.rank,
            world=processes.size,
            device=processes.device,
            workers=self.config.workers,
            run=self.folder if processes.is_main else None,
        )
        self._announce(loader)
        photos = validation_batch(self.config, stage)
        with self.log.stage(stage, trainer.step), StopSignals(echo_s=ECHO_S) as signals:
            if trainer.step < stage.steps:
                with closing(loader.steps(trainer.step, stage.steps)) as batches:
                    for batch in batches:
                        self._step(batch, photos, signals)
            with self._writing():
                return self._finish(weights, loader)

    def _announce(self, loader: Loader) -> None:
        trainer = self.trainer
        if self.processes.is_main:
            device = self.processes.device
            self.log.say(f"{trainer.stage.name}: {self.processes.size} processes on {device.type}")
            self.log.say(loader.mix.describe())
            with closing(loader.steps(0, 1, workers=0)) as batches:
                plan = memory_plan.measure(trainer, next(batches), self.processes)
            self.log.say(memory_plan.table(plan, memory_plan.device_bytes(device)))

    def _step(self, batch: Batch, photos: Batch | None, signals: StopSignals) -> None:
        trainer, stage = self.trainer, self.trainer.stage
        began = time.monotonic()
        try:
            values = trainer.advance(batch.split(stage.accumulate))
        except NotFiniteError as error:
            raise EndedError(self._not_finite(error), NOT_FINITE) from None
        values["seconds"] = time.monotonic() - began
        step = trainer.step
        with self._writing():
            self.log.log(step, values)
            scores = _is_due(stage.validate_every, step, stage.steps)
            sheet = _is_due(stage.sample_every, step, stage.steps)
            if photos and (scores or sheet):
                self._validate(photos, scores, sheet)
            stop = self.processes.any(bool(signals))
            if stop or step == stage.steps or time.monotonic() - self._saved_at >= stage.save_every_s:
                self._save()
        if stop:
            message = (
                f"Stopped after step {step} of '{stage.name}'; its state is saved. {_resume(self.folder)}"
            )
            raise EndedError(message, 128 + (signals.number or signal.SIGTERM))

    def _validate(self, photos: Batch, scores: bool, sheet: bool) -> None:
        trainer = self.trainer
        with trainer.average.applied():
            means, picture = validate(trainer, photos, self.processes, sheet)
            if picture is not None:
                self.log.picture(trainer.step, picture)
            if not scores:
                return
            self.log.log(trainer.step, {f"validation.{name}": value for name, value in means.items()})
            metric = self.config.preset.best
            if metric not in means:
                return
            if not self.best or badness(metric, means[metric]) < badness(metric, self.best["value"]):
                self.best = {"step": trainer.step, "value": means[metric]}
                if self.is_last and self.processes.is_main:
                    trainer.task.export(self.folder / BEST)

    def _save(self) -> None:
        trainer = self.trainer
        if self.processes.is_main:
            notes = {"stage": trainer.stage.name, **trainer.notes(), "best": self.best}
            save(self.folder / STATE, trainer.tensors(), notes)
            self.log.curves(last=trainer.step == trainer.stage.steps)
        self._saved, self._saved_at = trainer.step, time.monotonic()

    def _finish(self, weights: Mapping[str, Tensor], loader: Loader) -> dict[str, Tensor]:
        """Save the averaged weights, and export those of the last stage."""
        trainer = self.trainer
        if loader.skipped and self.processes.is_main:
            self.log.say(
                f"{len(loader.skipped)} photos could not be used and were replaced by others: "
                f"{', '.join(list(loader.skipped)[:3])} … All are in {self.folder / 'skipped.txt'}."
            )
        with trainer.average.applied():
            own = {name: value.detach().cpu().clone() for name, value in trained(trainer.task).items()}
            weights = {**weights, **own}
            if self.processes.is_main:
                if self.is_last:
                    trainer.task.export(self.folder / LAST)
                save(_end(self.folder, trainer.stage), weights, {"step": trainer.step})
        self.processes.wait()
        return weights

    def _not_finite(self, error: NotFiniteError) -> str:
        """Save the state that led to the error, and return a message with advice."""
        trainer = self.trainer
        file = self.folder / f"nan-step-{trainer.step + 1}.safetensors"
        with self._writing():
            if self.processes.is_main:
                save(file, trainer.tensors(), {"stage": trainer.stage.name, **trainer.notes()})
        before = f"{STATE} is of step {self._saved}" if (self.folder / STATE).exists() else f"no {STATE} yet"
        return (
            f"{error} The state before that is in '{file}'; {before}. Look at the "
            f"photos; a lower learning rate or precision bf16 may help. {_resume(self.folder)} "
            f"--set {trainer.stage.name}.learning_rate={trainer.stage.learning_rate / 2:g}"
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if (self.folder / STATE).exists():
                saved = f"step {self._saved} of '{self.trainer.stage.name}'"
                left = f"{STATE} is whole, of {saved}. Make room there. {_resume(self.folder)}"
            else:
                left = (
                    f"There is no {STATE} to go on from. Make room there, or leave the folder in its place, "
                    "and begin again."
                )
            message = f"Can't write to '{self.folder}' after step {self.trainer.step}: {error}. {left}"
            raise EndedError(message, FULL) from error


def _is_due(every: int, step: int, last: int) -> bool:
    return bool(every) and (step % every == 0 or step == last)


def _end(folder: Path, stage: Stage) -> Path:
    return folder / STAGES / f"{stage.name}.safetensors"


def _resume(folder: Path) -> str:
    return f"Go on with:  python -m ugc_sr.train --resume {shlex.quote(str(folder))}"
