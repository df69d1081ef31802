"""SRlab's training task at full size with random weights: same shapes, speed and memory, no files."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor

from ugc_sr.models.architecture import HEAD_DIM
from ugc_sr.models.segmenter import CONFIGS, ImageEncoder
from ugc_sr.models.twins import SemanticUNet
from ugc_sr.train.base import Base
from ugc_sr.train.srlab import SRLab

from .networks import TEXT_DIM, TEXT_TOKENS, WIDTHS
from .reference import SCHEDULE

UNET: dict[str, Any] = {
    "sample_size": 64,
    "block_out_channels": WIDTHS,
    "attention_head_dim": tuple(width // HEAD_DIM for width in WIDTHS),  # the number of heads
    "cross_attention_dim": TEXT_DIM,
    "use_linear_projection": True,
}
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "latent_channels": 4,
    "layers_per_block": 2,
}
# The text tower of ViT-H without its last layer, as in Stable Diffusion 2's text_encoder/config.json.
TEXT: dict[str, Any] = {
    "hidden_size": TEXT_DIM,
    "intermediate_size": 4 * TEXT_DIM,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "hidden_act": "gelu",
    "max_position_embeddings": TEXT_TOKENS,
}


def random_base() -> Base:
    """Return Stable Diffusion 2-base with random weights, drawn from the global generator."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return Base(
        unet=SemanticUNet(**UNET),
        vae=AutoencoderKL(**VAE),
        text_encoder=CLIPTextModel(CLIPTextConfig(**TEXT)),
        tokenize=_tokenize,
        scheduler=DDPMScheduler(**SCHEDULE),
    )


def random_task(*, frozen: torch.dtype, gradient_checkpointing: bool) -> SRLab:
    """Return SRlab's task on that base, with SAM2.1 tiny's encoder; the seed of all weights is fixed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = ImageEncoder(CONFIGS["sam2.1_tiny"]).eval()
        return SRLab(random_base(), encoder, frozen=frozen, gradient_checkpointing=gradient_checkpointing)


def _tokenize(captions: Sequence[str]) -> Tensor:
    """Return the end-of-text token for each caption; the words don't change any shape."""
    return torch.full((len(captions), TEXT_TOKENS), 49407)
