"""The stages of a training run and their settings, and the presets, which are runs with all settings."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..files import brief, portable
from .data import SRLAB_MIX, Data, Part

SCHEDULES = ("constant", "cosine")
PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Stage:
    """One stage of a run."""

    name: str  # used for files, log and random numbers
    task: str  # a name in `task.build`
    steps: int
    learning_rate: float  # after the warm-up
    warmup: int = 0  # steps of linear growth to it
    schedule: str = "constant"  # or "cosine" down to `floor` at the last step
    floor: float = 0.0  # share of the learning rate at the end of a cosine
    batch: int = 16  # samples per step, over all processes
    accumulate: int = 1  # number of parts in which each process computes its share of the batch
    crop: int = 128  # side of a sample in LR pixels
    betas: tuple[float, float] = (0.9, 0.999)  # of AdamW, as the next two
    weight_decay: float = 1e-2
    eps: float = 1e-8
    clip: float = 1.0  # largest norm of the gradient; 0 for no limit
    ema: float = 0.0  # highest decay of the averaged weights; 0 for no average
    precision: str = "fp32"  # or autocast to "bf16", or to "fp16" with scaled losses
    gradient_checkpointing: bool = False  # compute activations twice instead of storing them
    min_snr_gamma: float | None = None  # see Hang 2023 (arXiv 2303.09556); None weights all timesteps equally
    validate_every: int = 500  # steps between validations; 0 for none
    sample_every: int = 500  # steps between sheets of pictures; 0 for none
    save_every_s: float = 600  # seconds between saved states
    options: Mapping[str, Any] = field(default_factory=dict)  # keyword arguments of the task's builder

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,60}", self.name) or not portable(self.name):
            raise ValueError(
                f"A stage is named {brief(self.name)}; expected letters, digits, _ and -, since files are "
                "named like it."
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
class TrainingPreset:
    """A whole run: a sequence of stages, each of which starts from the weights of the earlier ones."""

    purpose: str
    data: Data
    stages: tuple[Stage, ...]
    seed: int = 0
    validation: int = 8  # number of samples, always the same ones
    best: str = "psnr_y"  # the metric that selects the best weights


# What all small networks share.
_SMALL = Stage(
    name="small",
    task="",
    steps=1,
    learning_rate=8e-4,
    schedule="cosine",
    floor=0.02,
    betas=(0.9, 0.99),
    weight_decay=1e-3,
    save_every_s=120,
)
_NANO = replace(_SMALL, warmup=100, batch=4, ema=0.998, validate_every=0, sample_every=0)
_NANO_DATA = Data((Part("pairs"),), scale=1, turn="all", align=4)

_SRLAB_DATA = Data(SRLAB_MIX, sharpen=True, hold_out=8)
_SRLAB = Stage(
    name="adapter",
    task="srlab",
    steps=90_000,  # as for the released weights
    learning_rate=5e-5,
    warmup=500,
    batch=16,  # per device in SRlab, number of devices unknown: multiply by yours
    precision="fp16",
    validate_every=2_500,
    sample_every=2_500,
    options={"encoder": "", "null_text": 0.5},
)

PRESETS = {
    "srlab": TrainingPreset(
        purpose="SRlab's adapter and ControlNet over Stable Diffusion 2 base, with its authors' settings.",
        data=_SRLAB_DATA,
        stages=(_SRLAB,),
    ),
    "srlab-lite": TrainingPreset(
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
    "nano-anchor": TrainingPreset(
        purpose="The anchor of the bundled model, from which `nano` continues with --base.",
        data=_NANO_DATA,
        stages=(
            replace(
                _NANO,
                name="anchor",
                task="nano_anchor",
                steps=16_000,
                batch=8,
                ema=0.999,
                precision="bf16",  # a quarter faster on a CPU; the losses are in float32
                options={"weave": 150.0, "harm": 2.0},
            ),
        ),
    ),
    "nano": TrainingPreset(
        purpose="The bundled model, on one CPU core; see docs/quality.md.",
        data=_NANO_DATA,
        stages=(
            replace(
                _NANO, name="reading", task="nano_reading", steps=500, learning_rate=1e-3, batch=8, crop=256
            ),
            replace(
                _NANO,
                name="restore",
                task="nano_restore",
                steps=2_500,
                precision="bf16",
                options={  # weights relative to L1
                    "perceptual": 0.4,
                    "texture": 0.3,
                    "weave": 10.0,
                    "teeth": 8.0,
                    "calm": 10.0,
                    "window": 96,  # side in pixels of the part of each crop that ST-LPIPS sees
                    "tokens": True,
                },
            ),
        ),
    ),
    "regression": TrainingPreset(
        purpose="A small network trained with L1 alone, without a sampler; also to test a machine.",
        data=Data((Part("pairs"),)),
        stages=(
            replace(
                _SMALL,
                name="regression",
                task="regression",
                steps=4_000,
                warmup=200,
                crop=32,
                ema=0.999,
                options={"width": 64, "blocks": 8},
            ),
        ),
    ),
}
