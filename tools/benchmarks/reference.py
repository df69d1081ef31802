"""The sampling loop of SeeSR and SRlab, without optimizations, tile after tile: an oracle and a baseline.

It follows the behaviour of both codes (SeeSR arXiv 2311.16518, SRlab arXiv 2504.09887). It runs on the
diffusers twins of the networks with diffusers' scheduler, and shares no code with the nodes.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ugc_sr.models.twins import SemanticControlNet, SemanticUNet

# The scheduler's configuration of stable-diffusion-2-base; SeeSR and SRlab use it for DDPM.
SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "clip_sample": False,
}
NOISIEST = 999  # timestep of the noise added to an LR start, whichever timestep the first step has
VARIANCE = 0.01  # variance of the tiles' Gaussian weights, in squared tile sides


class Box(NamedTuple):
    """A tile, in latent cells."""

    top: int
    left: int
    height: int
    width: int

    def of(self, x: Tensor, cell: int = 1) -> Tensor:
        """Return the part of x (..., H, W) inside the tile; `cell` is the side of a latent cell in x."""
        top, left = self.top * cell, self.left * cell
        return x[..., top : top + self.height * cell, left : left + self.width * cell]


@dataclass(frozen=True, eq=False)
class Inputs:
    """The inputs of the loop.

    Attributes:
        noise: (B, 4, h, w), unit variance; the sampling starts from it.
        hint: (B, 3, 8 h, 8 w) in [0, 1], for the ControlNet.
        text: (B, L, D), the positive prompt.
        negative: (B, L, D), the negative prompt; unused without guidance.
        tokens: (B, N, token width) of the whole photo, the same for every tile.
        latent: (B, 4, h, w), the encoded hint to which the noise is added (SeeSR's start "lr");
            None starts from the noise only (SRlab's "noise").
    """

    noise: Tensor
    hint: Tensor
    text: Tensor
    negative: Tensor
    tokens: Tensor
    latent: Tensor | None = None


@torch.inference_mode()
def restore(
    unet: SemanticUNet,
    controlnet: SemanticControlNet,
    inputs: Inputs,
    *,
    steps: int,
    cfg: float,
    generator: torch.Generator | None = None,
    tile: int | None = None,
    overlap: int = 0,
) -> Tensor:
    """Return the restored latent (B, 4, h, w).

    Args:
        unet: with image attentions.
        controlnet: with image attentions.
        inputs: the noise, the hint, the prompts and the tokens.
        steps: number of DDPM steps.
        cfg: guidance scale; at 1 or below there is no guidance, and one half is computed instead of two.
        generator: generator of the noise of each step. The host's `ddpm` with seed s on the CPU uses one
            seeded with s + 1.
        tile: side of a tile in latent cells; None computes the whole latent at once.
        overlap: cells that neighbouring tiles share.
    """
    scheduler = ddpm(steps)
    height, width = inputs.noise.shape[-2:]
    boxes = [Box(0, 0, height, width)] if tile is None else plan(height, width, tile, overlap)
    x = inputs.noise
    if inputs.latent is not None:
        x = scheduler.add_noise(inputs.latent, x, torch.tensor([NOISIEST]))
    for t in scheduler.timesteps:
        eps = torch.zeros_like(x if cfg <= 1 else x.repeat(2, 1, 1, 1))
        norm = torch.zeros_like(eps)
        for box in boxes:
            weight = torch.ones(1) if len(boxes) == 1 else weights(box.height, box.width)
            weight = weight.to(x)
            box.of(eps).add_(_predict(unet, controlnet, inputs, box, x, t, cfg > 1) * weight)
            box.of(norm).add_(weight)
        eps /= norm
        if cfg > 1:
            uncond, cond = eps.chunk(2)
            eps = uncond + cfg * (cond - uncond)
        x = scheduler.step(eps, int(t), x, generator=generator, return_dict=False)[0]
    return x


def ddpm(steps: int) -> Any:
    """Return diffusers' DDPM scheduler, set to `steps`; 50 steps have the timesteps 981, 961, .. 1."""
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    scheduler = DDPMScheduler(**SCHEDULE)
    scheduler.set_timesteps(steps)
    return scheduler


def plan(height: int, width: int, tile: int, overlap: int) -> list[Box]:
    """Return the tiles of a latent: squares at a fixed stride; the last of a row or column is moved inwards.

    A latent whose area is at most that of a tile is one tile. The side of a tile is at most the latent's
    shorter side.

    Raises:
        ValueError: if the overlap is not smaller than the tile; the original code never ends then.
    """
    if height * width <= tile**2:
        return [Box(0, 0, height, width)]
    side = min(tile, height, width)
    if overlap >= side:
        raise ValueError(
            f"The reference can't tile {height}x{width} cells: its tiles of {side} overlap by {overlap}."
        )
    rows, columns = (_starts(length, side, side - overlap) for length in (height, width))
    return [Box(top, left, side, side) for left in columns for top in rows]


def weights(height: int, width: int) -> Tensor:
    """Return a tile's Gaussian weights (height, width), float64; the peak is half a cell low, as in SeeSR."""
    rows = (torch.arange(height, dtype=torch.float64) - height / 2) / height
    columns = (torch.arange(width, dtype=torch.float64) - (width - 1) / 2) / width
    return torch.outer(*(torch.exp(-(x**2) / (2 * VARIANCE)) for x in (rows, columns)))


def _starts(length: int, side: int, stride: int) -> list[int]:
    count = 1 + math.ceil((length - side) / stride)
    return [min(i * stride, length - side) for i in range(count)]


def _predict(
    unet: SemanticUNet,
    controlnet: SemanticControlNet,
    inputs: Inputs,
    box: Box,
    x: Tensor,
    t: Tensor,
    guided: bool,
) -> Tensor:
    """Return the prediction (B or 2 B, 4, h, w) for one tile in the networks' dtype, unconditional first."""
    text = torch.cat([inputs.negative, inputs.text]) if guided else inputs.text
    cell = inputs.hint.shape[-1] // x.shape[-1]
    halves = 2 if guided else 1
    cut, hint = (part.repeat(halves, 1, 1, 1) for part in (box.of(x), box.of(inputs.hint, cell)))
    tokens = inputs.tokens.repeat(halves, 1, 1)
    cut, hint, text, tokens = (part.to(unet.device, unet.dtype) for part in (cut, hint, text, tokens))
    control = controlnet.control(cut, t, text, tokens, hint)
    return unet.restore(cut, t, text, tokens, control).to(x)
