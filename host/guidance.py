"""Semantic guidance: the adapter's image attentions inside the host's UNet."""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import comfy.controlnet
import comfy.model_management
import comfy.model_patcher
import torch
from comfy.ldm.modules.attention import SpatialTransformer
from comfy.model_sampling import V_PREDICTION
from comfy.patcher_extension import CallbacksMP, WrapperExecutor, WrappersMP
from torch import Tensor

from ..models.semantics import Semantics
from .adapter import LoadedAdapter, SemanticAdapter
from .attention import TokenRun
from .clone import clone
from .fit import check_batch, check_photo, check_range, check_sites, check_tokens

NODE = "Apply Semantic Guidance"
KEY = "ugcsr_semantics"
_PATCH = "forward_timestep_embed_patch"


@dataclass(frozen=True, eq=False)
class Guidance:
    """One adapter with a photo's semantics, acting with `strength` from `start` to `end` of the sampling.

    After the share `freeze` of the sampling its attentions to tokens repeat what they answered then.
    """

    adapter: SemanticAdapter
    semantics: Semantics
    strength: float
    start: float
    end: float
    freeze: float


def apply_guidance(
    model: "comfy.model_patcher.ModelPatcher",
    adapter: LoadedAdapter,
    semantics: Semantics,
    strength: float = 1.0,
    start_percent: float = 0.0,
    end_percent: float = 1.0,
    freeze_after: float = 1.0,
) -> "comfy.model_patcher.ModelPatcher":
    """A MODEL that also attends to `semantics`; `model` stays as it is. Guidances add up.

    After the share `freeze_after` of the sampling the cross-attentions to tokens repeat their answers
    instead of computing them, as T-GATE does with those to text (arXiv 2404.02747).

    Raises:
        ValueError: if adapter, semantics and model don't belong together, or the range is empty.
    """
    check_range(NODE, start_percent, end_percent)
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
    model = clone(model)
    entry = Guidance(adapter.patcher.model, semantics, strength, start_percent, end_percent, freeze_after)
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
        self.runs = tuple(TokenRun(entry.semantics) for entry in entries)
        self._active = (True,) * len(entries)

    def prepare(self, patcher: "comfy.model_patcher.ModelPatcher", sigma: Tensor, options: dict) -> None:
        """Before each evaluation and outside of the network: find out which guidances act, and on what."""
        level = float(sigma.max())
        plan = options.get("transformer_options", {}).get("ugcsr_tile")
        sampling: Any = patcher.get_model_object("model_sampling")
        self._active = tuple(
            sampling.percent_to_sigma(entry.end) <= level <= sampling.percent_to_sigma(entry.start)
            for entry in self.entries
        )
        for entry, run, active in zip(self.entries, self.runs, self._active, strict=True):
            run.freeze(level <= sampling.percent_to_sigma(entry.freeze))
            if active:
                run.look(plan)

    def sample(self, run: WrapperExecutor, noise: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Around a whole run: refuse tokens of other photos before anything is loaded."""
        guider: Any = run.class_obj
        cell = guider.model_patcher.get_model_object("latent_format").spacial_downscale_ratio
        height, width = (side * cell for side in noise.shape[-2:])
        for entry in self.entries:
            check_batch(NODE, "'semantics'", entry.semantics.tokens.shape[0], noise.shape[0])
            check_photo(NODE, entry.semantics, (height, width), "the sampler's latent, which is for")
        return run(noise, *args, **kwargs)

    def prepare_sampling(
        self, run: WrapperExecutor, model: Any, shape: Any, conds: dict, model_options: Any = None, **how: Any
    ) -> Any:
        """Let the host keep room for keys and values, which it asks for from controls only."""
        tokens = {KEY: [{"control": _Room(self.entries, model_options or {})}]}
        real_model, _, models = run(model, shape, conds | tokens, model_options=model_options, **how)
        return real_model, conds, models

    def clear(self, _: Any = None) -> None:
        """Free what was computed from the tokens."""
        for run in self.runs:
            run.clear()

    def __call__(
        self, layer: SpatialTransformer, x: Tensor, emb: Tensor, context: Tensor, options: dict, *rest: Any
    ) -> Tensor:
        """Stand in for `layer` in the host's loop over a block."""
        x = self._text_attention(layer, x, emb, context, options, *rest)
        site = "{}_{}".format(*options["block"])
        for entry, run, active in zip(self.entries, self.runs, self._active, strict=True):
            if active and site in entry.adapter:
                y = entry.adapter.attentions[site].attend(x, run, options)
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


class _Room(comfy.controlnet.ControlBase):
    """Controls nothing; says how much memory the keys and values of guidances take."""

    def __init__(self, entries: tuple[Guidance, ...], model_options: Mapping) -> None:
        super().__init__()
        self.entries = entries
        self.model_options = model_options

    def get_models(self) -> list:
        """None: the adapters are attached to the MODEL."""
        return []

    def deepclone_multigpu(self, load_device: torch.device, autoregister: bool = False) -> "_Room":
        """The same for every device."""
        if autoregister:
            self.multigpu_clones[load_device] = self
        return self

    def inference_memory_requirements(self, dtype: torch.dtype) -> float:
        """Bytes, for as many tiles at once as Tile Diffusion has set by the time that the host asks."""
        tiles = self.model_options.get("transformer_options", {}).get("ugcsr_tile_run")
        values = sum(
            kept_values(entry.adapter, entry.semantics, getattr(tiles, "batch", 1)) for entry in self.entries
        )
        return values * comfy.model_management.dtype_size(dtype)


def kept_values(adapter: SemanticAdapter, semantics: Semantics, tiles: int) -> int:
    """How many numbers the keys and values of `semantics` are, with so many tiles at once where read."""
    width = sum(len(a.transformer_blocks) * a.in_channels for a in adapter.attentions.values())
    views = {"global": 1, "tile": tiles, "both": 1 + tiles}[semantics.view]
    return 2 * views * math.prod(semantics.tokens.shape[:2]) * width


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
    wrappers: Mapping[str, Callable] = {
        WrappersMP.OUTER_SAMPLE: dispatcher.sample,
        WrappersMP.PREPARE_SAMPLING: dispatcher.prepare_sampling,
    }
    for kind, wrapper in wrappers.items():
        model.remove_wrappers_with_key(kind, KEY)
        model.add_wrapper_with_key(kind, KEY, wrapper)
