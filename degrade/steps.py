"""The elements of a recipe: steps with drawn parameters, branches, shuffled groups."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .degradation import Draw
from .effects import EFFECTS
from .effects.effect import Value, parameters
from .effects.words import words


@dataclass(frozen=True)
class Uniform:
    """A number from `low` to `high`, raised to `power`; an integer where the effect takes integers.

    With power -1 the reciprocal is uniform (reduction factors), with 0.5 the square (variances).
    """

    low: float
    high: float
    power: float = 1.0

    def draw(self, rng: random.Random, kind: type) -> Value:
        """Return a number from the range."""
        if kind is int:
            return rng.randint(int(self.low), int(self.high))
        return rng.uniform(self.low, self.high) ** self.power


@dataclass(frozen=True)
class Words:
    """A generated text of a kind: 'caption', 'price', 'hashtag' or 'badge'."""

    kind: str

    def draw(self, rng: random.Random, kind: type) -> Value:  # noqa: ARG002 - called like the others
        """Return a short text."""
        return words(self.kind, rng)


@dataclass(frozen=True)
class Choice:
    """One of `options`, each a value or a distribution; without `weights` all are equally likely."""

    options: tuple[Value | Uniform | Words, ...]
    weights: tuple[float, ...] = ()

    def draw(self, rng: random.Random, kind: type) -> Value:
        """Return one of the options, drawn in turn if it is a distribution."""
        option = rng.choices(self.options, self.weights or None)[0]
        return option.draw(rng, kind) if isinstance(option, Distribution) else option


Distribution = Uniform | Choice | Words


@dataclass(frozen=True)
class Step:
    """An effect that happens with `probability`; each parameter is a fixed value or a distribution."""

    op: str
    parameters: Mapping[str, Value | Distribution]
    probability: float = 1.0

    def draw(self, rng: random.Random) -> Iterator[Draw]:
        """Yield the effect with fixed parameters, or nothing."""
        if rng.random() >= self.probability:
            return
        settled: dict[str, Any] = {}
        for name, parameter in parameters(EFFECTS[self.op]).items():
            value = self.parameters.get(name, parameter.default)
            settled[name] = value.draw(rng, parameter.kind) if isinstance(value, Distribution) else value
        yield Draw(self.op, settled, seed=rng.getrandbits(32))


@dataclass(frozen=True)
class Branch:
    """One alternative of an `Either`."""

    weight: float
    steps: tuple["Entry", ...]


@dataclass(frozen=True)
class Either:
    """Exactly one of several branches."""

    branches: tuple[Branch, ...]

    def draw(self, rng: random.Random) -> Iterator[Draw]:
        """Yield the draws of a randomly chosen branch."""
        (branch,) = rng.choices(self.branches, [branch.weight for branch in self.branches])
        return draw_all(branch.steps, rng)


@dataclass(frozen=True)
class Shuffle:
    """All groups in random order; the steps within a group keep their order.

    The groups whose numbers are in `ordered` keep their order among themselves.
    """

    groups: tuple[tuple["Entry", ...], ...]
    ordered: tuple[int, ...] = ()

    def draw(self, rng: random.Random) -> Iterator[Draw]:
        """Yield the draws of all groups."""
        order = rng.sample(range(len(self.groups)), len(self.groups))
        kept = iter(sorted(self.ordered))
        for index in order:
            yield from draw_all(self.groups[next(kept) if index in self.ordered else index], rng)


Entry = Step | Either | Shuffle


def draw_all(entries: tuple[Entry, ...], rng: random.Random) -> Iterator[Draw]:
    """Yield the draws of all entries, in order."""
    for entry in entries:
        yield from entry.draw(rng)


def change_steps(entries: tuple[Entry, ...], change: Callable[[Step], Step]) -> tuple[Any, ...]:
    """Return the entries with every step replaced by `change(step)`, also inside branches and groups."""
    changed: list[Entry] = []
    for entry in entries:
        if isinstance(entry, Step):
            changed.append(change(entry))
        elif isinstance(entry, Either):
            changed.append(
                Either(tuple(Branch(b.weight, change_steps(b.steps, change)) for b in entry.branches))
            )
        else:
            changed.append(
                replace(entry, groups=tuple(change_steps(group, change) for group in entry.groups))
            )
    return tuple(changed)
