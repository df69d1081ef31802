"""A whole search: its plan, its execution, and the files with its results."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..console import PACKAGE, version
from ..files import replace_file
from ..restore.api import Client
from ..sample.presets import Graph, TunedPreset, Values
from ..score.extras import Extras
from .objective import Objective
from .outcome import compare, curve, means
from .plot import pareto
from .restorer import Pair, PairRestorer, Scores
from .space import Space, own_values
from .study import Trial, all_trials, mean_of, search


@dataclass(frozen=True)
class SearchPlan:
    """The settings of a search."""

    folder: Path
    workflow: str  # name of its file
    graph: Graph
    space: Space
    objective: Objective
    fidelity: str
    perception: str
    extras: Extras
    pairs: tuple[Pair, ...]
    held_out: tuple[Pair, ...]
    trials: int
    seed: int

    def __post_init__(self) -> None:
        tuned_on = {pair.digest() for pair in self.pairs}
        both = [pair.lr.name for pair in self.held_out if pair.digest() in tuned_on]
        if both:
            raise ValueError(
                f"{', '.join(both)}: among the photos to tune on and among those to check on. "
                "A check needs photos that the search has not used."
            )


def tune(plan: SearchPlan, client: Client) -> TunedPreset:
    """Search, check the best values on the held-out photos, write preset.json, curve.json and pareto.png.

    Returns:
        The preset with the best values.

    Raises:
        ValueError: if the folder, which must exist, holds another search, or a result can't be scored.
        RuntimeError: if ComfyUI or one of its nodes fails; that trial is not recorded.
    """
    restorer = PairRestorer(client, plan.graph, plan.extras)
    host = client.version()
    trials = _search(plan, restorer, host)
    default, best = trials[0], max(trials, key=lambda trial: mean_of(plan.objective, trial.scores))
    checked = [restorer.measure(trial.values, plan.held_out) for trial in (default, best)]
    made_with = {
        "workflow": plan.workflow,
        "ComfyUI": host,
        PACKAGE: version(),
        "pairs": len(plan.pairs),
        "trials": len(trials),
        "seed": plan.seed,
    }
    name = plan.folder.resolve().name
    preset = TunedPreset(
        name=name,
        objective=plan.objective.weights,
        values=best.values,
        tuned_on=compare(plan.objective, default.scores, best.scores),
        held_out=compare(plan.objective, *checked) if plan.held_out else None,
        made_with=made_with,
    )
    everything, axes = all_trials(plan.folder), (plan.fidelity, plan.perception)
    found = curve(name, everything, *axes, made_with | {"trials": len(everything)})
    replace_file(plan.folder / "preset.json", preset.to_json().encode())
    replace_file(plan.folder / "curve.json", found.to_json().encode())
    replace_file(plan.folder / "pareto.png", pareto(everything, default, best, *axes))
    return preset


def _search(plan: SearchPlan, restorer: PairRestorer, host: str) -> list[Trial]:
    def measure(values: Values) -> list[Scores]:
        scores = restorer.measure(values, plan.pairs)
        absent = {plan.fidelity, plan.perception} - means(scores).keys()
        if absent:
            raise ValueError(
                f"{', '.join(sorted(absent))} has no finite value for every photo: a result is too small to "
                "measure it, or equals its original. Remove the photo, or choose another axis."
            )
        return scores

    trials: list[Trial] = []
    with tqdm(total=plan.trials, unit="trial") as bar:
        for trial in search(
            plan.folder,
            plan.objective,
            plan.space,
            own_values(plan.space, plan.graph),
            measure,
            trials=plan.trials,
            seed=plan.seed,
            made_with=_fingerprint(plan, host),
        ):
            trials.append(trial)
            bar.set_postfix(best=f"{max(mean_of(plan.objective, t.scores) for t in trials):.4f}")
            bar.update()
    return trials


def _fingerprint(plan: SearchPlan, host: str) -> dict[str, Any]:
    """Return everything that must be equal for trials to be comparable, by its name in messages."""
    return {
        "set of photos": _hash(*sorted(pair.digest() for pair in plan.pairs)),
        "workflow": _hash(json.dumps(plan.graph, sort_keys=True)),
        "choice of parameters or ranges": {name: str(p.space) for name, p in plan.space.items()},
        "seed": plan.seed,
        "choice of --extra": sorted(plan.extras.names),
        "version of ComfyUI": host,
    }


def _hash(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
