"""Semantic guidance: the adapter's image attentions inside the host's UNet."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import comfy.model_patcher
from comfy.ldm.modules.attention import BasicTransformerBlock, SpatialTransformer, SpatialVideoTransformer
from comfy.model_sampling import V_PREDICTION
from comfy.patcher_extension import CallbacksMP, WrapperExecutor, WrappersMP
from torch import Tensor, nn

from ..models.semantics import Semantics
from .adapter import LoadedAdapter, SemanticAdapter
from .attention import TokenCache

NODE = "Apply Semantic Guidance"
KEY = "ugcsr_semantics"
_PATCH = "forward_timestep_embed_patch"


@dataclass(frozen=True, eq=False)
class Guidance:
    """One adapter with a photo's tokens, acting with `strength` from `start` to `end` of the sampling."""

    adapter: SemanticAdapter
    tokens: Tensor
    strength: float
    start: float
    end: float


def apply_guidance(
    model: "comfy.model_patcher.ModelPatcher",
    adapter: LoadedAdapter,
    semantics: Semantics,
    strength: float = 1.0,
    start_percent: float = 0.0,
    end_percent: float = 1.0,
) -> "comfy.model_patcher.ModelPatcher":
    """A MODEL that also attends to `semantics`; `model` stays as it is. Guidances add up.

    Raises:
        ValueError: if adapter, semantics and model don't belong together.
    """
    check_tokens(NODE, semantics, adapter.token_dim, adapter.name)
    check_sites(NODE, model.get_model_object("diffusion_model"), adapter.patcher.model, adapter.name)
    if strength == 0:
        return model
    if isinstance(model.get_model_object("model_sampling"), V_PREDICTION):
        logging.warning(
            "%s: 'model' predicts v. SeeSR and SRlab were trained on Stable Diffusion 2-base (512 px), which "
            "predicts noise; expect wrong colours with 2-768 models.",
            NODE,
        )
    model = model.clone()
    entry = Guidance(adapter.patcher.model, semantics.tokens, strength, start_percent, end_percent)
    handlers = model.model_options["transformer_options"].setdefault("patches", {}).setdefault(_PATCH, [])
    earlier = [handler for _, handler in handlers if isinstance(handler, Dispatcher)]
    entries = [*(e for dispatcher in earlier for e in dispatcher.entries), entry]
    dispatcher = Dispatcher(entries)
    handlers[:] = [
        (SpatialTransformer, dispatcher),
        *(pair for pair in handlers if not isinstance(pair[1], Dispatcher)),
    ]
    _register(model, dispatcher)
    patchers = model.get_additional_models_with_key(KEY)
    if all(patcher.model is not adapter.patcher.model for patcher in patchers):
        model.set_additional_models(KEY, [*patchers, adapter.patcher])
    return model


