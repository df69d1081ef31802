"""What a training run is made of; saved with the run."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One phase of a run."""

    steps: int
    learning_rate: float
    warmup: int = 200
    batch: int = 16
    crop: int = 32  # LR pixels of a side


@dataclass(frozen=True)
class NanoPreset:
    """The bundled model: first the anchor alone, then everything else on top of it."""

    pairs: int = 26_000
    anchor: Stage = Stage(steps=4_000, learning_rate=8e-4)
    polish: Stage = Stage(steps=2_400, learning_rate=6e-4)  # the anchor once more, on a second cosine
    restore: Stage = Stage(steps=700, learning_rate=8e-4, warmup=60)
    token_dropout: float = 0.1
    sharpening: float = 0.5  # share of its fine detail that the clean photo gains as a target of `restore`
    gain: float = 0.6  # of the trained residual: keeps half of its loss of PSNR on training pairs
    later_step_share: float = 0.2  # of steps that train on the model's own first estimate
    seed: int = 0


PRESETS = {
    "nano": NanoPreset(),  # about an hour on two CPU cores; figures in docs/quality.md
    "nano-smoke": NanoPreset(
        pairs=64,
        anchor=Stage(steps=3, learning_rate=8e-4, batch=2, crop=16),
        polish=Stage(steps=3, learning_rate=8e-4, batch=2, crop=16),
        restore=Stage(steps=3, learning_rate=5e-4, batch=4, crop=16),
    ),
}
