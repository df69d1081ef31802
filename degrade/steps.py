"""The steps of a recipe, as JSON data: their construction, their check, and the draws from them.

A list of steps has entries of three forms:

    {"op": name of an effect, "probability": 0..1, "parameters": {name: value or distribution}}
    {"either": [{"weight": w, "steps": [...]}, ...]}    exactly one of the branches
    {"shuffle": [[...], ...], "ordered": [numbers]}     all groups, in random order

A distribution is {"uniform": [low, high], "power": p}, {"words": kind} or
{"choice": [values or distributions], "weights": [...]}. Probability and power are 1 if they are left out, and
the weights equal.
"""

import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

from ..files import brief, demand
from .degradation import Draw
from .effects import EFFECTS
from .effects.effect import OneOf, Parameter, Value
from .effects.phrases import KINDS, phrase

Step = dict[str, Any]
Distribution = dict[str, Any]
Steps = Sequence[Step]

_FORMS = 'a value, {"uniform": [low, high]}, {"choice": [...]} or {"words": kind}'


def step(op: str, probability: float = 1.0, /, **parameters: Value | Distribution) -> Step:
    """Return an effect that happens with `probability`; each parameter is a value or a distribution."""
    return (
        {"op": op} | ({"probability": probability} if probability != 1 else {}) | {"parameters": parameters}
    )


def either(*branches: tuple[float, Steps]) -> Step:
    """Return a step that is exactly one of several branches, each a weight and its steps."""
    return {"either": [{"weight": weight, "steps": list(steps)} for weight, steps in branches]}


def shuffle(groups: Sequence[Steps], ordered: Sequence[int] = ()) -> Step:
    """Return a step that is all groups in random order; those numbered in `ordered` keep their order."""
    return {"shuffle": [list(group) for group in groups]} | ({"ordered": list(ordered)} if ordered else {})


def uniform(low: float, high: float, power: float = 1.0) -> Distribution:
    """Return the uniform distribution from `low` to `high`, raised to `power`.

    It draws integers where the effect takes integers. With power -1 the reciprocal is uniform (reduction
    factors), with 0.5 the square (variances).
    """
    return {"uniform": [low, high]} | ({"power": power} if power != 1 else {})


def choice(options: Sequence[Value | Distribution], weights: Sequence[float] = ()) -> Distribution:
    """Return a distribution over `options`; without `weights` all are equally likely."""
    return {"choice": list(options)} | ({"weights": list(weights)} if weights else {})


def words(kind: str) -> Distribution:
    """Return the distribution of generated texts of a kind: 'caption', 'price', 'hashtag' or 'badge'."""
    return {"words": kind}


def draw_steps(steps: Steps, rng: random.Random) -> Iterator[Draw]:
    """Yield the effects that happen, with fixed parameters, in order."""
    for entry in steps:
        if "either" in entry:
            (branch,) = rng.choices(entry["either"], [branch["weight"] for branch in entry["either"]])
            yield from draw_steps(branch["steps"], rng)
        elif "shuffle" in entry:
            groups, ordered = entry["shuffle"], entry.get("ordered", [])
            in_order = iter(sorted(ordered))
            for index in rng.sample(range(len(groups)), len(groups)):
                yield from draw_steps(groups[next(in_order) if index in ordered else index], rng)
        elif rng.random() < entry.get("probability", 1):
            given, settled = entry.get("parameters", {}), {}
            for name, parameter in EFFECTS[entry["op"]].parameters.items():
                settled[name] = _drawn(given.get(name, parameter.default), parameter.kind, rng)
            yield Draw(entry["op"], settled, seed=rng.getrandbits(32))


def _drawn(value: Any, kind: type, rng: random.Random) -> Value:
    if not isinstance(value, dict):
        return value
    if "words" in value:
        return phrase(value["words"], rng)
    if "choice" in value:
        return _drawn(rng.choices(value["choice"], value.get("weights"))[0], kind, rng)
    low, high = value["uniform"]
    if kind is int:
        return rng.randint(int(low), int(high))
    return rng.uniform(low, high) ** value.get("power", 1)


def effects_in(steps: Steps) -> Iterator[Step]:
    """Yield the effects of all branches and groups, in order."""
    for entry in steps:
        if "either" in entry or "shuffle" in entry:
            parts = [branch["steps"] for branch in entry.get("either", ())] + entry.get("shuffle", [])
            for part in parts:
                yield from effects_in(part)
        else:
            yield entry


def check_steps(data: Any, where: str) -> None:
    """Check that steps can be drawn and applied.

    Raises:
        ValueError: naming the field below `where`, such as `steps[3].parameters.quality`.
    """
    demand(isinstance(data, list), where, "must be a list of steps", data)
    for index, entry in enumerate(data):
        place = f"{where}[{index}]"
        if isinstance(entry, dict) and "either" in entry:
            _check_branches(entry, place)
        elif isinstance(entry, dict) and "shuffle" in entry:
            _check_groups(entry, place)
        else:
            _check_effect(entry, place)


