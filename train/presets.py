"""What a training run is made of: presets as data, changed from the command line, saved with the run."""

import ast
import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import GenericAlias
from typing import Any, get_origin

from ..files import brief, portable
from .data import SRLAB_MIX, Data, Part

SCHEDULES = ("constant", "cosine")
PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Stage:
    """One phase of a run.

    Attributes:
        name: of its files, its log and its random numbers.
        task: a name in TASKS.
        steps: of the optimizers.
        learning_rate: after the warm-up.
        warmup: steps of linear growth to it.
        schedule: "constant", or "cosine" down to `floor` at the last step.
        floor: share of the learning rate that a cosine ends at.
        batch: samples of a step, over all processes.
        accumulate: parts that each process works its share of the batch in, one after the other.
        crop: side of a sample in LR pixels.
        betas: of AdamW.
        weight_decay: of AdamW.
        eps: of AdamW.
        clip: largest norm of the gradient; 0 is any.
        ema: most that the averaged weights keep of themselves a step; 0 keeps no average.
        precision: "fp32", or autocast to "bf16" or "fp16" (with scaled losses).
        gradient_checkpointing: compute activations twice instead of keeping them.
        min_snr_gamma: of Hang 2023 (arXiv 2303.09556), None weighs all timesteps alike.
        validate_every: steps; 0 is never.
        sample_every: steps between sheets of pictures; 0 is never.
        save_every_s: seconds between saved states.
        options: of the task, keyword arguments of its builder.
    """

    name: str
    task: str
    steps: int
    learning_rate: float
    warmup: int = 0
    schedule: str = "constant"
    floor: float = 0.0
    batch: int = 16
    accumulate: int = 1
    crop: int = 128
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-2
    eps: float = 1e-8
    clip: float = 1.0
    ema: float = 0.0
    precision: str = "fp32"
    gradient_checkpointing: bool = False
    min_snr_gamma: float | None = None
    validate_every: int = 500
    sample_every: int = 500
    save_every_s: float = 600
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,60}", self.name) or not portable(self.name):
            raise ValueError(
                f"A stage is called {brief(self.name)}; expected letters, digits, _ and -, as its files "
                "are called so."
            )
        if self.schedule not in SCHEDULES or self.precision not in PRECISIONS:
            raise ValueError(
                f"Stage '{self.name}' has schedule '{self.schedule}' and precision '{self.precision}'; "
                f"expected one of {', '.join(SCHEDULES)} and one of {', '.join(PRECISIONS)}."
            )
        for name in ("steps", "batch", "accumulate", "crop", "learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{self.name}.{name} must be more than 0; got {getattr(self, name)}.")


@dataclass(frozen=True)
class Preset:
    """A whole run: stages one after the other, each from what the ones before it trained."""

    purpose: str
    data: Data
    stages: tuple[Stage, ...]
    seed: int = 0
    validation: int = 8  # samples, always the same
    best: str = "psnr_y"  # the metric of score that chooses the best weights


_NANO = Stage(
    name="nano",
    task="",
    steps=1,
    learning_rate=8e-4,
    warmup=100,
    schedule="cosine",
    floor=0.02,
    batch=4,
    betas=(0.9, 0.99),
    weight_decay=1e-3,
    ema=0.998,
    validate_every=0,
    sample_every=0,
    save_every_s=120,
)
NANO_ANCHOR = (
    replace(
        _NANO,
        name="anchor",
        task="nano_anchor",
        steps=16_000,
        batch=8,
        ema=0.999,
        precision="bf16",  # a quarter faster on a CPU, here and below; the losses are in float32
        options={"weave": 150.0},
    ),
)
NANO = (
    replace(_NANO, name="reading", task="nano_reading", steps=500, learning_rate=1e-3, batch=8, crop=256),
    replace(
        _NANO,
        name="restore",
        task="nano_restore",
        steps=2_500,
        precision="bf16",
        options={  # weights are beside L1's
            "perceptual": 0.3,
            "texture": 0.2,
            "weave": 10.0,
            "window": 96,  # pixels of each crop that ST-LPIPS sees
            "tokens": True,
        },
    ),
)
_NANO_DATA = Data((Part("pairs"),), scale=1, turn="all", align=4)

_SRLAB_DATA = Data(SRLAB_MIX, sharpen=True, hold_out=8)
_SRLAB = Stage(
    name="adapter",
    task="srlab",
    steps=90_000,  # of the released weights
    learning_rate=5e-5,
    warmup=500,
    batch=16,  # a device, with the number of devices unknown: multiply by yours
    precision="fp16",
    validate_every=2_500,
    sample_every=2_500,
    options={"encoder": "", "null_text": 0.5},
)

