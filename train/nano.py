"""Training of the bundled model, in two stages: the anchor, then the restoration on top of it."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..image import resize
from ..models.nano import (
    CONTROLNET,
    LATENT_CHANNELS,
    LATENT_SCALE,
    TEXT_DIM,
    TEXT_TOKENS,
    TOKEN_DIM,
    UNET,
    Autoencoder,
    detail,
)
from ..models.segmenter import nano_encoder
from ..models.twins import SemanticControlNet, SemanticUNet
from .loop import fit
from .pairs import SCALE, Pairs
from .presets import NanoPreset

LAST_TIMESTEP = 999


class Nano(nn.Module):
    """Everything that is bundled, in one module."""

    sigmas: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.vae = Autoencoder()
        self.unet = SemanticUNet(**UNET).add_image_attentions(TOKEN_DIM)
        self.controlnet = SemanticControlNet(**CONTROLNET).add_image_attentions(TOKEN_DIM)
        self.encoder = nano_encoder()
        self.text = nn.Parameter(torch.randn(1, TEXT_TOKENS, TEXT_DIM))
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        kept = torch.cumprod(1 - betas, 0)
        self.register_buffer("sigmas", ((1 - kept) / kept).sqrt().float(), persistent=False)
        _start(self.unet, self.controlnet)

    def anchor(self, hint: Tensor) -> Tensor:
        """Latent (B, 48, h, w), scaled, of the hint (B, 3, 4h, 4w) in [0, 1]."""
        return self.vae.encode(hint * 2 - 1).float() * LATENT_SCALE

    def residual(self, x: Tensor, timestep: Tensor, anchor: Tensor, hint: Tensor, tokens: Tensor) -> Tensor:
        """The clean residual, from the noisy residual x and its timestep (B,)."""
        sigma = self.sigmas[timestep].view(-1, 1, 1, 1)
        scale = (1 + sigma**2).rsqrt()
        text = self.text.expand(len(x), -1, -1)
        control = self.controlnet.control((x + anchor) * scale, timestep, text, tokens, hint)
        known = torch.cat([x * scale, detail(anchor)], dim=1)
        return self.unet.restore(known, timestep, text, tokens, control).float()

    def first_estimate(self, noise: Tensor, anchor: Tensor, hint: Tensor, tokens: Tensor) -> Tensor:
        """The clean residual from noise alone: the host's first step, or its only one."""
        last = torch.full((len(noise),), LAST_TIMESTEP, device=noise.device)
        x = noise * (1 + self.sigmas[last].view(-1, 1, 1, 1) ** 2).sqrt()
        return self.residual(x, last, anchor, hint, tokens)

    def picture(self, latent: Tensor) -> Tensor:
        """(B, 3, H, W) in about [0, 1] of a scaled latent."""
        return (self.vae.decode(latent / LATENT_SCALE) + 1) / 2


@torch.no_grad()
def _start(unet: SemanticUNet, controlnet: SemanticControlNet) -> None:
    """Start near the anchor, with open gates and deaf to the noise, which says nothing at the first step."""
    gates: Any = (
        controlnet.controlnet_cond_embedding.conv_out,
        controlnet.controlnet_mid_block,
        *controlnet.controlnet_down_blocks,
    )
    for gate in gates:  # trained from scratch, a ControlNet needs no silent start
        nn.init.xavier_uniform_(gate.weight, gain=0.5)
    for parameter in unet.conv_out.parameters():
        parameter.mul_(0.1)
    unet.conv_in.weight[:, :LATENT_CHANNELS].mul_(0.1)
    controlnet.conv_in.weight.mul_(0.1)


