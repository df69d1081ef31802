"""Image attention of the host's own layers, whose keys and values are computed once for a run."""

from collections.abc import Hashable, Mapping
from typing import Any

import comfy.ops
import torch
from comfy.ldm.modules.attention import CrossAttention, SpatialTransformer, optimized_attention
from torch import Tensor, nn

from ..models.architecture import HEAD_DIM
from ..models.semantics import Semantics
from ..sample.tiles import Tile, TilePlan

# What the host sets for Stable Diffusion 2, whose attentions overflow half precision on some devices.
ATTENTION_PRECISION = torch.float32
_RUN = "ugcsr_run"
_EVALUATION = "ugcsr_evaluation"
_OVERRIDE = "optimized_attention_override"

Stack = tuple[Tile, ...]  # tiles that are evaluated at once; empty without tiles


class TokenCache:
    """Tokens, and their keys and values in each attention.

    These don't depend on latent, sigma or CFG half. `clear` frees them; the tokens stay.
    """

    def __init__(self, tokens: Tensor) -> None:
        self.tokens = tokens  # (b, N, D), where the encoder left them
        self._moved: dict[tuple[torch.dtype, torch.device], Tensor] = {}
        self._projected: dict[tuple[nn.Module, torch.dtype, torch.device], tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        return len(self._projected)

    def clear(self) -> None:
        """Drop every key and value."""
        self._moved.clear()
        self._projected.clear()

    def project(self, attention: "TokenAttention", like: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (b, N, C) of one attention, in the dtype and on the device of `like`."""
        key = attention, like.dtype, like.device
        if key not in self._projected:
            place = like.dtype, like.device
            if place not in self._moved:
                self._moved[place] = self.tokens.to(like)
            tokens = self._moved[place]
            self._projected[key] = attention.to_k(tokens), attention.to_v(tokens)
        return self._projected[key]


class TokenRun:
    """What one guidance attends to during a run, and what it may keep from one evaluation to the next.

    Keys and values of the whole photo stay for the run; those of tiles stay as long as the same stack of
    tiles comes again, so for the run if all tiles fit into one stack. While `frozen`, each attention answers
    as it did the first time since: per stack of tiles and CFG half, one number for each of its own. For
    Stable Diffusion 2 in half precision that is 22 MiB for 64x64 cells and 50 MiB for 96x96, and 9 and 20 MiB
    in its ControlNet. `clear` frees all.
    """

    def __init__(self, semantics: Semantics) -> None:
        self.semantics = semantics
        self.frozen = False
        self._may_freeze = True
        self._whole = TokenCache(semantics.tokens)
        self._attended = [self._whole]
        self._plan: TilePlan | None = None
        self._answers: dict[Stack, dict[Hashable, Tensor]] = {}

    def __len__(self) -> int:
        """Number of attentions whose keys and values, or answers, are kept."""
        caches = {self._whole, *self._attended}
        return sum(len(kept) for kept in (*caches, *self._answers.values()))

    def clear(self) -> None:
        """Free what was computed."""
        self.look(None)
        self.frozen = False
        self._whole.clear()
        self._answers.clear()
        if self.semantics.reader is not None:
            self.semantics.reader.clear()

    def look(self, plan: TilePlan | None) -> None:
        """Attend from now on to what is under these tiles, as far as the semantics ask for that.

        Loads the encoder if a tile is new, so it is no call for the inside of a network.
        """
        if plan == self._plan:
            return
        stack = plan.boxes if plan else ()
        self._answers = {old: kept for old, kept in self._answers.items() if _may_return(old, stack)}
        attended = [self._whole]
        if plan is not None and self.semantics.reader is not None:
            read = self.semantics.reader.read(plan.boxes, plan.full)
            tiles = TokenCache(torch.cat([rows(tokens, plan.batch) for tokens in read]))
            attended = [self._whole, tiles] if self.semantics.view == "both" else [tiles]
        self._plan, self._attended = plan, attended

    def freeze(self, frozen: bool) -> None:
        """Begin to repeat answers, or stop it and forget them."""
        self.frozen = frozen and self._may_freeze
        if not self.frozen:
            self._answers.clear()

    def thaw(self) -> bool:
        """Keep no more answers in this run, for want of memory; return whether there were any."""
        kept = any(self._answers.values())
        self._may_freeze = False
        self.freeze(False)
        return kept

    def project(self, attention: "TokenAttention", like: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (b, N, C) of all tokens attended to."""
        projected = [cache.project(attention, like) for cache in self._attended]
        if len(projected) == 1:
            return projected[0]
        batch = max(k.shape[0] for k, _ in projected)
        k, v = (torch.cat([rows(t, batch) for t in side], dim=1) for side in zip(*projected, strict=True))
        return k, v

    @property
    def answers(self) -> dict[Hashable, Tensor] | None:
        """What attentions answered for these tiles since they are frozen; None if they aren't."""
        return self._answers.setdefault(self._plan.boxes if self._plan else (), {}) if self.frozen else None


class TokenAttention(CrossAttention):
    """The host's cross-attention to tokens, with keys and values from a `TokenRun`."""

    def forward(self, x: Tensor, *_: Any, transformer_options: Mapping[str, Any], **__: Any) -> Tensor:
        """Attend from x (B, L, C) to the tokens (b, N, D) of the run, which repeat along the batch."""
        options = dict(transformer_options)
        run, evaluation = options.pop(_RUN), options.pop(_EVALUATION)
        answers, key = run.answers, (self, evaluation, x.shape, x.dtype, x.device)
        if answers is not None and key in answers:
            return answers[key]
        k, v = (rows(t, x.shape[0]) for t in run.project(self, like=x))
        out = optimized_attention(
            self.to_q(x), k, v, self.heads, attn_precision=self.attn_precision, transformer_options=options
        )
        out = self.to_out(out)
        if answers is not None:
            answers[key] = out
        return out


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
        """Attend from x (B, C, h, w) to the tokens of `run`.

        Of the base model's options only the choice of attention function comes along: patches made
        for the base's attentions don't act here.
        """
        options = {key: transformer_options[key] for key in (_OVERRIDE,) if key in transformer_options}
        evaluation = _evaluation(transformer_options) if run.frozen else None
        return self(x, None, transformer_options=options | {_RUN: run, _EVALUATION: evaluation})


def _evaluation(options: Mapping) -> Hashable:
    """What the host evaluates of a stack of tiles: which conditionings, with which attentions replaced.

    The latter tell apart what perturbed-attention guidance evaluates besides.
    """
    replaced = options.get("patches_replace", {})
    return tuple(options.get("uuids", ())), tuple((kind, *places) for kind, places in replaced.items())


def _may_return(old: Stack, new: Stack) -> bool:
    """Whether a run that has come to the stack `new` may come to `old` again: out of memory deals anew."""
    if not old or not new:
        return old == new
    return old == new or (old[0][2:] == new[0][2:] and set(old).isdisjoint(new))
