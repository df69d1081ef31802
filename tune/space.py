"""The sampling parameters that can be searched: name, inputs, range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..sample.color_match import METHODS
from ..sample.presets import SHARPNESS, Graph, Value, Values, find


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high` in steps of `step`; integers if `step` is one."""

    low: float
    high: float
    step: float
    log: bool = False  # sample on a logarithmic scale; for steps of 1

    def holds(self, value: Value) -> bool:
        """Return whether the space contains a value."""
        if isinstance(value, str) or not self.low <= value <= self.high:
            return False
        return abs((value - self.low) / self.step - round((value - self.low) / self.step)) < 1e-6

    def parse(self, text: str) -> Range:
        """Return the range LOW:HIGH or LOW:HIGH:STEP; the default step is this range's.

        Raises:
            ValueError: for another format, or fewer than two values.
        """
        parts = [type(self.step)(part) for part in text.split(":")]
        low, high, step = [*parts, self.step][:3] if len(parts) in (2, 3) else (0, 0, 1)
        if not (low < high and 0 < step <= high - low):
            raise ValueError("expected LOW:HIGH or LOW:HIGH:STEP, the step smaller than the range")
        return replace(self, low=low, high=high, step=step, log=self.log and step == 1 and low > 0)

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g} by {self.step:g}"


@dataclass(frozen=True)
class Choice:
    """One of several options; a parameter with several inputs has one word per input in each."""

    options: tuple[str, ...]

    def holds(self, value: Value) -> bool:
        """Return whether the space contains a value."""
        return value in self.options

    def parse(self, text: str) -> Choice:
        """Return the options of a comma-separated text.

        Raises:
            ValueError: for fewer than two options, or options with another number of words.
        """
        options = tuple(option.strip() for option in text.split(","))
        words = {len(option.split()) for option in (*options, self.options[0])}
        if len(set(options)) < 2 or len(words) > 1:
            raise ValueError(f"expected options between commas, such as {', '.join(self.options[:2])}")
        return Choice(options)

    def __str__(self) -> str:
        return ", ".join(self.options)


@dataclass(frozen=True)
class Parameter:
    """A sampling parameter."""

    means: str
    inputs: tuple[str, ...]  # "NodeClass.input", each of the only node of its class
    space: Range | Choice
    below: str = ""  # a parameter that must stay larger
    on_request: bool = False  # searched only if --search names it

    def read(self, graph: Graph) -> Value:
        """Return the value in a graph.

        Raises:
            ValueError: if a node is missing or ambiguous, or the input is linked.
        """
        found = [inputs[name] for inputs, name in (find(target, graph) for target in self.inputs)]
        return found[0] if len(found) == 1 else " ".join(found)

    def values(self, value: Value) -> Values:
        """Return input -> value for a value of this parameter; each of several inputs gets one word."""
        parts = [value] if len(self.inputs) == 1 else str(value).split()
        return dict(zip(self.inputs, parts, strict=True))


GUIDANCE, CONTROL, TILES = (
    "UGCSR_ApplySemanticGuidance",
    "UGCSR_ApplySemanticControlNet",
    "UGCSR_TileDiffusion",
)
SAMPLERS = (
    "euler simple",
    "euler karras",
    "euler_ancestral simple",
    "dpmpp_2m karras",
    "dpmpp_2m sgm_uniform",
    "ddim ddim_uniform",
)
# All starts are below all ends.
START, END = Range(0.0, 0.45, step=0.05), Range(0.5, 1.0, step=0.05)

