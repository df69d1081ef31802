"""The search: Optuna's TPE, kept in a file after every trial, so that it goes on wherever it was stopped."""

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
    """Values that were tried and what every pair then scored."""

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
    """Yield each trial, those of earlier runs first; the first of all has the workflow's `own` values.

    Trial n depends on the seed, on n and on the finished trials before it alone: a search that was stopped,
    even killed, and goes on tries what it would have tried. What some study of the folder has measured
    already is not measured again.

    Raises:
        ValueError: if the folder holds a study that was made with something else.
    """
    optuna = _optuna()
    storage = _open(folder)
    studies = [optuna.load_study(study_name=n, storage=storage) for n in optuna.get_all_study_names(storage)]
    for study in studies:
        _check(study.user_attrs.get("made_with", {}), made_with, folder)
    known = {_key(trial.values): trial.scores for study in studies for trial in _finished(study)}
    study = optuna.create_study(
        study_name=str(objective), storage=storage, direction="maximize", load_if_exists=True
    )
    study.set_user_attr("made_with", dict(made_with))
    for left in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(left.number, state=optuna.trial.TrialState.FAIL)
    done = _finished(study)
    yield from done[:trials]
    for number in range(len(done), trials):
        study.sampler = optuna.samplers.TPESampler(seed=seed + number)
        begun = study.ask(_distributions(space)) if number else None
        chosen = {name: _tidy(value) for name, value in begun.params.items()} if begun else own
        values = as_inputs(space, chosen)
        scores = known.get(_key(values)) or measure(values)
        known[_key(values)] = scores
        value = mean_of(objective, scores)
        notes = {"values": values, "scores": scores}
        if begun:
            for name, note in notes.items():
                begun.set_user_attr(name, note)
            study.tell(begun, value)
        else:
            inside = {name: v for name, v in own.items() if space[name].space.holds(v)}
            distributions = {name: d for name, d in _distributions(space).items() if name in inside}
            study.add_trial(
                optuna.trial.create_trial(
                    params=inside, distributions=distributions, value=value, user_attrs=notes
                )
            )
        yield Trial(values, scores)


def all_trials(folder: Path) -> list[Trial]:
    """Every trial of every objective in the folder, each of its values once."""
    optuna, storage = _optuna(), _open(folder)
    studies = [optuna.load_study(study_name=n, storage=storage) for n in optuna.get_all_study_names(storage)]
    found = {_key(trial.values): trial for study in studies for trial in _finished(study)}
    return list(found.values())


def mean_of(objective: Objective, scores: list[Scores]) -> float:
    """The mean of the objective over the pairs."""
    return sum(map(objective.of, scores)) / len(scores)


def _optuna() -> Any:
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)
    return optuna


def _open(folder: Path) -> Any:
    """The storage in a folder of any name: an address would take ? and { for its own.

    Raises:
        ValueError: if its file is none, or a link.
    """
    file = (folder / FILE).absolute()
    refuse_link(file)
    creator = partial(sqlite3.connect, file)
    try:
        with closing(creator()) as database:
            database.execute("PRAGMA schema_version")
    except sqlite3.Error as error:
        raise ValueError(f"'{file}': {error}. Move it away, or give another --out.") from error
    return _optuna().storages.RDBStorage("sqlite://", engine_kwargs={"creator": creator})


def _check(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    changed = [name for name in now if before.get(name) != now[name]]
    if changed:
        raise ValueError(
            f"'{folder}' holds a search with another {', another '.join(changed)}. "
            "Give what it was begun with, or another --out."
        )


def _finished(study: Study) -> list[Trial]:
    from optuna.trial import TrialState

    complete = study.get_trials(states=(TrialState.COMPLETE,))
    return [Trial(trial.user_attrs["values"], trial.user_attrs["scores"]) for trial in complete]


def _distributions(space: Space) -> dict[str, BaseDistribution]:
    return {name: _distribution(parameter.space) for name, parameter in space.items()}


def _distribution(space: Range | Choice) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(space, Choice):
        return CategoricalDistribution(space.options)
    if isinstance(space.step, int):
        return IntDistribution(int(space.low), int(space.high), step=space.step, log=space.log)
    return FloatDistribution(space.low, space.high, step=space.step)


def _tidy(value: Value) -> Value:
    """0.3 for 0.30000000000000004."""
    return round(value, 6) if isinstance(value, float) else value


def _key(values: Values) -> str:
    return json.dumps(values, sort_keys=True)
