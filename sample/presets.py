"""Sampling settings: presets to choose from, tuned ones, and the curve between fidelity and perception."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, cast, get_args, get_origin, get_type_hints

SHIPPED = Path(__file__).with_name("presets")  # NAME.json is a preset that people choose
TUNED = SHIPPED / "tuned"  # what tuning wrote: NAME.json, and NAME_curve.json
SHARPNESS = "UGCSR_LoadNanoModel.sharpness"  # the input that moves the bundled model between its ends
NAMES = ("wild", "synthetic", "seesr", "balanced", "fast", "turbo", "nano")
BASES = ("sd2", "sd_turbo", "nano")
STARTS = ("photo", "noise", "own")

Value = str | int | float
Values = Mapping[str, Value]  # "NodeClass.input" -> value
Figures = Mapping[str, float]  # metric -> mean over the photos
Graph = dict[str, dict[str, Any]]  # API format: node id -> class_type, inputs


@dataclass(frozen=True)
class RestorationPreset:
    """What a person chooses by name.

    Attributes:
        name: of the file.
        purpose: what it is for, in a few words.
        base: the base model it wants, one of BASES.
        start: what the sampling starts from, one of STARTS: the photo under noise as in SeeSR, noise alone as
            in SRlab, or what the base model does of its own.
        values: the same inputs in every preset.
        prompt: goes behind the tags.
        negative: what the result should not look like.
        sources: where it comes from -> the values, or "start", "prompt", "negative", that do.
        curve: name of the measured curve in TUNED, if there is one.
    """

    name: str
    purpose: str
    base: str
    start: str
    values: Values
    prompt: str
    negative: str
    sources: Mapping[str, tuple[str, ...]]
    curve: str | None

    def __post_init__(self) -> None:
        for field, known in (("base", BASES), ("start", STARTS)):
            if getattr(self, field) not in known:
                raise ValueError(
                    f"preset.{field}: expected one of {', '.join(known)}; got {getattr(self, field)!r}."
                )

    def at(self, fidelity: float) -> Values:
        """The preset's own values, with those of the nearest point of its measured curve if it has one.

        Raises:
            ValueError: if `fidelity` lies outside [0, 1].
        """
        if not 0 <= fidelity <= 1:
            raise ValueError(f"fidelity must lie from 0 to 1, got {fidelity}.")
        if self.curve is None:
            return self.values
        curve = FidelityCurve.from_json((TUNED / f"{self.curve}.json").read_text(encoding="utf-8"))
        return {**self.values, **curve.at(fidelity)}

    def positive(self, tags: str, extra: str = "") -> str:
        """The prompt: cleaned tags, then `extra` as it is, then the preset's own."""
        return ", ".join(part for part in (*clean_tags(tags), extra.strip(), self.prompt) if part)

    @classmethod
    def from_json(cls, text: str) -> RestorationPreset:
        """Read a preset.

        Raises:
            ValueError: naming the field that is missing, too many or of another kind.
        """
        return _parse(cls, text, "preset")


@cache
def load(name: str) -> RestorationPreset:
    """The shipped preset of that name.

    Raises:
        ValueError: if there is none.
    """
    if name not in NAMES:
        raise ValueError(f"There is no preset {name!r}; there are {', '.join(NAMES)}.")
    return RestorationPreset.from_json((SHIPPED / f"{name}.json").read_text(encoding="utf-8"))


def clean_tags(text: str) -> list[str]:
    """Tags between commas, semicolons, bars or lines: each once, in their order, with single spaces.

    Case does not make two tags different; the first spelling stays.
    """
    tags: dict[str, str] = {}
    for part in re.split(r"[,;|\n]", text):
        tag = " ".join(part.split())
        tags.setdefault(tag.casefold(), tag)
    return [tag for tag in tags.values() if tag]


@dataclass(frozen=True)
class Comparison:
    """A preset against the workflow's own values, on the same photos."""

    pairs: int
    default: Figures
    preset: Figures
    gain: float  # mean over the photos of how much the objective rises
    interval: tuple[float, float] | None  # 95 % bootstrap interval of the gain; none for a single photo

    @property
    def beats_default(self) -> bool:
        """Whether the gain is more than chance on these photos."""
        return self.interval is not None and self.interval[0] > 0


