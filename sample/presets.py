"""Sampling settings: presets that users choose, tuned presets, and measured fidelity-perception curves."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

SHIPPED = Path(__file__).with_name("presets")  # NAME.json is a preset that users choose
TUNED = SHIPPED / "tuned"  # results of tuning: NAME.json and NAME_curve.json
SHARPNESS = "UGCSR_LoadNanoModel.sharpness"  # input that sets the bundled model's sharpness
NAMES = ("wild", "synthetic", "seesr", "balanced", "fast", "turbo", "nano")
BASES = ("sd2", "sd_turbo", "nano")
STARTS = ("photo", "noise", "own")

T = TypeVar("T", bound="JsonFile")
Value = str | int | float
Values = Mapping[str, Value]  # "NodeClass.input" -> value
Figures = Mapping[str, float]  # metric -> mean over the photos
Graph = dict[str, dict[str, Any]]  # API format: node id -> class_type, inputs


class JsonFile:
    """A dataclass that is stored as a JSON file."""

    what = "preset"  # its name in messages

    def to_json(self) -> str:
        """Return the JSON text that `from_json` reads."""
        return json.dumps(asdict(cast(Any, self)), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls: type[T], text: str) -> T:
        """Return the object that a JSON text describes.

        Raises:
            ValueError: if a field is missing, unknown or of the wrong type; the message names the field.
        """
        try:
            content = json.loads(text, parse_constant=_not_finite)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"{cls.what}: this is no JSON: {error}.") from None
        return _read(cls, content, cls.what)


@dataclass(frozen=True)
class RestorationPreset(JsonFile):
    """Named settings of a whole restoration.

    Attributes:
        name: name of its file, without suffix.
        purpose: intended use, in a few words.
        base: required base model, one of BASES.
        start: start of the sampling, one of STARTS: "photo", the noised photo as in SeeSR; "noise", pure
            noise as in SRlab; "own", the default of the base model.
        values: value of each input; every preset sets the same inputs.
        prompt: text that is appended to the tags.
        negative: negative prompt.
        sources: for each source, the names of the values that come from it, or "start", "prompt", "negative".
        curve: name of the measured curve in TUNED, or None.
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
        """Return the preset's values, overridden by the nearest point of its measured curve if it has one.

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
        """Return the positive prompt: the cleaned tags, then `extra` unchanged, then the preset's prompt."""
        return ", ".join(part for part in (*clean_tags(tags), extra.strip(), self.prompt) if part)


@cache
def load(name: str) -> RestorationPreset:
    """Return the shipped preset with that name.

    Raises:
        ValueError: if there is no such preset.
    """
    if name not in NAMES:
        raise ValueError(f"There is no preset {name!r}; there are {', '.join(NAMES)}.")
    return RestorationPreset.from_json((SHIPPED / f"{name}.json").read_text(encoding="utf-8"))


def clean_tags(text: str) -> list[str]:
    """Return the tags in a text, split at commas, semicolons, bars and line breaks.

    Order is preserved, repeated spaces are merged, and each tag is returned once. Tags are compared without
    regard to case; the first spelling is returned.
    """
    tags: dict[str, str] = {}
    for part in re.split(r"[,;|\n]", text):
        tag = " ".join(part.split())
        tags.setdefault(tag.casefold(), tag)
    return [tag for tag in tags.values() if tag]


@dataclass(frozen=True)
class Comparison:
    """Figures of a preset and of the workflow's default values on the same photos.

    Attributes:
        pairs: number of photos.
        default: mean figures with the default values.
        preset: mean figures with the preset.
        gain: mean rise of the objective over the photos.
        interval: 95 % bootstrap interval of the gain; None for a single photo.
    """

    pairs: int
    default: Figures
    preset: Figures
    gain: float
    interval: tuple[float, float] | None

    @property
    def beats_default(self) -> bool:
        """True if the 95 % interval of the gain lies above 0."""
        return self.interval is not None and self.interval[0] > 0


@dataclass(frozen=True)
class TunedPreset(JsonFile):
    """Values that maximised an objective in tuning."""

    name: str
    objective: Figures  # metric -> weight
    values: Values
    tuned_on: Comparison  # optimistic: the values were chosen on these photos
    held_out: Comparison | None
    made_with: Mapping[str, Value]


@dataclass(frozen=True)
class Point:
    """One measured point of a curve: its position, the values and the figures measured with them."""

    position: float  # from 0, best perception, to 1, highest fidelity
    values: Values
    figures: Figures


@dataclass(frozen=True)
class FidelityCurve(JsonFile):
    """Measured trade-off between fidelity to the original and perceptual quality."""

    what = "curve"

    name: str
    fidelity: str  # metric
    perception: str  # metric
    points: tuple[Point, ...]  # sorted by position; the last position is 1
    made_with: Mapping[str, Value]

    def __post_init__(self) -> None:
        positions = [point.position for point in self.points]
        rising = sorted(set(positions)) == positions
        if not positions or not rising or positions[0] < 0 or positions[-1] != 1:
            raise ValueError(f"points: expected rising positions from 0 on, the last 1; got {positions}.")

    def at(self, fidelity: float) -> Values:
        """Return the values of the measured point nearest to `fidelity` in [0, 1]; of two, the higher one."""
        return min(reversed(self.points), key=lambda point: abs(point.position - fidelity)).values


def apply(values: Values, graph: Graph) -> Graph:
    """Return a copy of the graph with these values set.

    Raises:
        ValueError: if a node is missing or not unique, or an input is linked or unknown.
    """
    changed = copy.deepcopy(graph)
    for target, value in values.items():
        inputs, name = find(target, changed)
        inputs[name] = value
    return changed


def find(target: str, graph: Graph) -> tuple[dict[str, Any], str]:
    """Return the inputs of the only node of the class in "NodeClass.input", and the name of the input.

    Raises:
        ValueError: if the graph hasn't exactly one such node, or the input is linked or unknown.
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


def _not_finite(word: str) -> None:
    raise ValueError(f"{word} is no number that a preset or curve may hold.")


def _read(kind: Any, content: Any, field: str) -> Any:
    # Parses as `kind`: a dataclass, a mapping, a tuple, a union or a plain type.
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
