"""The decorator of effects: parameter ranges in the signature, checked at every call."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, wraps
from typing import Annotated, Any, ParamSpec, TypeVar, get_args, get_origin, get_type_hints

from ...files import brief

P = ParamSpec("P")
T = TypeVar("T")

Value = float | int | str | bool

# Handed over by `apply`, not drawn: the photo, what makes noise, and (height, width) of the LR photo.
CONTEXT = ("image", "generator", "lr_size")


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, inclusive."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"in {self.low:g}..{self.high:g}"

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class OneOf:
    """One of a few values."""

    options: tuple[Value, ...]

    def __str__(self) -> str:
        names = [str(option) for option in self.options]
        return "one of " + ", ".join(names if len(names) < 12 else [*names[:3], "...", names[-1]])

    def __contains__(self, value: Value) -> bool:
        return value in self.options


@dataclass(frozen=True)
class Parameter:
    """A parameter of an effect that recipes draw."""

    kind: type
    allowed: Range | OneOf | None
    default: Value | None  # None: it must be given

    def problem(self, value: Any) -> str | None:
        """Return 'must be ..., got ...' for a wrong value, None for a right one."""
        kinds = (int, float) if self.kind is float else (self.kind,)
        right = isinstance(value, kinds) and (self.kind is bool or not isinstance(value, bool))
        if right and isinstance(value, float) and not math.isfinite(value):
            right = False
        if right and (self.allowed is None or value in self.allowed):
            return None
        names = {float: "a number", int: "a whole number", str: "a text", bool: "true or false"}
        wanted = [names[self.kind]] if not isinstance(self.allowed, OneOf) else []
        wanted += [str(self.allowed)] if self.allowed is not None else []
        return f"must be {' '.join(wanted)}, got {brief(value)}"


def effect(function: Callable[P, T]) -> Callable[P, T]:
    """Check the annotated parameters of an effect at every call.

    The signature is the only place of the ranges, `sigma: Annotated[float, Range(0, 50)]`; recipes are
    checked against it too. An effect takes `image` (B, 3, H, W), RGB, not clamped, and returns the same;
    it may also take `generator` and `lr_size`.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        bound = signature.bind(*args, **kwargs).arguments
        given = {name: value for name, value in bound.items() if name not in CONTEXT}
        check(checked, given)
        return function(*args, **kwargs)

    return checked


@cache
def parameters(function: Callable[..., Any]) -> Mapping[str, Parameter]:
    """Return the drawn parameters of an effect, from its signature."""
    hints = get_type_hints(function, include_extras=True)
    found = {}
    for name, argument in inspect.signature(function).parameters.items():
        if name not in CONTEXT:
            hint = hints[name]
            kind, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
            allowed = next((note for note in notes if isinstance(note, Range | OneOf)), None)
            default = None if argument.default is argument.empty else argument.default
            found[name] = Parameter(kind, allowed, default)
    return found


@cache
def context(function: Callable[..., Any]) -> frozenset[str]:
    """Return the members of `CONTEXT` that an effect takes."""
    return frozenset(inspect.signature(function).parameters).intersection(CONTEXT)


def check(function: Callable[..., Any], given: Mapping[str, object]) -> None:
    """Check parameters against an effect's signature.

    Raises:
        ValueError: naming the effect and the parameter that is unknown, missing, of another type or out of
            range.
    """
    head = function.__name__
    known = parameters(function)
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"{head} has no parameter {brief(name)}; it has {', '.join(known) or 'none'}.")
        if problem := known[name].problem(value):
            raise ValueError(f"{head}: {name} {problem}.")
    for name, parameter in known.items():
        if parameter.default is None and name not in given:
            raise ValueError(f"{head}: {name} is missing.")
