"""The host's KSampler as a function."""

from collections.abc import Sequence
from typing import Any

import comfy.sample
from torch import Tensor

SRLAB = ("ddpm", "ddim_uniform")


def sample(
    model: Any,
    prompts: Sequence[Any],
    latent: Tensor,
    *,
    steps: int,
    cfg: float,
    seed: int,
    noise: Tensor | None = None,
    method: tuple[str, str] = SRLAB,
) -> Tensor:
    """Return the latent (B, C, h, w) of KSampler with full noise.

    Args:
        model: the host's MODEL.
        prompts: the positive and the negative conditioning.
        latent: (B, C, h, w), to which the noise is added.
        steps: number of steps.
        cfg: guidance scale.
        seed: seed of the noise.
        noise: the initial noise, instead of that of the seed.
        method: names of the sampler and of its schedule.
    """
    start: Any = comfy.sample.prepare_noise(latent, seed) if noise is None else noise
    positive, negative = prompts
    return comfy.sample.sample(
        model, start, steps, cfg, *method, positive, negative, latent, disable_pbar=True, seed=seed
    )