def train(preset: NanoPreset, pairs: Pairs, run: Path) -> Nano:
    """Run (or resume) both stages and return the averaged model."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(preset.seed)
        model = Nano()
    for name in ("anchor", "polish"):
        model.vae = train_anchor(model.vae, preset, name, pairs, run)
    model.vae.requires_grad_(False)
    model = train_restore(model, preset, pairs, run)
    with torch.no_grad():
        for parameter in model.unet.conv_out.parameters():
            parameter.mul_(preset.gain)
    return model


def train_anchor(vae: Autoencoder, preset: NanoPreset, name: str, pairs: Pairs, run: Path) -> Autoencoder:
    """Stage 1: L1 between the decoded anchor and the clean photo; `name` is anchor or polish."""
    stage = {"anchor": preset.anchor, "polish": preset.polish}[name]
    vae.requires_grad_(True)

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng((preset.seed, *name.encode(), step))
        hr, lr = pairs.batch(rng, stage.batch, stage.crop)
        with torch.autocast("cpu", torch.bfloat16):
            picture = (vae.decode(vae.encode(enlarge(lr) * 2 - 1).float()) + 1) / 2
        return (picture - hr).abs().mean() * LATENT_SCALE

    return fit(vae, loss, stage, run, name)


def train_restore(model: Nano, preset: NanoPreset, pairs: Pairs, run: Path) -> Nano:
    """Stage 2: UNet, ControlNet, encoder and text stand-in predict what the anchor lacks.

    Most steps start from pure noise, as one-step sampling does. The others start from the model's
    own first estimate plus noise, as the later steps of a sampler do, never from the truth: so the
    model refines instead of inventing speckle from the noise.
    """

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng((preset.seed, 2, step))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        hr, lr = pairs.batch(rng, preset.restore.batch, preset.restore.crop)
        hint = enlarge(lr)
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel([SDPBackend.MATH]):
            with torch.no_grad():
                anchor = model.anchor(hint)
            tokens = _tokens(model, lr, preset, rng)
            later = rng.random() < preset.later_step_share
            residual = _estimate(model, anchor, hint, tokens, generator, later)
        picture = model.picture(anchor + residual)
        return (picture - _sharpened(hr, preset.sharpening)).abs().mean() * LATENT_SCALE

    return fit(model, loss, preset.restore, run, "restore")


def _estimate(
    model: Nano, anchor: Tensor, hint: Tensor, tokens: Tensor, generator: torch.Generator, later: bool
) -> Tensor:
    noise = torch.randn(anchor.shape, generator=generator)
    if not later:
        return model.first_estimate(noise, anchor, hint, tokens)
    with torch.no_grad():
        first = model.first_estimate(noise, anchor, hint, tokens)
    timestep = torch.randint(0, LAST_TIMESTEP, (len(anchor),), generator=generator)
    renoise = torch.randn(anchor.shape, generator=generator) * model.sigmas[timestep].view(-1, 1, 1, 1)
    return model.residual(first + renoise, timestep, anchor, hint, tokens)


def _tokens(model: Nano, lr: Tensor, preset: NanoPreset, rng: np.random.Generator) -> Tensor:
    """Tokens (B, N, D) of the crops, each seen alone or as one field of a mosaic of its neighbours.

    At use the encoder sees whole photos, of which a crop is a small part; the mosaics teach it that.
    """
    fields = int(rng.choice([k for k in (1, 2, 4) if len(lr) % k**2 == 0]))
    rows = lr.unflatten(0, (-1, fields, fields)).permute(0, 3, 1, 4, 2, 5)  # (m, c, row, h, column, w)
    tokens = model.encoder(rows.flatten(4, 5).flatten(2, 3))
    tokens = tokens.repeat_interleave(fields**2, dim=0)
    kept = torch.from_numpy(rng.random((len(lr), 1, 1)) >= preset.token_dropout)
    return tokens * kept


def _sharpened(hr: Tensor, amount: float) -> Tensor:
    """Unsharp mask of the clean photo: as in Real-ESRGAN and SeeSR, the answer to losses that prefer blur."""
    return hr + amount * (hr - F.avg_pool2d(hr, 5, stride=1, padding=2, count_include_pad=False))


def enlarge(lr: Tensor) -> Tensor:
    """The hint that Prepare Photo makes of the LR photo: bicubic, clamped."""
    height, width = (size * SCALE for size in lr.shape[2:])
    return resize(lr, height, width).clamp(0, 1)


@torch.no_grad()
def restore(model: Nano, lr: Tensor, seed: int = 0) -> Tensor:
    """One sampling step from pure noise: (B, 3, h, w) -> (B, 3, 4h, 4w), both in [0, 1]."""
    hint = enlarge(lr)
    anchor = model.anchor(hint)
    noise = torch.randn(anchor.shape, generator=torch.Generator().manual_seed(seed))
    residual = model.first_estimate(noise, anchor, hint, model.encoder(lr))
    return model.picture(anchor + residual).clamp(0, 1)
