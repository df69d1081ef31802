"""The frozen base of a training: Stable Diffusion 2.x in diffusers' format, in safetensors only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor, nn

from ..files import parse_json, read_text
from ..models.architecture import HEAD_DIM
from ..models.twins import SemanticUNet
from ..models.weights import FAMILIES, UnsupportedWeightsError

CELL = 8  # pixels of a latent cell's side
LATENT_CHANNELS = 4
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
WANTED = (
    "Expected Stable Diffusion 2.x in diffusers' folders "
    f"({', '.join(PARTS)}), such as stable-diffusion-2-base or stable-diffusion-2-1."
)
# Variants of Stable Diffusion by the number of the UNet's input channels.
_VARIANTS = {
    5: "the depth variant",
    7: "an upscaler",
    8: "an editor of pictures",
    9: "the inpainting variant",
}
_PREDICTIONS = ("epsilon", "v_prediction")
_STEM = "diffusion_pytorch_model"
_WEIGHTS = {"unet": _STEM, "vae": _STEM, "text_encoder": "model"}  # file stems


@dataclass(frozen=True, eq=False)
class Base:
    """A text-to-image model."""

    unet: SemanticUNet  # without image attentions
    vae: AutoencoderKL  # pictures in [-1, 1] <-> latents, not scaled
    text_encoder: nn.Module  # token ids (B, L) -> an output with `last_hidden_state` (B, L, D)
    tokenize: Callable[[Sequence[str]], Tensor]  # captions -> token ids (B, L)
    scheduler: DDPMScheduler  # with the base's noise levels and prediction type


def load_base(folder: Path) -> Base:
    """Return a base, in float32.

    Raises:
        FileNotFoundError: if one of its folders or files is missing.
        UnsupportedWeightsError: if it is of another family, or has pickles only.
    """
    from transformers import CLIPTextModel, CLIPTokenizer

    check_base(folder)
    whole = {"local_files_only": True, "use_safetensors": True, "torch_dtype": torch.float32}
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)

    def tokenize(captions: Sequence[str]) -> Tensor:
        length = tokenizer.model_max_length
        ids = tokenizer(
            list(captions), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        )
        return ids["input_ids"]

    return Base(
        unet=SemanticUNet.from_pretrained(folder / "unet", **whole),
        vae=AutoencoderKL.from_pretrained(folder / "vae", **whole),
        text_encoder=CLIPTextModel.from_pretrained(
            folder / "text_encoder", local_files_only=True, use_safetensors=True, dtype=torch.float32
        ),
        tokenize=tokenize,
        # latents have no range to clip to, whatever the configuration says
        scheduler=cast(
            DDPMScheduler, DDPMScheduler.from_config(_json(folder, "scheduler"), clip_sample=False)
        ),
    )


def check_base(folder: Path) -> None:
    """Check from the configuration alone that a folder holds Stable Diffusion 2.x.

    Raises:
        FileNotFoundError: if one of its folders or files is missing.
        UnsupportedWeightsError: if it is another model, naming it.
    """
    if (folder / "transformer").is_dir() or (folder / "text_encoder_2").is_dir():
        raise UnsupportedWeightsError(f"'{folder}' is SDXL, Stable Diffusion 3 or later. {WANTED}")
    if missing := [part for part in PARTS if not (folder / part).is_dir()]:
        raise FileNotFoundError(f"The base '{folder}' lacks {', '.join(missing)}. {WANTED}")
    for part, stem in _WEIGHTS.items():
        _check_file(folder / part, stem)
    unet = _json(folder, "unet")
    text, channels, widths = unet.get("cross_attention_dim"), unet["in_channels"], unet["block_out_channels"]
    family = FAMILIES.get(text) if isinstance(text, int) else None
    encoded = _json(folder, "text_encoder").get("hidden_size")
    heads = unet.get("num_attention_heads") or unet["attention_head_dim"]  # both mean their number
    counts = heads if isinstance(heads, list) else [heads] * len(widths)
    prediction = _json(folder, "scheduler").get("prediction_type", "epsilon")
    variant = _VARIANTS.get(channels, "another model")
    for is_wrong, what in (
        (family not in (None, "Stable Diffusion 2"), f"is {family}: its text is {text} wide instead of 1024"),
        (
            channels != LATENT_CHANNELS,
            f"is {variant}: its UNet takes {channels} channels instead of {LATENT_CHANNELS}",
        ),
        (
            encoded != text,
            f"is put together from two models: its UNet takes text {text} wide, its text encoder gives "
            f"{encoded}",
        ),
        (
            [count * HEAD_DIM for count in counts] != widths,
            f"has {counts} attention heads for {widths} channels; expected heads {HEAD_DIM} wide",
        ),
        (
            prediction not in _PREDICTIONS,
            f"predicts {prediction!r}; expected {' or '.join(_PREDICTIONS)}",
        ),
    ):
        if is_wrong:
            raise UnsupportedWeightsError(f"The base '{folder}' {what}. {WANTED}")


def _check_file(folder: Path, stem: str) -> None:
    if any((folder / f"{stem}.safetensors{index}").is_file() for index in ("", ".index.json")):
        return
    if any(folder.glob("*.bin")):
        raise UnsupportedWeightsError(
            f"'{folder}' holds its weights as a pickle, which may run code when opened. "
            f"Get {stem}.safetensors."
        )
    raise FileNotFoundError(f"'{folder}' lacks {stem}.safetensors. Download the base again.")


def _json(folder: Path, part: str) -> dict[str, Any]:
    path = folder / part / ("scheduler_config.json" if part == "scheduler" else "config.json")
    try:
        return parse_json(read_text(path))
    except FileNotFoundError:
        raise FileNotFoundError(f"The base '{folder}' lacks {part}/{path.name}. {WANTED}") from None
    except ValueError as error:
        raise UnsupportedWeightsError(f"'{path}' is no JSON ({error}). Download the base again.") from None
