"""Image attention of the host's own layers, whose keys and values are computed once for a run."""

from collections.abc import Mapping
from typing import Any

import comfy.ops
import torch
from comfy.ldm.modules.attention import CrossAttention, SpatialTransformer, optimized_attention
from torch import Tensor, nn

from ..models.architecture import HEAD_DIM

_CACHE = "ugcsr_cache"
_OVERRIDE = "optimized_attention_override"


class TokenCache:
    """The tokens of one guidance, and their keys and values in each attention.

    These don't depend on latent, sigma, tile or CFG half. `clear` frees them; the tokens stay.
    """

    def __init__(self, tokens: Tensor) -> None:
        self.tokens = tokens  # (b, N, D), where the encoder left them
        self._projected: dict[tuple[nn.Module, torch.dtype, torch.device], tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        return len(self._projected)

    def clear(self) -> None:
        """Drop every key and value."""
        self._projected.clear()

    def project(self, attention: "TokenAttention", like: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (b, N, C) of one attention, in the dtype and on the device of `like`."""
        key = attention, like.dtype, like.device
        if key not in self._projected:
            tokens = self.tokens.to(like)
            self._projected[key] = attention.to_k(tokens), attention.to_v(tokens)
        return self._projected[key]


class TokenAttention(CrossAttention):
    """The host's cross-attention to tokens, with keys and values from a `TokenCache`."""

    def forward(self, x: Tensor, *_: Any, transformer_options: Mapping[str, Any], **__: Any) -> Tensor:
        """Attend from x (B, L, C) to the cached tokens (b, N, D), which repeat along the batch."""
        k, v = (rows(t, x.shape[0]) for t in transformer_options[_CACHE].project(self, like=x))
        options = {key: option for key, option in transformer_options.items() if key != _CACHE}
        out = optimized_attention(
            self.to_q(x), k, v, self.heads, attn_precision=self.attn_precision, transformer_options=options
        )
        return self.to_out(out)


def rows(x: Tensor, batch: int) -> Tensor:
    """Repeat x (b, ...) to `batch` rows; a view if b is 1.

    Cond halves and tiles are stacked outside of the images, so rows cycle through the images.
    """
    if x.shape[0] == 1:
        return x.expand(batch, *x.shape[1:])
    return x.repeat(batch // x.shape[0], *(1,) * (x.ndim - 1))


class ImageAttention(SpatialTransformer):
    """SeeSR's image attention: a whole transformer, self-attention and cross-attention to tokens."""

    def __init__(
        self, channels: int, token_dim: int, depth: int, use_linear: bool, dtype: torch.dtype
    ) -> None:
        heads = channels // HEAD_DIM
        layers = {"dtype": dtype, "device": None, "operations": comfy.ops.manual_cast}
        self.token_dim = token_dim
        super().__init__(
            channels, heads, HEAD_DIM, depth=depth, context_dim=token_dim, use_linear=use_linear, **layers
        )
        for block in self.transformer_blocks:
            block.attn2 = TokenAttention(channels, token_dim, heads, HEAD_DIM, **layers)

    def attend(self, x: Tensor, cache: TokenCache, transformer_options: Mapping) -> Tensor:
        """Attend from x (B, C, h, w) to the tokens of `cache`.

        Of the base model's options only the choice of attention function comes along: patches made
        for the base's attentions don't act here.
        """
        options = {key: transformer_options[key] for key in (_OVERRIDE,) if key in transformer_options}
        return self(x, None, transformer_options=options | {_CACHE: cache})
