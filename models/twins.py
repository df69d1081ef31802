"""The diffusers twins of the host's networks, in SeeSR's layout: for training, and as an oracle in tests.

SeeSR (arXiv 2311.16518) adds an `image_attentions` transformer after every text transformer of
Stable Diffusion's UNet and ControlNet. Here a forward hook of the text transformer calls it, so that every
parameter keeps SeeSR's name.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from .architecture import HEAD_DIM


class _Tokens:
    """The tokens that the image attentions of one network attend to during a forward."""

    value: Tensor | None = None


_Network = TypeVar("_Network", bound="_WithImageAttentions")


class _WithImageAttentions:
    def add_image_attentions(self: _Network, token_dim: int) -> _Network:
        """Return this network with image attentions to `token_dim` wide tokens after its text attentions."""
        network: Any = self
        self._tokens = _Tokens()
        for block in (*network.down_blocks, network.mid_block, *getattr(network, "up_blocks", ())):
            if attentions := getattr(block, "attentions", None):
                block.image_attentions = nn.ModuleList(
                    _image_attention(attention, token_dim, self._tokens) for attention in attentions
                )
        return self


class SemanticUNet(_WithImageAttentions, UNet2DConditionModel):
    """Stable Diffusion's UNet with image attentions; call `add_image_attentions` once after construction."""

    def restore(
        self, x: Tensor, timestep: Tensor, text: Tensor, tokens: Tensor, control: "Residuals"
    ) -> Tensor:
        """Return the prediction for x (B, C, h, w) with text (B, L, D), tokens (B, N, D) and residuals."""
        with _attending(self._tokens, tokens):
            return self(
                x,
                timestep,
                text,
                down_block_additional_residuals=control[0],
                mid_block_additional_residual=control[1],
                return_dict=False,
            )[0]


class SemanticControlNet(_WithImageAttentions, ControlNetModel):
    """A ControlNet with image attentions; call `add_image_attentions` once after construction."""

    def control(self, x: Tensor, timestep: Tensor, text: Tensor, tokens: Tensor, hint: Tensor) -> "Residuals":
        """Return residuals for the UNet's skips and middle block from the hint (B, 3, H, W) in [0, 1]."""
        with _attending(self._tokens, tokens):
            return self(x, timestep, text, hint, return_dict=False)


Residuals = tuple[tuple[Tensor, ...], Tensor]


@contextmanager
def _attending(holder: _Tokens, tokens: Tensor) -> Iterator[None]:
    holder.value = tokens
    try:
        yield
    finally:
        holder.value = None


def _image_attention(attention: Any, token_dim: int, holder: _Tokens) -> Transformer2DModel:
    channels = attention.in_channels
    image_attention = Transformer2DModel(
        channels // HEAD_DIM,
        HEAD_DIM,
        in_channels=channels,
        cross_attention_dim=token_dim,
        norm_num_groups=attention.norm.num_groups,
        use_linear_projection=attention.use_linear_projection,
    )
    attention.register_forward_hook(_Attend(image_attention, holder))
    return image_attention


@dataclass(eq=False)
class _Attend:
    """Applies the image attention after a text attention; an object, so that a copied network has its own."""

    image_attention: Transformer2DModel
    tokens: _Tokens

    def __call__(self, _: nn.Module, __: tuple, output: tuple[Tensor]) -> tuple[Tensor]:
        return self.image_attention(output[0], encoder_hidden_states=self.tokens.value, return_dict=False)
