"""The search: Optuna's TPE, saved after every trial, so that it can be resumed at any time."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import refuse_link
from ..sample.presets import Value, Values
from .objective import Objective
from .restorer import Scores
from .space import Choice, Range, Space, as_inputs

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

FILE = "study.sqlite3"


@dataclass(frozen=True)
class Trial:
    """Values that were tried, and the scores of each pair with them."""

    values: Values
    scores: list[Scores]


def search(
    folder: Path,
    objective: Objective,
    space: Space,
    own: Mapping[str, Value],
    measure: Callable[[Values], list[Scores]],
    *,
    trials: int,
    seed: int,
    made_with: Mapping[str, Any],
) -> Iterator[Trial]:
    """Yield all trials, those of earlier runs first; the very first one has the workflow's `own` values.

    Trial n depends on the seed, on n and on the finished trials before it only, so a resumed search tries the
    same values as an uninterrupted one. Values that any study of the folder has measured are not measured
    again.

    Raises:
        ValueError: if the folder holds a study with other settings.
    """
    optuna = _optuna()
    storage, studies = _open(folder)
    for study in studies:
        _check_same(study.user_attrs.get("made_with", {}), made_with, folder)
    known = {_key(trial.values): trial.scores for study in studies for trial in _finished(study)}
    study = optuna.create_study(
        study_name=str(objective), storage=storage, direction="maximize", load_if_exists=True
    )
    study.set_user_attr("made_with", dict(made_with))
    for unfinished in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(unfinished.number, state=optuna.trial.TrialState.FAIL)
    done = _finished(study)
    yield from done[:trials]
    for number in range(len(done), trials):
        study.sampler = optuna.samplers.TPESampler(seed=seed + number)
        asked = study.ask(_distributions(space)) if number else None
        chosen = {name: _rounded(v) for name, v in asked.params.items()} if asked else own
        values = as_inputs(space, chosen)
        scores = known.get(_key(values)) or measure(values)
        known[_key(values)] = scores
        value = mean_of(objective, scores)
        notes = {"values": values, "scores": scores}
        if asked:
            for name, note in notes.items():
                asked.set_user_attr(name, note)
            study.tell(asked, value)
        else:
            study.add_trial(_own_trial(space, own, value, notes))
        yield Trial(values, scores)


def _own_trial(space: Space, own: Mapping[str, Value], value: float, notes: dict[str, Any]) -> Any:
    """Return the trial of the workflow's own values; those outside the search space are left out of it."""
    inside = {name: v for name, v in own.items() if space[name].space.holds(v)}
    distributions = {name: d for name, d in _distributions(space).items() if name in inside}
    trial = _optuna().trial.create_trial
    return trial(params=inside, distributions=distributions, value=value, user_attrs=notes)


def all_trials(folder: Path) -> list[Trial]:
    """Return the trials of all objectives in the folder, each set of values once."""
    found = {_key(trial.values): trial for study in _open(folder)[1] for trial in _finished(study)}
    return list(found.values())


def mean_of(objective: Objective, scores: list[Scores]) -> float:
    """Return the mean of the objective over the pairs."""
    return sum(map(objective.of, scores)) / len(scores)


def _optuna() -> Any:
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)
    return optuna


def _open(folder: Path) -> tuple[Any, list[Study]]:
    """Return the storage in a folder and its studies.

    It is opened by a function, as a URL would interpret ? and { in the folder's name.

    Raises:
        ValueError: if its file is not a database, or a symbolic link.
    """
    file = (folder / FILE).absolute()
    refuse_link(file)
    creator = partial(sqlite3.connect, file)
    try:
        with closing(creator()) as database:
            database.execute("PRAGMA schema_version")
    except sqlite3.Error as error:
        raise ValueError(f"'{file}': {error}. Move it away, or give another --out.") from error
    optuna = _optuna()
    storage = optuna.storages.RDBStorage("sqlite://", engine_kwargs={"creator": creator})
    names = optuna.get_all_study_names(storage)
    return storage, [optuna.load_study(study_name=name, storage=storage) for name in names]


def _check_same(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    changes = [name for name in now if before.get(name) != now[name]]
    if changes:
        raise ValueError(
            f"'{folder}' holds a search with another {', another '.join(changes)}. "
            "Give the original ones, or another --out."
        )


def _finished(study: Study) -> list[Trial]:
    from optuna.trial import TrialState

    complete = study.get_trials(states=(TrialState.COMPLETE,))
    return [Trial(trial.user_attrs["values"], trial.user_attrs["scores"]) for trial in complete]


def _distributions(space: Space) -> dict[str, BaseDistribution]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    def distribution(values: Range | Choice) -> BaseDistribution:
        if isinstance(values, Choice):
            return CategoricalDistribution(values.options)
        if isinstance(values.step, int):
            return IntDistribution(int(values.low), int(values.high), step=values.step, log=values.log)
        return FloatDistribution(values.low, values.high, step=values.step)

    return {name: distribution(parameter.space) for name, parameter in space.items()}


def _rounded(value: Value) -> Value:
    """Return 0.3 for 0.30000000000000004."""
    return round(value, 6) if isinstance(value, float) else value


def _key(values: Values) -> str:
    return json.dumps(values, sort_keys=True)