PRESETS = {
    "srlab": Preset(
        purpose="SRlab's adapter and ControlNet over Stable Diffusion 2 base, set as by its authors.",
        data=_SRLAB_DATA,
        stages=(_SRLAB,),
    ),
    "srlab-lite": Preset(
        purpose="The same on one GPU: bfloat16, checkpointed activations, averaged weights, min-SNR.",
        data=_SRLAB_DATA,
        stages=(
            replace(
                _SRLAB,
                steps=20_000,
                schedule="cosine",
                floor=0.1,
                accumulate=8,
                ema=0.999,
                precision="bf16",
                gradient_checkpointing=True,
                min_snr_gamma=5.0,
                validate_every=1_000,
                sample_every=1_000,
            ),
        ),
    ),
    "nano-anchor": Preset(
        purpose="The true end of the bundled model, from which `nano` goes on with --base.",
        data=_NANO_DATA,
        stages=NANO_ANCHOR,
    ),
    "nano": Preset(
        purpose="The bundled model on one CPU core; see docs/quality.md.",
        data=_NANO_DATA,
        stages=NANO,
    ),
    "nano-smoke": Preset(
        purpose="The same stages for three steps each: a trial of a machine.",
        data=_NANO_DATA,
        stages=tuple(replace(stage, steps=3, batch=2) for stage in (*NANO_ANCHOR, *NANO)),
    ),
    "regression": Preset(
        purpose="A small network by L1 alone: restoration without a sampler, and a trial of a machine.",
        data=Data((Part("pairs"),)),
        stages=(
            Stage(
                name="regression",
                task="regression",
                steps=4_000,
                learning_rate=8e-4,
                warmup=200,
                schedule="cosine",
                floor=0.02,
                crop=32,
                betas=(0.9, 0.99),
                weight_decay=1e-3,
                ema=0.999,
                save_every_s=120,
                options={"width": 64, "blocks": 8},
            ),
        ),
    ),
}


def changed(preset: Preset, assignments: Sequence[str]) -> Preset:
    """The preset with settings such as "adapter.steps=100" or "seed=3" in place of its own.

    Raises:
        ValueError: naming the setting that isn't there or has another type, and what there is.
    """
    for assignment in assignments:
        path, given, value = assignment.partition("=")
        if not given:
            raise ValueError(
                f"--set wants NAME=VALUE, such as {preset.stages[0].name}.steps=100; got '{assignment}'."
            )
        preset = _changed(preset, path.split("."), value, path)
    return preset


def _changed(holder: Any, names: Sequence[str], value: str, path: str) -> Any:
    """`holder` with one leaf replaced: a dataclass, a mapping of options, or the stages by their names.

    Raises:
        ValueError: if there is no such leaf.
    """
    name, *rest = names
    if isinstance(holder, Preset) and name in (known := [stage.name for stage in holder.stages]):
        position = known.index(name)
        stage = _changed(holder.stages[position], rest or [""], value, path)
        return dataclasses.replace(
            holder, stages=(*holder.stages[:position], stage, *holder.stages[position + 1 :])
        )
    fields = dict(holder) if isinstance(holder, Mapping) else _fields(holder)
    if name not in fields or bool(rest) != isinstance(fields[name], (Data, Mapping)):
        stages = [f"{stage.name}.…" for stage in holder.stages] if isinstance(holder, Preset) else []
        raise ValueError(
            f"There is no setting '{path}'. At '{name}' there are {', '.join([*fields, *stages])}."
        )
    if rest:
        fields[name] = _changed(fields[name], rest, value, path)
    else:
        kinds = {} if isinstance(holder, Mapping) else {f.name: f.type for f in dataclasses.fields(holder)}
        fields[name] = _parsed(kinds.get(name, type(fields[name])), fields[name], value, path)
    return fields if isinstance(holder, Mapping) else dataclasses.replace(holder, **fields)


def _fields(holder: Any) -> dict[str, Any]:
    return {field.name: getattr(holder, field.name) for field in dataclasses.fields(holder)}


def _parsed(kind: Any, present: Any, text: str, path: str) -> Any:
    kind = get_origin(kind) if isinstance(kind, GenericAlias) else kind
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if type(value) is int and not isinstance(value, kind) and isinstance(0.0, kind):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(
            f"{path} takes {getattr(kind, '__name__', kind)}, such as {present!r}; got '{text}'."
        )
    return value


def to_json(preset: Preset) -> dict[str, Any]:
    """As numbers, words, lists and dicts."""
    return json.loads(json.dumps(dataclasses.asdict(preset)))


def from_json(fields: Mapping[str, Any]) -> Preset:
    """What `to_json` wrote."""
    stages = tuple(Stage(**{**stage, "betas": tuple(stage["betas"])}) for stage in fields["stages"])
    return Preset(**{**fields, "data": Data.from_data(fields["data"]), "stages": stages})
