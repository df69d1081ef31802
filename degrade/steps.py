"""What a recipe is made of: steps, branches and shuffled groups, with drawn parameters."""

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
    """A number from `low` to `high`, raised to `power`; a whole number where the effect asks for one.

    A power of -1 makes the reciprocal uniform (factors of a reduction), 0.5 the square (variances).
    """

    low: float
    high: float
    power: float = 1.0

    def draw(self, rng: random.Random, kind: type) -> Value:
        """A number from the range."""
        if kind is int:
            return rng.randint(int(self.low), int(self.high))
        return rng.uniform(self.low, self.high) ** self.power


@dataclass(frozen=True)
class Words:
    """Some words to write: a 'caption', a 'price' or a 'hashtag'."""

    kind: str

    def draw(self, rng: random.Random, kind: type) -> Value:  # noqa: ARG002 - called like the others
        """A short text."""
        return words(self.kind, rng)


@dataclass(frozen=True)
class Choice:
    """One of `options`, each a value or a distribution; `weights` need not add up to 1, empty: all alike."""

    options: tuple[Value | Uniform | Words, ...]
    weights: tuple[float, ...] = ()

    def draw(self, rng: random.Random, kind: type) -> Value:
        """One of the options, itself drawn where it is a distribution."""
        option = rng.choices(self.options, self.weights or None)[0]
        return option.draw(rng, kind) if isinstance(option, Distribution) else option


Distribution = Uniform | Choice | Words


@dataclass(frozen=True)
class Step:
    """`op` happens with `probability`; each parameter is a fixed value or is drawn."""

    op: str
    parameters: Mapping[str, Value | Distribution]
    probability: float = 1.0

    def draw(self, rng: random.Random) -> Iterator[Draw]:
        """One settled effect, or none."""
        if rng.random() >= self.probability:
            return
        settled: dict[str, Any] = {}
        for name, parameter in parameters(EFFECTS[self.op]).items():
            value = self.parameters.get(name, parameter.default)
            settled[name] = value.draw(rng, parameter.kind) if isinstance(value, Distribution) else value
        yield Draw(self.op, settled, seed=rng.getrandbits(32))


@dataclass(frozen=True)
class Branch:
    """One way that an `Either` can go."""

    weight: float
    steps: tuple["Entry", ...]


@dataclass(frozen=True)
class Either:
    """Just one of the branches happens."""

    branches: tuple[Branch, ...]

    def draw(self, rng: random.Random) -> Iterator[Draw]:
        """What the chosen branch draws."""
        (branch,) = rng.choices(self.branches, [branch.weight for branch in self.branches])
        return draw_all(branch.steps, rng)


@dataclass(frozen=True)
class Shuffle:
    """All groups happen, in random order; the steps of a group stay together.

    The groups whose numbers are in `ordered` keep their order among themselves.
    """

    groups: tuple[tuple["Entry", ...], ...]
    ordered: tuple[int, ...] = ()

    def draw(self, rng: random.Random) -> Iterator[Draw]:
        """What all groups draw."""
        order = rng.sample(range(len(self.groups)), len(self.groups))
        kept = iter(sorted(self.ordered))
        for index in order:
            yield from draw_all(self.groups[next(kept) if index in self.ordered else index], rng)


Entry = Step | Either | Shuffle


def draw_all(entries: tuple[Entry, ...], rng: random.Random) -> Iterator[Draw]:
    """What all entries draw, in order."""
    for entry in entries:
        yield from entry.draw(rng)


def change_steps(entries: tuple[Entry, ...], change: Callable[[Step], Step]) -> tuple[Any, ...]:
    """The same entries with every step changed, also those inside branches and groups."""
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
