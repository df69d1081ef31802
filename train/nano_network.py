"""The networks of the bundled model in one module, for training and for restoring without a host."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..models.nano import (
    CONTROLNET,
    LATENT_SCALE,
    TEXT_DIM,
    TEXT_TOKENS,
    TOKEN_DIM,
    UNET,
    Autoencoder,
    centres,
    detail,
    place,
    residual,
)
from ..models.segmenter import nano_encoder
from ..models.twins import SemanticControlNet, SemanticUNet

LAST_TIMESTEP = 999


class Nano(nn.Module):
    """All networks of the bundled model."""

    def __init__(self) -> None:
        super().__init__()
        self.vae = Autoencoder()
        self.unet = SemanticUNet(**UNET).add_image_attentions(TOKEN_DIM)
        self.controlnet = SemanticControlNet(**CONTROLNET).add_image_attentions(TOKEN_DIM)
        self.encoder = nano_encoder()
        self.text = nn.Parameter(torch.randn(1, TEXT_TOKENS, TEXT_DIM))
        _initialise(self.unet, self.controlnet)

    def anchor(self, hint: Tensor) -> Tensor:
        """Return the scaled latent (B, 48, h, w) of a hint (B, 3, 4h, 4w) in [0, 1]."""
        return self.vae.encode(hint * 2 - 1).float() * LATENT_SCALE

    def residual(self, anchor: Tensor, hint: Tensor, tokens: Tensor, timestep: Tensor) -> Tensor:
        """Return the difference (B, 48, h, w) from an anchor to the sharpest picture, at a timestep (B,)."""
        text = self.text.expand(len(anchor), -1, -1)
        where = place(*(centres(size, device=anchor.device) for size in anchor.shape[2:]))
        # the ControlNet ignores the sampler's x, so any latent of that shape will do
        control = self.controlnet.control(anchor, timestep, text, tokens, hint)
        known = torch.cat([detail(anchor), where.expand(len(anchor), -1, -1, -1)], dim=1)
        return residual(self.unet.restore(known, timestep, text, tokens, control).float(), anchor)

    def picture(self, latent: Tensor) -> Tensor:
        """Return the picture (B, 3, H, W), about in [0, 1], of a scaled latent."""
        return (self.vae.decode(latent / LATENT_SCALE) + 1) / 2


@torch.no_grad()
def _initialise(unet: SemanticUNet, controlnet: SemanticControlNet) -> None:
    """Initialise near the anchor, with an active ControlNet that ignores the sampler's noise."""
    gates: Any = (
        controlnet.controlnet_cond_embedding.conv_out,
        controlnet.controlnet_mid_block,
        *controlnet.controlnet_down_blocks,
    )
    for gate in gates:  # trained from scratch, a ControlNet needs no zero initialisation
        nn.init.xavier_uniform_(gate.weight, gain=0.5)
    for parameter in unet.conv_out.parameters():
        parameter.mul_(0.1)
    controlnet.conv_in.weight.zero_().requires_grad_(False)


@torch.no_grad()
def restore(model: Nano, hint: Tensor, tokens: Tensor | None = None, sharpness: float = 1.0) -> Tensor:
    """Return the picture (B, 3, H, W), about in [0, 1], of a hint whose sides are multiples of 4.

    Args:
        model: the networks.
        hint: (B, 3, H, W) in [0, 1].
        tokens: tokens to use instead of the encoder's.
        sharpness: 0 is the anchor alone, 1 the sharpest picture.
    """
    anchor = model.anchor(hint)
    if not sharpness:
        return model.picture(anchor)
    read = model.encoder(hint) if tokens is None else tokens
    last = torch.full((len(hint),), LAST_TIMESTEP, device=hint.device)
    return model.picture(anchor + sharpness * model.residual(anchor, hint, read, last))


def load_nano(seed: int, base: Path | None) -> Nano:
    """Return a model with fresh weights, or with those of a bundled one.

    Args:
        seed: seed of the fresh weights.
        base: weights of a bundled model.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Nano()
    if base is not None:
        state = {name: value.float() for name, value in load_file(base).items()}
        state["text"] = state.pop("text.")
        model.load_state_dict(state)
    return model
