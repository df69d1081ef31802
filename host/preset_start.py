"""Application of a preset's base model and start to the host's MODEL and LATENT."""

from typing import Any

import torch
from comfy.model_sampling import EPS, X0
from comfy.supported_models import SD20

from ..sample.presets import SHARPNESS, RestorationPreset
from .clone import clone
from .lr_start import lr_start
from .nano import ResidualModel, sharpened
from .run_records import name_preset

TITLES = {"sd2": "Stable Diffusion 2-base", "sd_turbo": "sd-turbo", "nano": "the bundled model"}


def prepare(
    preset: RestorationPreset, model: Any, latent: dict[str, Any], fidelity: float = 1.0
) -> tuple[Any, dict[str, Any]]:
    """Return (MODEL, LATENT) that start as the preset requires.

    The LATENT is unchanged unless the preset starts from pure noise. The bundled model gets the sharpness of
    the preset's curve at `fidelity`.

    Raises:
        ValueError: if the preset is for another base model.
    """
    if problem := _mismatch(preset, model):
        raise ValueError(f"preset {preset.name} is made for {TITLES[preset.base]}, but {problem}")
    model, title = clone(model), preset.name
    sharpness = preset.at(fidelity).get(SHARPNESS)
    if isinstance(sharpness, float | int):
        model, title = sharpened(model, sharpness), f"{preset.name} with fidelity {fidelity:g}"
    name_preset(model, title)
    if preset.start == "own":
        return model, latent
    if preset.start == "noise":
        latent = {**latent, "samples": torch.zeros_like(latent["samples"])}
    return lr_start(model), latent


def _mismatch(preset: RestorationPreset, model: Any) -> str:
    """Return the reason why the model doesn't suit the preset, with the remedy; empty if it does.

    sd-turbo can't be distinguished from Stable Diffusion 2, so each is accepted for the other. Apply Semantic
    Guidance warns of models that predict v.
    """
    title, bundled = TITLES[preset.base], isinstance(model.model, ResidualModel)
    family = type(model.model.model_config).__name__
    sampling = model.get_model_object("model_sampling")
    if preset.base == "nano":
        other = f"'model' is a {family}. Connect Load Nano Model, or choose another preset."
        return "" if bundled else other
    if bundled:
        return "'model' is the bundled one. Choose the preset nano, or connect Load Checkpoint."
    if not isinstance(model.model.model_config, SD20):
        return f"'model' is a {family}. Load {title}."
    if isinstance(sampling, X0) or not isinstance(sampling, EPS):
        return (
            "'model' no longer predicts noise. Take away what changes its sampling, as ModelSamplingDiscrete."
        )
    return ""