class Dispatcher:
    """Runs every guidance of one MODEL after each text attention; the only handler of ours there."""

    def __init__(self, entries: list[Guidance]) -> None:
        self.entries = tuple(entries)
        self.caches = tuple(TokenCache(entry.tokens) for entry in entries)
        self._active = (True,) * len(entries)

    def prepare(self, patcher: "comfy.model_patcher.ModelPatcher", sigma: Tensor, _: dict) -> None:
        """Find out once per step, outside of the network, which guidances act at this noise level."""
        level = float(sigma.max())
        sampling: Any = patcher.get_model_object("model_sampling")
        self._active = tuple(
            sampling.percent_to_sigma(entry.end) <= level <= sampling.percent_to_sigma(entry.start)
            for entry in self.entries
        )

    def sample(self, run: WrapperExecutor, noise: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Around a whole run: refuse tokens of another number of photos before anything is loaded."""
        for entry in self.entries:
            check_batch(NODE, "'semantics'", entry.tokens.shape[0], noise.shape[0])
        return run(noise, *args, **kwargs)

    def clear(self, _: Any = None) -> None:
        """Free what was computed from the tokens."""
        for cache in self.caches:
            cache.clear()

    def __call__(
        self, layer: SpatialTransformer, x: Tensor, emb: Tensor, context: Tensor, options: dict, *rest: Any
    ) -> Tensor:
        """Stand in for `layer` in the host's loop over a block."""
        x = self._text_attention(layer, x, emb, context, options, *rest)
        site = "{}_{}".format(*options["block"])
        for entry, cache, active in zip(self.entries, self.caches, self._active, strict=True):
            if active and site in entry.adapter:
                y = entry.adapter.attentions[site].attend(x, cache, options)
                x = y if entry.strength == 1 else x + entry.strength * (y - x)
        return x

    def _text_attention(self, layer, x, emb, context, options, *rest) -> Tensor:
        """What happens without us: the handler of another extension, or the layer itself."""
        for layer_class, handler in options["patches"][_PATCH]:
            if handler is not self and isinstance(layer, layer_class):
                return handler(layer, x, emb, context, options, *rest)
        x = layer(x, context, options)
        options["transformer_index"] += 1  # the host counts only the layers that it calls itself
        return x


def check_tokens(node: str, semantics: Semantics, token_dim: int, name: str) -> None:
    """Refuse tokens of another width than the weights were trained for.

    Raises:
        ValueError: naming both widths.
    """
    width = semantics.tokens.shape[-1]
    if width != token_dim:
        raise ValueError(
            f"{node}: 'semantics' come from the encoder {semantics.encoder} and are {width} wide; "
            f"'{name}' takes tokens {token_dim} wide. Use the encoder that these weights were trained with."
        )


def check_batch(node: str, what: str, count: int, batch: int) -> None:
    """Refuse `count` items for a latent of `batch` images, unless there is one for all or one for each.

    Raises:
        ValueError: naming both numbers.
    """
    if count not in (1, batch):
        raise ValueError(
            f"{node}: {what} holds {count} images but the latent {batch}. "
            "Connect the same photos to both, or one photo."
        )


def check_sites(node: str, unet: nn.Module, adapter: SemanticAdapter, name: str) -> None:
    """Refuse a model whose text attentions aren't where, and as wide as, the image attentions of `name`.

    Raises:
        ValueError: naming the first place that differs.
    """
    places = _text_attentions(unet)
    for site, attention in adapter.attentions.items():
        found = _describe(places[site]) if site in places else "missing"
        if found != _describe(attention):
            raise ValueError(
                f"{node}: 'model' doesn't fit '{name}': its attention at {site} is {found}; "
                f"expected {_describe(attention)}. Connect the model that '{name}' was trained on: "
                "Stable Diffusion 2 for SeeSR and SRlab."
            )


def _register(model: "comfy.model_patcher.ModelPatcher", dispatcher: Dispatcher) -> None:
    """Let the host tell the dispatcher when a run starts, steps and ends, in place of an earlier one."""
    callbacks: Mapping[str, Callable] = {
        CallbacksMP.ON_PRE_RUN: dispatcher.clear,
        CallbacksMP.ON_PREPARE_STATE: dispatcher.prepare,
        CallbacksMP.ON_CLEANUP: dispatcher.clear,
    }
    for event, callback in callbacks.items():
        model.remove_callbacks_with_key(event, KEY)
        model.add_callback_with_key(event, KEY, callback)
    model.remove_wrappers_with_key(WrappersMP.OUTER_SAMPLE, KEY)
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, dispatcher.sample)


def _text_attentions(unet: nn.Module) -> dict[str, SpatialTransformer]:
    """The transformers of a UNet by place; empty for other kinds of model."""
    sections = {
        "input": getattr(unet, "input_blocks", ()),
        "middle": (getattr(unet, "middle_block", ()),),
        "output": getattr(unet, "output_blocks", ()),
    }
    return {
        f"{section}_{number}": layer
        for section, blocks in sections.items()
        for number, block in enumerate(blocks)
        for layer in block
        if isinstance(layer, SpatialTransformer) and not isinstance(layer, SpatialVideoTransformer)
    }


def _describe(layer: SpatialTransformer) -> str:
    block = cast(BasicTransformerBlock, layer.transformer_blocks[0])
    return f"{layer.in_channels} wide with heads of {block.d_head}"
