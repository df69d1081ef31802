"""Steps of a recipe to and from plain data, and their validation, with errors that name the field."""

import math
from collections.abc import Iterable
from typing import Any

from ..files import brief
from .effects import EFFECTS
from .effects.effect import OneOf, Parameter, Value, parameters
from .effects.words import KINDS
from .steps import Branch, Choice, Distribution, Either, Entry, Shuffle, Step, Uniform, Words

_SHAPES = 'a value, {"uniform": [low, high]}, {"choice": [...]} or {"words": kind}'


def check_entries(entries: Iterable[Entry], where: str) -> None:
    """Check that steps can be drawn and applied.

    Raises:
        ValueError: naming the field below `where`, such as `steps[3].parameters.quality`.
    """
    for index, entry in enumerate(entries):
        place = f"{where}[{index}]"
        if isinstance(entry, Step):
            _check_step(entry, place)
        elif isinstance(entry, Either):
            weights = [branch.weight for branch in entry.branches]
            _check_weights(weights, len(entry.branches), f"{place}.either")
            for number, branch in enumerate(entry.branches):
                check_entries(branch.steps, f"{place}.either[{number}].steps")
        else:
            known = all(number in range(len(entry.groups)) for number in entry.ordered)
            demand(known, f"{place}.ordered", "must be numbers of groups", list(entry.ordered))
            for number, group in enumerate(entry.groups):
                check_entries(group, f"{place}.shuffle[{number}]")


def _check_step(step: Step, where: str) -> None:
    if step.op not in EFFECTS:
        raise ValueError(f"{where}.op: unknown step {brief(step.op)}; known are {', '.join(EFFECTS)}.")
    probable = _is_number(step.probability) and 0 <= step.probability <= 1
    demand(probable, f"{where}.probability", "must be in 0..1", step.probability)
    known = parameters(EFFECTS[step.op])
    for name, value in step.parameters.items():
        if name not in known:
            has = ", ".join(known) or "none"
            raise ValueError(f"{where}.parameters.{name}: {step.op} has no such parameter; it has {has}.")
        _check_value(value, known[name], f"{where}.parameters.{name}")
    for name, parameter in known.items():
        if parameter.default is None and name not in step.parameters:
            raise ValueError(f"{where}.parameters.{name}: {step.op} needs it and it is missing.")


def _check_value(value: Value | Distribution, parameter: Parameter, where: str) -> None:
    if isinstance(value, Choice):
        _check_weights(value.weights or [1.0] * len(value.options), len(value.options), where)
        for index, option in enumerate(value.options):
            _check_value(option, parameter, f"{where}.choice[{index}]")
    elif isinstance(value, Uniform):
        _check_range(value, parameter, where)
    elif isinstance(value, Words):
        demand(parameter.kind is str and parameter.allowed is None, where, "takes no words", value.kind)
        demand(value.kind in KINDS, where, f"words must be one of {', '.join(KINDS)}", value.kind)
    elif problem := parameter.problem(value):
        raise ValueError(f"{where} {problem}.")


def _check_range(value: Uniform, parameter: Parameter, where: str) -> None:
    bounds = [value.low, value.high]
    numbers = parameter.kind in (int, float) and all(_is_number(bound) for bound in bounds)
    demand(numbers and value.low <= value.high, where, "must be a range [low, high], low <= high", bounds)
    listed = isinstance(parameter.allowed, OneOf)
    demand(not listed, where, f"takes no range; it must be {parameter.allowed}", bounds)
    powered = value.power == 1 or (_is_number(value.power) and parameter.kind is float and value.low > 0)
    demand(powered, f"{where}.power", "must be a number, of a range of positive numbers", value.power)
    for bound in bounds:
        if problem := parameter.problem(bound if value.power == 1 else _raised(bound, value.power)):
            raise ValueError(f"{where} {problem}.")


def _raised(bound: float, power: float) -> float:
    try:
        return float(bound) ** float(power)
    except OverflowError:
        return math.inf


def _check_weights(weights: Any, count: int, where: str) -> None:
    demand(count > 0, where, "must offer something to choose from", [])
    good = len(weights) == count and all(_is_number(weight) and 0 <= weight <= 1e9 for weight in weights)
    demand(good and sum(weights) > 0, where, f"needs {count} weights >= 0, not all 0", list(weights))