@dataclass(frozen=True)
class Preset:
    """The values that suited an objective best."""

    name: str
    objective: Figures  # metric -> weight
    values: Values
    tuned_on: Comparison  # flattering: the values were chosen on these photos
    held_out: Comparison | None
    made_with: Mapping[str, Value]

    def to_json(self) -> str:
        """The text that `from_json` reads."""
        return json.dumps(asdict(self), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Preset:
        """Read a preset.

        Raises:
            ValueError: naming the field that is missing, too many or of another kind.
        """
        return _parse(cls, text, "preset")


@dataclass(frozen=True)
class Point:
    """One place on a curve: settings and what they measured."""

    position: float  # 0: what looks best, 1: what is truest to the original
    values: Values
    figures: Figures


@dataclass(frozen=True)
class FidelityCurve:
    """The trade between truth to the original and looks, as settings that were measured."""

    name: str
    fidelity: str  # metric
    perception: str  # metric
    points: tuple[Point, ...]  # by position; the last is 1
    made_with: Mapping[str, Value]

    def __post_init__(self) -> None:
        positions = [point.position for point in self.points]
        rising = sorted(set(positions)) == positions
        if not positions or not rising or positions[0] < 0 or positions[-1] != 1:
            raise ValueError(f"points: expected rising positions from 0 on, the last 1; got {positions}.")

    def at(self, fidelity: float) -> Values:
        """The values of the measured point nearest to `fidelity` in [0, 1], the truer of two.

        Raises:
            ValueError: if it lies outside.
        """
        if not 0 <= fidelity <= 1:
            raise ValueError(f"fidelity must lie from 0 to 1, got {fidelity}.")
        return min(reversed(self.points), key=lambda point: abs(point.position - fidelity)).values

    def to_json(self) -> str:
        """The text that `from_json` reads."""
        return json.dumps(asdict(self), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> FidelityCurve:
        """Read a curve.

        Raises:
            ValueError: naming the field that is missing, too many or of another kind.
        """
        return _parse(cls, text, "curve")


def apply(values: Values, graph: Graph) -> Graph:
    """A copy of the graph with these values in it.

    Raises:
        ValueError: if a node is missing or stands there more than once, or the input is a link or unknown.
    """
    changed = copy.deepcopy(graph)
    for target, value in values.items():
        inputs, name = find(target, changed)
        inputs[name] = value
    return changed


def find(target: str, graph: Graph) -> tuple[dict[str, Any], str]:
    """The inputs of the one node that "NodeClass.input" means, and the name of the input.

    Raises:
        ValueError: if there is not exactly one, or the input is a link or unknown.
    """
    node_class, _, name = target.partition(".")
    found = [node["inputs"] for node in graph.values() if node["class_type"] == node_class]
    if len(found) != 1:
        raise ValueError(f"{target}: the graph has {len(found)} nodes {node_class}; expected one.")
    if name not in found[0]:
        raise ValueError(f"{target}: the node has no such input; it has {', '.join(found[0])}.")
    if isinstance(found[0][name], list):
        raise ValueError(f"{target}: another node is linked to this input. Unlink it, so that it can be set.")
    return found[0], name


def _parse(kind: Any, text: str, field: str) -> Any:
    try:
        content = json.loads(text, parse_constant=_not_finite)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{field}: this is no JSON: {error}.") from None
    return _read(kind, content, field)


def _not_finite(word: str) -> None:
    raise ValueError(f"{word} is no number that a preset or curve may hold.")


def _read(kind: Any, content: Any, field: str) -> Any:
    # As `kind`, which is a dataclass, a mapping, a tuple, a union or a plain type.
    origin, parts = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        given = _expect(dict, content, field)
        if given.keys() != hints.keys():
            raise ValueError(f"{field}: expected {', '.join(hints)}; got {', '.join(given) or 'nothing'}.")
        read = {name: _read(hint, given[name], f"{field}.{name}") for name, hint in hints.items()}
        return cast(Any, kind)(**read)
    if origin is Mapping:
        given = _expect(dict, content, field)
        return {name: _read(parts[1], value, f"{field}.{name}") for name, value in given.items()}
    if origin is tuple:
        given = _expect(list, content, field)
        kinds = parts[:1] * len(given) if Ellipsis in parts else parts
        if len(kinds) != len(given):
            raise ValueError(f"{field}: expected {len(kinds)} entries, got {len(given)}.")
        return tuple(_read(k, v, f"{field}[{i}]") for i, (k, v) in enumerate(zip(kinds, given, strict=True)))
    if NoneType in parts:
        return None if content is None else _read(parts[0], content, field)
    return _expect(float | int if kind is float else kind, content, field)


def _expect(kind: Any, content: Any, field: str) -> Any:
    if not isinstance(content, kind):
        words = " or ".join(_WORDS[k] for k in get_args(kind) or (kind,))
        raise ValueError(f"{field}: expected {words}, got {content!r:.200}.")
    return content


_WORDS = {dict: "an object", list: "a list", str: "a text", int: "a whole number", float: "a number"}
