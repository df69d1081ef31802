"""Sampling runs that start as in SeeSR and SRlab.

The start has more noise than the noise level of the first step.
"""

from collections.abc import Callable
from copy import copy
from functools import wraps
from typing import Any

from comfy.model_sampling import EPS, X0, ModelSamplingDiscrete
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from comfy.samplers import KSAMPLER
from torch import Tensor

from ..sample.start import first_timestep, from_lr, from_noise
from .clone import clone
from .naming import naming

NODE = "LR Start"
KEY = "ugcsr_start"


def lr_start(model: Any) -> Any:
    """Return a clone of MODEL whose runs start from the noised latent as in SeeSR, if empty as in SRlab.

    Only the sampler's first x is changed. The noise and the latent stay unchanged, because masks and
    inpainting models use them too.
    """
    started = clone(model)
    started.remove_wrappers_with_key(WrappersMP.OUTER_SAMPLE, KEY)
    started.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, _sample)
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
    @wraps(function)
    def sample(model: Any, x: Tensor, sigmas: Tensor, **options: Any) -> Tensor:
        latent = model.latent_image  # in the scale of the denoiser
        own, sigma = noise.to(x), float(sigmas[0])
        start = from_lr(latent, own, sigma, noisiest) if latent.any() else from_noise(own, sigma)
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
    least = first_timestep(steps, timesteps=len(sampling.sigmas))
    if begun < least:
        raise ValueError(
            f"the sampler begins at timestep {begun}; expected {least} or above for {steps} steps. "
            f"Set the sampler's 'denoise' to 1 and 'start_at_step' to 0, or remove {NODE}."
        )
