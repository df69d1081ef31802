"""An effect: a function on photos whose signature holds the ranges of its parameters."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Generic, ParamSpec, get_args, get_origin, get_type_hints

from torch import Tensor

from ...files import brief

P = ParamSpec("P")

Value = float | int | str | bool
Label = Callable[[Mapping[str, Any]], tuple[float, str]]

# Given by `apply`, not drawn: the source of noise, and (height, width) of the LR photo.
CONTEXT = ("generator", "lr_size")


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


@dataclass(frozen=True, eq=False)
class Effect(Generic[P]):
    """A function that damages photos; calling it checks the parameters first.

    Attributes:
        function: takes `image` (B, 3, H, W), RGB, not clamped, and returns the same; it may also take
            `generator` and `lr_size`. Its signature is the only place of the ranges, such as
            `sigma: Annotated[float, Range(0, 50)]`; recipes are checked against it too.
        label: returns the visibility of the damage, 1 for plainly visible (assumed), and a short description.
        smooths: whether it weakens noise and codec artefacts of the effects before it.
        in_torch: whether PyTorch can compute it, on any device and with gradients.
    """

    function: Callable[P, Tensor]
    label: Label
    smooths: bool = False
    in_torch: bool = True

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        """Return the damaged photo, after a check of the parameters."""
        bound = self._signature.bind(*args, **kwargs).arguments
        self.check({name: value for name, value in bound.items() if name not in ("image", *CONTEXT)})
        return self.function(*args, **kwargs)

    @property
    def name(self) -> str:
        """The name that recipes use."""
        return self.function.__name__

    @cached_property
    def _signature(self) -> inspect.Signature:
        return inspect.signature(self.function)

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """The drawn parameters, from the signature."""
        hints = get_type_hints(self.function, include_extras=True)
        found = {}
        for name, argument in self._signature.parameters.items():
            if name not in ("image", *CONTEXT):
                hint = hints[name]
                kind, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
                allowed = next((note for note in notes if isinstance(note, Range | OneOf)), None)
                default = None if argument.default is argument.empty else argument.default
                found[name] = Parameter(kind, allowed, default)
        return found

    @cached_property
    def context(self) -> frozenset[str]:
        """The members of `CONTEXT` that the function takes."""
        return frozenset(self._signature.parameters).intersection(CONTEXT)

    def check(self, given: Mapping[str, object]) -> None:
        """Check parameters against the signature.

        Raises:
            ValueError: naming the effect and the parameter that is unknown, missing, of another type or out
                of range.
        """
        for name, value in given.items():
            if name not in self.parameters:
                known = ", ".join(self.parameters) or "none"
                raise ValueError(f"{self.name} has no parameter {brief(name)}; it has {known}.")
            if problem := self.parameters[name].problem(value):
                raise ValueError(f"{self.name}: {name} {problem}.")
        for name, parameter in self.parameters.items():
            if parameter.default is None and name not in given:
                raise ValueError(f"{self.name}: {name} is missing.")


def effect(
    label: Label, *, smooths: bool = False, in_torch: bool = True
) -> Callable[[Callable[P, Tensor]], Effect[P]]:
    """Return a decorator that makes an `Effect` of a function."""
    return lambda function: Effect(function, label, smooths, in_torch)
