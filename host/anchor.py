"""Anchor of a run of the bundled model: the clean latent to which its residual is added.

The anchor is the latent that the sampler gets. A sampler that continues from another sampler gets a noisy
latent, so the anchor is attached to the noisy latents that samplers return.
"""

import math
from typing import Any

import comfy.model_management
import torch.nn.functional as F
from comfy.model_sampling import IMG_TO_IMG
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from torch import Tensor

from ..models.nano import FOLD, LATENT_CHANNELS
from .naming import naming

NODE = "Load Nano Model"
KEY = "ugcsr_anchor"  # key of the wrapper, and attribute of noisy latents that holds the anchor
LEAST_SIGMA = 0.5  # less noise can't be distinguished from the texture of a photo; assumed
NOISY = 0.65  # share of the sampler's sigma; the mean of two noisy latents has 0.71 of the noise
MEDIAN = 0.6745  # of the absolute values of standard normal noise


def anchored(
    run: WrapperExecutor,
    noise: Tensor,
    latent: Tensor,
    sampler: Any,
    sigmas: Tensor,
    *args: Any,
    **kwargs: Any,
) -> Tensor:
    """Return the result of a whole run that samples from the anchor; wraps OUTER_SAMPLE.

    A noisy latent from another sampler is replaced by its anchor, and the difference becomes part of the
    noise. A conditioning with a latent of its own (Inpaint Model Conditioning, InstructPixToPix Conditioning)
    provides the anchor instead; the run is then unchanged.

    Raises:
        ValueError: if the latent is of another model, empty, or noisy without an anchor, or if a node of the
            host doesn't work with this model.
    """
    guider: Any = run.class_obj
    sampling = guider.model_patcher.get_model_object("model_sampling")
    with naming(NODE):
        _check_nodes(sampling, guider.model_options["transformer_options"])
        _check_shape(latent)
    if any("concat_latent_image" in cond for conds in guider.conds.values() for cond in conds):
        return run(noise, latent, sampler, sigmas, *args, **kwargs)
    model = guider.model_patcher.model
    sigma = float(sigmas[0])
    anchor: Tensor | None = getattr(latent, KEY, None)
    if anchor is None:
        with naming(NODE):
            _check_clean(latent, model.process_latent_in(latent), noise, sigma)
    elif sigma > 0:
        noisiest = math.isclose(sigma, float(sampling.sigma_max), rel_tol=1e-5)  # as the host compares
        gain = (1 + sigma**2) ** 0.5 if noisiest else sigma
        left = model.process_latent_in(latent) - model.process_latent_in(anchor)
        noise, latent = noise + (left / gain).to(noise), anchor
    made = run(noise, latent, sampler, sigmas, *args, **kwargs)
    if float(sigmas[-1]) > 0:
        # Moved as the host's nodes would, so that they return this very tensor.
        made = made.to(
            comfy.model_management.intermediate_device(), comfy.model_management.intermediate_dtype()
        )
        setattr(made, KEY, latent)
    return made


def noise_level(latent: Tensor) -> float:
    """Return the standard deviation of white noise in scaled latents (B, 48, h, w), the highest of the batch.

    It is estimated by the median of the finest diagonal details of the picture, where photos hold little but
    noise (Donoho and Johnstone, Biometrika 81, 1994).
    """
    picture = F.pixel_shuffle(latent.float(), FOLD)
    even, odd = picture[..., ::2, :], picture[..., 1::2, :]
    details = (even[..., ::2] - even[..., 1::2] - odd[..., ::2] + odd[..., 1::2]) / 2
    return details.abs().flatten(1).median(dim=1).values.max().item() / MEDIAN


def _check_nodes(sampling: Any, options: dict[str, Any]) -> None:
    if not isinstance(sampling, IMG_TO_IMG):
        raise ValueError(
            "a ModelSampling node has changed how this model is sampled; its answers, clean "
            "latents, would be misread. Remove that node."
        )
    if "lazycache" in options.get("wrappers", {}).get(WrappersMP.PREDICT_NOISE, {}):
        raise ValueError(
            "LazyCache leaves the noise of the steps that it skips in this model's picture. "
            "Use EasyCache, or remove it."
        )


def _check_shape(latent: Tensor) -> None:
    if latent.ndim != 4 or latent.shape[1] != LATENT_CHANNELS:
        raise ValueError(
            f"the sampler's 'model' was given a latent of shape {tuple(latent.shape)}; "
            f"expected (batch, {LATENT_CHANNELS}, height, width). "
            "Make the latent by VAE Encode with the 'vae' of the same node."
        )


def _check_clean(latent: Tensor, scaled: Tensor, noise: Tensor, sigma: float) -> None:
    if not latent.any():
        raise ValueError(
            "the sampler's latent is empty, but this model restores the photo in it. "
            "Encode the 'hint' of Prepare Photo with VAE Encode, and connect that."
        )
    if sigma < LEAST_SIGMA or noise.any():
        return
    level = noise_level(scaled)
    if level > NOISY * sigma:
        raise ValueError(
            f"the sampler begins at sigma {sigma:.2g} without new noise, on a latent with "
            f"noise of about {level:.2g} that has lost its clean latent: it was saved, changed or noised. "
            "Connect the first sampler's latent straight to this one, use one sampler for all steps, "
            "or give the clean latent by InstructPixToPixConditioning."
        )
