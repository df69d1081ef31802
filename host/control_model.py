"""Network of the semantic ControlNet: the host's, with an image attention after each text attention."""

from collections.abc import Mapping
from typing import Any

import comfy.cldm.cldm
import comfy.ops
import torch
from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import TimestepEmbedSequential, timestep_embedding
from torch import Tensor, nn

from ..models import architecture
from .adapter import SemanticAdapter
from .attention import ATTENTION_PRECISION, TokenRun

_IMAGE = "image_attentions."
_HINT = "input_hint_block."


class SemanticControlModel(comfy.cldm.cldm.ControlNet):
    """ControlNet with an image attention after each text attention."""

    def __init__(self, state_dict: Mapping[str, Tensor], dtype: torch.dtype) -> None:
        """Build the modules for the weights in `state_dict`, which has the host's key names."""
        super().__init__(
            hint_channels=3,
            dtype=dtype,
            operations=comfy.ops.manual_cast,
            attn_precision=ATTENTION_PRECISION,
            **architecture.infer(state_dict),
        )
        self.input_hint_block, self.compression = _hint_block(state_dict, dtype)
        self.image_attentions = SemanticAdapter(
            {key.removeprefix(_IMAGE): w for key, w in state_dict.items() if key.startswith(_IMAGE)}, dtype
        )

    def embed(self, hint: Tensor) -> Tensor:
        """Return the embedding (B, C, h, w) of a hint (B, 3, f h, f w) in [0, 1], for `compression` f."""
        return self.input_hint_block(hint, None)

    def control(
        self,
        x: Tensor,
        embedding: Tensor,
        timesteps: Tensor,
        context: Tensor,
        run: TokenRun,
        model_options: Mapping,
    ) -> dict[str, list[Tensor]]:
        """Return the residuals for the skip connections and the middle block of the UNet.

        Args:
            x: scaled latent (B, C, h, w).
            embedding: embedding of the hint, as `embed` returns it.
            timesteps: (B,), or (1,) for all.
            context: text tokens (B, L, D).
            run: tokens of the photo.
            model_options: transformer options of the UNet.
        """
        emb = self.time_embed(timestep_embedding(timesteps, self.model_channels).to(x.dtype))

        def attend(
            layer: SpatialTransformer, h: Tensor, _: Tensor, text: Tensor, options: dict, *__: Any
        ) -> Tensor:
            site = "{}_{}".format(*options["block"])
            return self.image_attentions.attentions[site].attend(layer(h, text, options), run, model_options)

        options: dict[str, Any] = {
            "patches": {"forward_timestep_embed_patch": [(SpatialTransformer, attend)]}
        }
        h, output = x, []
        for number, (block, zero_conv) in enumerate(zip(self.input_blocks, self.zero_convs, strict=True)):
            options["block"] = ("input", number)
            h = block(h, emb, context, options)
            if number == 0:
                h = h + embedding
            output.append(zero_conv(h, emb))
        options["block"] = ("middle", 0)
        h = self.middle_block(h, emb, context, options)
        return {"middle": [self.middle_block_out(h, emb)], "output": output}


def _hint_block(state_dict: Mapping[str, Tensor], dtype: torch.dtype) -> tuple[TimestepEmbedSequential, int]:
    """Return the network that embeds a hint, of any width and depth, and its downscaling factor.

    As in diffusers, it has one input convolution, pairs of which the second has stride 2, and one output
    convolution.
    """
    numbers = sorted(
        int(k.split(".")[1]) for k in state_dict if k.startswith(_HINT) and k.endswith(".weight")
    )
    layers: list[nn.Module] = []
    halvings = 0
    for position, number in enumerate(numbers):
        halves = 0 < position < len(numbers) - 1 and position % 2 == 0
        halvings += halves
        width, channels = state_dict[f"{_HINT}{number}.weight"].shape[:2]
        stride = 2 if halves else 1
        if layers:
            layers.append(nn.SiLU())
        layers.append(comfy.ops.manual_cast.Conv2d(channels, width, 3, padding=1, stride=stride, dtype=dtype))
    return TimestepEmbedSequential(*layers), 2**halvings