PARAMETERS: dict[str, Parameter] = {
    "steps": Parameter("steps of the sampler", ("KSampler.steps",), Range(1, 50, step=1, log=True)),
    "cfg": Parameter("classifier-free guidance", ("KSampler.cfg",), Range(1.0, 8.0, step=0.5)),
    "sampler": Parameter(
        "sampler and its schedule", ("KSampler.sampler_name", "KSampler.scheduler"), Choice(SAMPLERS)
    ),
    "start": Parameter("share of the noise that is drawn anew", ("KSampler.denoise",), Range(0.1, 1.0, 0.05)),
    "sharpness": Parameter("how much detail the bundled model adds", (SHARPNESS,), Range(0.0, 1.0, 0.05)),
    "semantics": Parameter("weight of what the photo shows", (f"{GUIDANCE}.strength",), Range(0.0, 2.0, 0.1)),
    "semantics_start": Parameter(
        "when it begins", (f"{GUIDANCE}.start_percent",), START, below="semantics_end"
    ),
    "semantics_end": Parameter("when it ends", (f"{GUIDANCE}.end_percent",), END),
    # Needs the frame of Prepare Photo, and matters only where photos are larger than a tile.
    "tile_semantics": Parameter(
        "what a tile sees",
        ("UGCSR_EncodeSemantics.view",),
        Choice(("global", "tile", "both")),
        on_request=True,
    ),
    "control": Parameter("weight of the photo's structure", (f"{CONTROL}.strength",), Range(0.0, 2.0, 0.1)),
    "control_start": Parameter("when it begins", (f"{CONTROL}.start_percent",), START, below="control_end"),
    "control_end": Parameter("when it ends", (f"{CONTROL}.end_percent",), END),
    "tile_size": Parameter("side of a tile", (f"{TILES}.tile_size",), Range(512, 1536, 64), on_request=True),
    "overlap": Parameter(
        "what tiles share", (f"{TILES}.overlap",), Range(64, 448, 32), below="tile_size", on_request=True
    ),
    "color": Parameter("how colours are matched", ("UGCSR_MatchColor.method",), Choice(tuple(METHODS))),
}

Space = Mapping[str, Parameter]


def searched(graph: Graph, names: Sequence[str] = (), ranges: Sequence[str] = ()) -> Space:
    """Return the parameters to search in a graph: those of `names`, else all whose nodes it has.

    Args:
        graph: in API format.
        names: keys of PARAMETERS.
        ranges: "NAME=LOW:HIGH", "NAME=LOW:HIGH:STEP" or "NAME=OPTION,OPTION", to replace the table's.

    Raises:
        ValueError: for an unknown name, an invalid range, a graph without the parameter, or ranges in which a
            start can exceed its end.
    """
    for name in names:
        _known(name)
    classes = {node["class_type"] for node in graph.values()}
    stand = [name for name, p in PARAMETERS.items() if classes >= {i.partition(".")[0] for i in p.inputs}]
    chosen = names or [name for name in stand if not PARAMETERS[name].on_request]
    if not chosen:
        raise ValueError("No node of the graph has a parameter that can be searched.")
    space = {name: PARAMETERS[name] for name in PARAMETERS if name in chosen}
    for text in ranges:
        name, _, words = text.partition("=")
        if _known(name) not in space:
            raise ValueError(f"--range {text}: {name} is not searched; searched are {', '.join(space)}.")
        try:
            space[name] = replace(space[name], space=space[name].space.parse(words))
        except ValueError as error:
            raise ValueError(f"--range {text}: {error}.") from None
    for name, parameter in space.items():
        try:
            parameter.read(graph)
        except ValueError as error:
            raise ValueError(f"{name}: {error} Or leave it out: --search takes the others by name.") from None
    _check_order(space, graph)
    return space


def own_values(space: Space, graph: Graph) -> dict[str, Value]:
    """Return the value of each parameter in the graph."""
    return {name: parameter.read(graph) for name, parameter in space.items()}


def as_inputs(space: Space, chosen: Mapping[str, Value]) -> dict[str, Value]:
    """Return input -> value for values by parameter."""
    return {target: v for name, value in chosen.items() for target, v in space[name].values(value).items()}


def _known(name: str) -> str:
    if name not in PARAMETERS:
        raise ValueError(f"There is no parameter {name!r}; known are {', '.join(PARAMETERS)}.")
    return name


def _check_order(space: Space, graph: Graph) -> None:
    """Check that each parameter stays below the one that must be larger.

    Raises:
        ValueError: if their ranges overlap.
    """

    def limit(name: str, side: str) -> Value:
        return getattr(space[name].space, side) if name in space else PARAMETERS[name].read(graph)

    for name, parameter in PARAMETERS.items():
        above = parameter.below
        if not above or not {name, above} & space.keys():
            continue
        most, least = limit(name, "high"), limit(above, "low")
        if most >= least:  # pyright: ignore[reportOperatorIssue] both are numbers
            raise ValueError(
                f"{name} can be as large as {most:g} and {above} as small as {least:g}; "
                f"{name} must stay below. Narrow one of them with --range."
            )
