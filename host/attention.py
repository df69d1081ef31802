"""Image attention built of the host's layers, with keys and values cached for a run."""

from collections.abc import Mapping
from typing import Any

import comfy.ops
import torch
from comfy.ldm.modules.attention import CrossAttention, SpatialTransformer, optimized_attention
from torch import Tensor, nn

from ..models.architecture import HEAD_DIM
from ..models.semantics import VIEWS, Semantics
from ..sample.tiles import TilePlan

# As the host sets it for Stable Diffusion 2, whose attentions overflow in half precision on some devices.
ATTENTION_PRECISION = torch.float32
_RUN = "ugcsr_run"
_OVERRIDE = "optimized_attention_override"


class TokenCache:
    """Tokens with their keys and values in each attention.

    Keys and values don't depend on the latent, sigma or half of CFG. `clear` frees them but not the tokens.
    """

    def __init__(self, tokens: Tensor) -> None:
        self.tokens = tokens  # (b, N, D), on the device to which the encoder returned them
        self._moved: dict[tuple[torch.dtype, torch.device], Tensor] = {}
        self._projected: dict[tuple[nn.Module, torch.dtype, torch.device], tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        return len(self._projected)

    def clear(self) -> None:
        """Free all keys and values."""
        self._moved.clear()
        self._projected.clear()

    def project(self, attention: "TokenAttention", like: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values (b, N, C) of one attention, with the dtype and device of `like`."""
        key = attention, like.dtype, like.device
        if key not in self._projected:
            place = like.dtype, like.device
            if place not in self._moved:
                self._moved[place] = self.tokens.to(like)
            tokens = self._moved[place]
            self._projected[key] = attention.to_k(tokens), attention.to_v(tokens)
        return self._projected[key]


class TokenRun:
    """Tokens that one guidance attends to during a run, with their keys and values.

    Those of the whole photo are cached for the run. Those of tiles are cached until another stack of tiles is
    evaluated, so for the whole run if all tiles fit into one stack.
    """

    def __init__(self, semantics: Semantics) -> None:
        self.semantics = semantics
        self._whole = TokenCache(semantics.tokens)
        self._selected = [self._whole]
        self._plan: TilePlan | None = None

    def __len__(self) -> int:
        """Number of attentions with cached keys and values, for the whole photo and for tiles."""
        return sum(len(cache) for cache in {self._whole, *self._selected})

    def clear(self) -> None:
        """Free all caches."""
        self.select(None)
        self._whole.clear()
        if self.semantics.reader is not None:
            self.semantics.reader.clear()

    def select(self, plan: TilePlan | None) -> None:
        """Select the tokens of the next evaluations, by the view of the semantics and under these tiles.

        Loads the encoder for tiles that weren't read before, so it must not be called inside a network.
        """
        if plan == self._plan:
            return
        selected = [self._whole]
        view = VIEWS[self.semantics.view]
        if plan is not None and self.semantics.reader is not None and view.tile:
            read = self.semantics.reader.read(plan.boxes, plan.full)
            tiles = TokenCache(torch.cat([rows(tokens, plan.batch) for tokens in read]))
            selected = [*([self._whole] if view.whole else []), tiles]
        self._plan, self._selected = plan, selected

    def project(self, attention: "TokenAttention", like: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values (b, N, C) of all selected tokens."""
        projected = [cache.project(attention, like) for cache in self._selected]
        if len(projected) == 1:
            return projected[0]
        batch = max(k.shape[0] for k, _ in projected)
        k, v = (torch.cat([rows(t, batch) for t in side], dim=1) for side in zip(*projected, strict=True))
        return k, v


class TokenAttention(CrossAttention):
    """The host's cross-attention, with keys and values from a `TokenRun`."""

    def forward(self, x: Tensor, *_: Any, transformer_options: Mapping[str, Any], **__: Any) -> Tensor:
        """Return the attention (B, L, C) of x to the tokens (b, N, D), which repeat along the batch."""
        options = dict(transformer_options)
        k, v = (rows(t, x.shape[0]) for t in options.pop(_RUN).project(self, like=x))
        out = optimized_attention(
            self.to_q(x), k, v, self.heads, attn_precision=self.attn_precision, transformer_options=options
        )
        return self.to_out(out)


def rows(x: Tensor, batch: int) -> Tensor:
    """Return x (b, ...) repeated to `batch` rows; a view if b is 1.

    Rows cycle through the images, because halves of CFG and tiles are stacked outside of them.
    """
    if x.shape[0] == 1:
        return x.expand(batch, *x.shape[1:])
    return x.repeat(batch // x.shape[0], *(1,) * (x.ndim - 1))


class ImageAttention(SpatialTransformer):
    """SeeSR's image attention: a transformer with self-attention and cross-attention to tokens."""

    def __init__(
        self, channels: int, token_dim: int, depth: int, use_linear: bool, dtype: torch.dtype
    ) -> None:
        heads = channels // HEAD_DIM
        layers = {
            "dtype": dtype,
            "device": None,
            "operations": comfy.ops.manual_cast,
            "attn_precision": ATTENTION_PRECISION,
        }
        self.token_dim = token_dim
        super().__init__(
            channels, heads, HEAD_DIM, depth=depth, context_dim=token_dim, use_linear=use_linear, **layers
        )
        for block in self.transformer_blocks:
            block.attn2 = TokenAttention(channels, token_dim, heads, HEAD_DIM, **layers)

    def attend(self, x: Tensor, run: TokenRun, transformer_options: Mapping) -> Tensor:
        """Return x (B, C, h, w) after attention to the tokens of `run`.

        Of the base model's options only the choice of attention function is used; patches of its attentions
        have no effect here.
        """
        options = {key: transformer_options[key] for key in (_OVERRIDE,) if key in transformer_options}
        return self(x, None, transformer_options=options | {_RUN: run})
