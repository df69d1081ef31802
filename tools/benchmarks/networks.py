"""Diffusers twins of the published networks with random weights, at full size or narrower."""

import math
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ugc_sr.models.architecture import HEAD_DIM
from ugc_sr.models.convert import DUPLICATED
from ugc_sr.models.twins import SemanticControlNet, SemanticUNet

WIDTHS = (320, 640, 1280, 1280)  # widths of Stable Diffusion 2's levels
TEXT_DIM = 1024
TEXT_TOKENS = 77
TOKENS = 64 * 64  # number of SAM2's tokens for any photo


def build(
    widths: Sequence[int] = WIDTHS, text_dim: int = TEXT_DIM
) -> tuple[SemanticUNet, SemanticControlNet]:
    """Return SeeSR's UNet and ControlNet for duplicated tokens, on the default device, in evaluation mode."""
    attending = len(widths) - 1  # attention at all levels but the coarsest
    sizes = {
        "block_out_channels": tuple(widths),
        "layers_per_block": 2,
        "attention_head_dim": tuple(width // HEAD_DIM for width in widths),  # the number of heads
        "cross_attention_dim": text_dim,
        "use_linear_projection": True,
        "down_block_types": ("CrossAttnDownBlock2D",) * attending + ("DownBlock2D",),
    }
    ups = ("UpBlock2D", *("CrossAttnUpBlock2D",) * attending)
    unet = SemanticUNet(**sizes, up_block_types=ups).add_image_attentions(DUPLICATED)
    controlnet = SemanticControlNet(**sizes).add_image_attentions(DUPLICATED)
    return unet.eval().requires_grad_(False), controlnet.eval().requires_grad_(False)


@torch.no_grad()
def randomize(network: nn.Module) -> None:
    """Fill every parameter with random values, including zero convolutions."""
    for name, parameter in network.named_parameters():
        parameter.copy_(fill(name, list(parameter.shape)))


def fill(name: str, shape: list[int]) -> Tensor:
    """Return a tensor as in the parity fixture: seeded by its name, scaled to keep activations bounded."""
    r = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if len(shape) >= 2:
        return r * (0.7 / math.prod(shape[1:]) ** 0.5)
    return 1 + 0.1 * r if name.endswith("weight") else 0.05 * r