def _check_branches(entry: Step, where: str) -> None:
    check_keys(entry, where, required=("either",))
    branches, where = entry["either"], f"{where}.either"
    demand(isinstance(branches, list), where, "must be a list", branches)
    for index, branch in enumerate(branches):
        check_keys(branch, f"{where}[{index}]", required=("weight", "steps"))
        check_steps(branch["steps"], f"{where}[{index}].steps")
    _check_weights([branch["weight"] for branch in branches], len(branches), where)


def _check_groups(entry: Step, where: str) -> None:
    check_keys(entry, where, required=("shuffle",), optional=("ordered",))
    groups, ordered = entry["shuffle"], entry.get("ordered", [])
    demand(isinstance(groups, list), f"{where}.shuffle", "must be a list", groups)
    numbers = isinstance(ordered, list) and all(type(number) is int for number in ordered)
    known = numbers and all(number in range(len(groups)) for number in ordered)
    demand(known, f"{where}.ordered", "must be numbers of groups", ordered)
    for index, group in enumerate(groups):
        check_steps(group, f"{where}.shuffle[{index}]")


def _check_effect(entry: Any, where: str) -> None:
    check_keys(entry, where, required=("op",), optional=("parameters", "probability"))
    op, given, probability = entry["op"], entry.get("parameters", {}), entry.get("probability", 1)
    demand(isinstance(op, str), f"{where}.op", "must be the name of a step", op)
    demand(isinstance(given, dict), f"{where}.parameters", "must be an object", given)
    if op not in EFFECTS:
        raise ValueError(f"{where}.op: unknown step {brief(op)}; known are {', '.join(EFFECTS)}.")
    demand(
        _is_number(probability) and 0 <= probability <= 1,
        f"{where}.probability",
        "must be in 0..1",
        probability,
    )
    known = EFFECTS[op].parameters
    for name, value in given.items():
        if name not in known:
            has = ", ".join(known) or "none"
            raise ValueError(f"{where}.parameters.{name}: {op} has no such parameter; it has {has}.")
        _check_value(value, known[name], f"{where}.parameters.{name}")
    for name, parameter in known.items():
        if parameter.default is None and name not in given:
            raise ValueError(f"{where}.parameters.{name}: {op} needs it and it is missing.")


def _check_value(value: Any, parameter: Parameter, where: str) -> None:
    keys = set(value) if isinstance(value, dict) else set()
    if "uniform" in keys and keys <= {"uniform", "power"}:
        _check_range(value["uniform"], value.get("power", 1), parameter, where)
    elif keys == {"words"}:
        kind = value["words"]
        demand(parameter.kind is str and parameter.allowed is None, where, "takes no words", kind)
        demand(kind in KINDS, where, f"words must be one of {', '.join(KINDS)}", kind)
    elif "choice" in keys and keys <= {"choice", "weights"} and isinstance(value["choice"], list):
        options, weights = value["choice"], value.get("weights")
        demand(weights is None or isinstance(weights, list), f"{where}.weights", "must be a list", weights)
        _check_weights([1] * len(options) if weights is None else weights, len(options), where)
        for index, option in enumerate(options):
            _check_value(option, parameter, f"{where}.choice[{index}]")
    elif isinstance(value, dict | list):
        demand(False, where, f"must be {_FORMS}", value)
    elif problem := parameter.problem(value):
        raise ValueError(f"{where} {problem}.")


def _check_range(bounds: Any, power: Any, parameter: Parameter, where: str) -> None:
    pair = isinstance(bounds, list) and len(bounds) == 2
    demand(pair, f"{where}.uniform", "must be a range [low, high]", bounds)
    numbers = parameter.kind in (int, float) and all(map(_is_number, bounds))
    demand(numbers and bounds[0] <= bounds[1], where, "must be a range [low, high], low <= high", bounds)
    listed = isinstance(parameter.allowed, OneOf)
    demand(not listed, where, f"takes no range; it must be {parameter.allowed}", bounds)
    powered = power == 1 or (_is_number(power) and parameter.kind is float and bounds[0] > 0)
    demand(powered, f"{where}.power", "must be a number, of a range of positive numbers", power)
    for bound in bounds:
        if problem := parameter.problem(bound if power == 1 else _raised(bound, power)):
            raise ValueError(f"{where} {problem}.")


def _raised(bound: float, power: float) -> float:
    try:
        return float(bound) ** float(power)
    except OverflowError:
        return math.inf


def _check_weights(weights: list[Any], count: int, where: str) -> None:
    demand(count > 0, where, "must offer something to choose from", [])
    good = len(weights) == count and all(_is_number(weight) and 0 <= weight <= 1e9 for weight in weights)
    demand(good and sum(weights) > 0, where, f"needs {count} weights >= 0, not all 0", weights)


def check_keys(data: Any, where: str, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
    """Check that `data` is an object with all required keys and no unknown ones.

    Raises:
        ValueError: naming `where` and the key.
    """
    demand(isinstance(data, dict), where, "must be a JSON object", data)
    for key in required:
        if key not in data:
            raise ValueError(f"{where}: {key!r} is missing.")
    for key in data:
        if key not in required + optional:
            raise ValueError(
                f"{where}: unknown field {brief(key)}; known are {', '.join(required + optional)}."
            )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