def entries_to_data(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Return steps as JSON data."""
    return [_entry_to_data(entry) for entry in entries]


def _entry_to_data(entry: Entry) -> dict[str, Any]:
    if isinstance(entry, Either):
        return {
            "either": [
                {"weight": branch.weight, "steps": entries_to_data(branch.steps)} for branch in entry.branches
            ]
        }
    if isinstance(entry, Shuffle):
        groups = [entries_to_data(group) for group in entry.groups]
        return {"shuffle": groups} | ({"ordered": list(entry.ordered)} if entry.ordered else {})
    data: dict[str, Any] = {"op": entry.op}
    if entry.probability != 1:
        data["probability"] = entry.probability
    return data | {"parameters": {name: _value_to_data(v) for name, v in entry.parameters.items()}}


def _value_to_data(value: Value | Distribution) -> Any:
    if isinstance(value, Uniform):
        power = {} if value.power == 1 else {"power": value.power}
        return {"uniform": [value.low, value.high]} | power
    if isinstance(value, Words):
        return {"words": value.kind}
    if isinstance(value, Choice):
        data: dict[str, Any] = {"choice": [_value_to_data(option) for option in value.options]}
        return data | ({"weights": list(value.weights)} if value.weights else {})
    return value


def entries_from_data(data: Any, where: str) -> tuple[Entry, ...]:
    """Return the steps that `entries_to_data` wrote.

    Raises:
        ValueError: naming the field that is missing, unknown or wrong.
    """
    demand(isinstance(data, list), where, "must be a list of steps", data)
    return tuple(_entry(entry, f"{where}[{index}]") for index, entry in enumerate(data))


def _entry(data: Any, where: str) -> Entry:
    if isinstance(data, dict) and "either" in data:
        check_keys(data, where, required=("either",))
        demand(isinstance(data["either"], list), f"{where}.either", "must be a list", data["either"])
        return Either(tuple(_branch(b, f"{where}.either[{i}]") for i, b in enumerate(data["either"])))
    if isinstance(data, dict) and "shuffle" in data:
        check_keys(data, where, required=("shuffle",), optional=("ordered",))
        groups, ordered = data["shuffle"], data.get("ordered", [])
        demand(isinstance(groups, list), f"{where}.shuffle", "must be a list", groups)
        demand(isinstance(ordered, list), f"{where}.ordered", "must be a list", ordered)
        parsed = (entries_from_data(group, f"{where}.shuffle[{i}]") for i, group in enumerate(groups))
        return Shuffle(tuple(parsed), tuple(ordered))
    check_keys(data, where, required=("op",), optional=("parameters", "probability"))
    demand(isinstance(data["op"], str), f"{where}.op", "must be the name of a step", data["op"])
    given = data.get("parameters", {})
    demand(isinstance(given, dict), f"{where}.parameters", "must be an object", given)
    values = {name: _value(value, f"{where}.parameters.{name}") for name, value in given.items()}
    return Step(data["op"], values, data.get("probability", 1.0))


def _branch(data: Any, where: str) -> Branch:
    check_keys(data, where, required=("weight", "steps"))
    return Branch(data["weight"], entries_from_data(data["steps"], f"{where}.steps"))


def _value(data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        demand(not isinstance(data, list), where, f"must be {_SHAPES}", data)
        return data
    if "uniform" in data and set(data) <= {"uniform", "power"}:
        bounds = data["uniform"]
        pair = isinstance(bounds, list) and len(bounds) == 2
        demand(pair, f"{where}.uniform", "must be a range [low, high]", bounds)
        return Uniform(bounds[0], bounds[1], data.get("power", 1.0))
    if set(data) == {"words"}:
        return Words(data["words"])
    if "choice" in data and set(data) <= {"choice", "weights"} and isinstance(data["choice"], list):
        options = tuple(_value(option, f"{where}.choice[{i}]") for i, option in enumerate(data["choice"]))
        weights = data.get("weights", [])
        demand(isinstance(weights, list), f"{where}.weights", "must be a list", weights)
        demand("weights" not in data or weights, f"{where}.weights", "must not be empty", weights)
        return Choice(options, tuple(weights))
    raise ValueError(f"{where} must be {_SHAPES}, got {brief(data)}.")


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


def demand(holds: object, where: str, wanted: str, got: object) -> None:
    """Raise an error unless `holds`.

    Raises:
        ValueError: with the place, the expectation and the actual value.
    """
    if not holds:
        raise ValueError(f"{where} {wanted}, got {brief(got)}.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
