"""Sampling runs that start as in SeeSR (arXiv 2311.16518) and SRlab (arXiv 2504.09887).

Both noise the photo to the last level of the schedule, t = 999, but condition the network on the timestep of
the first step, t = 981 for 50 steps. Both sample by DDPM on variables of unit variance; here x is the latent
plus sigma times noise, and the network takes x / sqrt(sigma^2 + 1), so that the same network input
corresponds to a different x at each sigma.
"""

from collections.abc import Callable
from copy import copy
from functools import wraps
from typing import Any

from comfy.model_sampling import EPS, X0, ModelSamplingDiscrete
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from comfy.samplers import KSAMPLER
from torch import Tensor

from .clone import clone, replace_wrapper
from .naming import naming

NODE = "LR Start"
KEY = "ugcsr_start"


def lr_start(model: Any) -> Any:
    """Return a clone of MODEL whose runs start from the noised latent, or from noise alone if it is empty.

    SeeSR starts in the first way and SRlab in the second. Only the sampler's first x is changed. The noise
    and the latent stay unchanged, because masks and inpainting models use them too.
    """
    started = clone(model)
    replace_wrapper(started, WrappersMP.OUTER_SAMPLE, KEY, _sample)
    return started


def _sample(
    run: WrapperExecutor,
    noise: Tensor,
    latent: Tensor,
    sampler: Any,
    sigmas: Tensor,
    *args: Any,
    **kwargs: Any,
) -> Tensor:
    """Return the result of a whole run with the changed start; wraps OUTER_SAMPLE.

    Raises:
        ValueError: if such a start isn't possible with this model, noise, schedule or sampler.
    """
    guider: Any = run.class_obj
    sampling = guider.model_patcher.get_model_object("model_sampling")
    with naming(NODE):
        _check_model(sampling)
        _check_schedule(sampling, sigmas)
        if not noise.any():
            raise ValueError(
                "the sampler adds no noise, as one that goes on from another; expected one that starts. "
                f"Set its 'add_noise' to enable, or connect the 'model' from before {NODE}."
            )
        if not isinstance(sampler, KSAMPLER):
            raise ValueError(
                f"the sampler is a {type(sampler).__name__}; expected one of those that KSampler offers. "
                f"Choose another sampler, or remove {NODE}."
            )
    sampler = copy(sampler)
    sampler.sampler_function = _starting(sampler.sampler_function, noise, float(sampling.sigma_max))
    return run(noise, latent, sampler, sigmas, *args, **kwargs)


def _starting(function: Callable[..., Tensor], noise: Tensor, noisiest: float) -> Callable[..., Tensor]:
    """Return the sampler function with the changed start; `noisiest` is the largest sigma of the model."""

    @wraps(function)
    def sample(model: Any, x: Tensor, sigmas: Tensor, **options: Any) -> Tensor:
        latent = model.latent_image  # in the scale of the denoiser
        gain = float(sigmas[0]) ** 2 + 1
        if latent.any():
            start = (latent + noisiest * noise.to(x)) * (gain / (noisiest**2 + 1)) ** 0.5
        else:
            start = noise.to(x) * gain**0.5
        return function(model, start, sigmas, **options)

    return sample


def _check_model(sampling: Any) -> None:
    noised = isinstance(sampling, ModelSamplingDiscrete) and isinstance(sampling, EPS)
    if not noised or isinstance(sampling, X0):
        kinds = ", ".join(kind.__name__ for kind in type(sampling).__bases__)
        raise ValueError(
            f"'model' is sampled by {kinds}; expected a model that predicts noise or v at the "
            f"noise levels of Stable Diffusion. Remove {NODE}; the bundled model needs none."
        )


def _check_schedule(sampling: Any, sigmas: Tensor) -> None:
    steps = max(len(sigmas) - 1, 1)
    begun = int((sampling.sigmas < float(sigmas[0])).sum())
    # The first timestep of DDPM in SeeSR's schedule, "leading" with an offset of 1 in diffusers.
    least = 1 + (steps - 1) * (len(sampling.sigmas) // steps)
    if begun < least:
        raise ValueError(
            f"the sampler begins at timestep {begun}; expected {least} or above for {steps} steps. "
            f"Set the sampler's 'denoise' to 1 and 'start_at_step' to 0, or remove {NODE}."
        )
