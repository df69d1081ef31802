"""Semantic guidance: the adapter's image attentions in the host's UNet."""

import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import comfy.model_patcher
import torch
from comfy.ldm.modules.attention import SpatialTransformer
from comfy.model_sampling import V_PREDICTION
from comfy.patcher_extension import CallbacksMP, WrapperExecutor, WrappersMP
from torch import Tensor

from ..image import check_batch
from ..models.semantics import Semantics
from .adapter import LoadedAdapter, SemanticAdapter
from .attention import TokenRun
from .checks import check_photo, check_range, check_sites, check_tokens
from .clone import clone, replace_wrapper
from .memory_request import cached_numbers, computing_size, reserve
from .naming import naming
from .run_records import record_run
from .tile_run import noise_level, tile_plan, tile_run

NODE = "Apply Semantic Guidance"
KEY = "ugcsr_semantics"
RUN_KEY = "ugcsr_semantics_run"  # key of the GuidanceRun in transformer_options
_PATCH = "forward_timestep_embed_patch"


@dataclass(frozen=True, eq=False)
class Guidance:
    """One adapter applied to the semantics of a photo.

    Attributes:
        adapter: image attentions.
        adapter_id: the host's id of the adapter, the same for its copies on other devices.
        semantics: tokens of the photo.
        strength: factor of the attentions' change.
        start: share of the sampling at which it begins to act, in [0, 1].
        end: share of the sampling at which it ends.
    """

    adapter: SemanticAdapter
    adapter_id: uuid.UUID
    semantics: Semantics
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
    """Return a clone of MODEL that attends to `semantics`; several guidances can be applied to one MODEL.

    Args:
        model: the MODEL, which stays unchanged.
        adapter: image attentions.
        semantics: tokens of the photo.
        strength: factor of the attentions' change; with 0 `model` itself is returned.
        start_percent: share of the sampling at which the guidance begins, in [0, 1].
        end_percent: share of the sampling at which it ends, in [0, 1].

    Raises:
        ValueError: if adapter, semantics and model don't belong together, or the range is empty.
    """
    check_range(start_percent, end_percent)
    check_tokens(semantics, adapter.token_dim, adapter.name)
    check_sites(model.get_model_object("diffusion_model"), adapter.patcher.model, adapter.name)
    if strength == 0:
        return model
    if isinstance(model.get_model_object("model_sampling"), V_PREDICTION):
        logging.warning(
            "%s: 'model' predicts v. SeeSR and SRlab were trained on Stable Diffusion 2-base (512 px), which "
            "predicts noise; expect wrong colours with 2-768 models.",
            NODE,
        )
    model = clone(model)
    entry = Guidance(
        adapter.patcher.model,
        adapter.patcher.clone_base_uuid,
        semantics,
        strength,
        start_percent,
        end_percent,
    )
    dispatcher = Dispatcher((*guidances_of(model), entry))
    handlers = model.model_options["transformer_options"].setdefault("patches", {}).setdefault(_PATCH, [])
    foreign = [pair for pair in handlers if not isinstance(pair[1], Dispatcher)]
    handlers[:] = [(SpatialTransformer, dispatcher), *foreign]
    _register(model, dispatcher)
    patchers = model.get_additional_models_with_key(KEY)
    if all(patcher.model is not adapter.patcher.model for patcher in patchers):
        model.set_additional_models(KEY, [*patchers, adapter.patcher])
    return model


def guidances_of(model: "comfy.model_patcher.ModelPatcher") -> tuple[Guidance, ...]:
    """Return the guidances of a MODEL, in the order in which they were applied."""
    dispatcher = _dispatcher(model.model_options["transformer_options"])
    return dispatcher.entries if dispatcher else ()


class GuidanceRun:
    """State of the guidances of one MODEL in one run.

    Attributes:
        tokens: one TokenRun for each guidance.
        active: for each guidance, True if it acts at the present noise level.
    """

    def __init__(self, entries: tuple[Guidance, ...]) -> None:
        self.tokens = tuple(TokenRun(entry.semantics) for entry in entries)
        self.active = (True,) * len(entries)
        self._adapters: dict[tuple[torch.device, uuid.UUID], SemanticAdapter] = {}

    def find_adapters(self, patchers: Mapping[torch.device, Any]) -> None:
        """Store the copy of each adapter on each device."""
        for device, patcher in patchers.items():
            for adapter in patcher.get_additional_models_with_key(KEY):
                self._adapters[device, adapter.clone_base_uuid] = adapter.model

    def adapter(self, entry: Guidance, device: torch.device) -> SemanticAdapter:
        """Return the copy of a guidance's adapter on `device`."""
        return self._adapters.get((device, entry.adapter_id), entry.adapter)

    def clear(self) -> None:
        """Free all caches."""
        for run in self.tokens:
            run.clear()


@dataclass(frozen=True, eq=False)
class Dispatcher:
    """Handler that applies every guidance of one MODEL after each text attention.

    A MODEL has at most one. Clones of the MODEL share it, so it never changes; the state of a run is in its
    GuidanceRun.
    """

    entries: tuple[Guidance, ...]

    def sample(self, execute: WrapperExecutor, noise: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return the result of a whole run; wraps OUTER_SAMPLE.

        Tokens of other photos are refused before any model is loaded.
        """
        guider: Any = execute.class_obj
        cell = guider.model_patcher.get_model_object("latent_format").spacial_downscale_ratio
        height, width = (side * cell for side in noise.shape[-2:])
        with naming(NODE):
            for entry in self.entries:
                check_batch(noise.shape[0], semantics=entry.semantics.tokens)
                check_photo(entry.semantics, (height, width), "the sampler's latent, which is for")
        options = guider.model_options.setdefault("transformer_options", {})
        options[RUN_KEY] = run = GuidanceRun(self.entries)
        begun = time.perf_counter()
        try:
            sampled = execute(noise, *args, **kwargs)
        finally:
            del options[RUN_KEY]
            run.clear()
        for runs in (entry.semantics.runs for entry in self.entries):
            if runs is not None:
                record_run(runs, options, time.perf_counter() - begun)
        return sampled

    def prepare_sampling(
        self,
        execute: WrapperExecutor,
        model: Any,
        shape: Any,
        conds: dict,
        model_options: Any = None,
        **how: Any,
    ) -> Any:
        """Return what the host prepares for a run, with memory reserved for the guidances' caches.

        The host asks only controls for their memory, so the request is added as a control.
        """
        options = (model_options or {}).get("transformer_options", {})

        def bytes_needed() -> float:
            tiles = tile_run(options)
            return guidance_bytes(model, self.entries, tiles.at_once if tiles else 1)

        real_model, _, models = execute(
            model, shape, reserve(conds, KEY, bytes_needed), model_options=model_options, **how
        )
        return real_model, conds, models

    def prepare(self, patcher: "comfy.model_patcher.ModelPatcher", sigma: Tensor, options: dict) -> None:
        """Select the active guidances and their tokens, before each evaluation and outside of the network."""
        transformer_options = options.get("transformer_options", {})
        run: GuidanceRun | None = transformer_options.get(RUN_KEY)
        if run is None:
            return
        run.find_adapters(options.get("multigpu_clones", {patcher.load_device: patcher}))
        level = noise_level(transformer_options, sigma)
        sampling: Any = patcher.get_model_object("model_sampling")
        run.active = tuple(
            sampling.percent_to_sigma(entry.end) <= level <= sampling.percent_to_sigma(entry.start)
            for entry in self.entries
        )
        for tokens, active in zip(run.tokens, run.active, strict=True):
            if active:
                tokens.select(tile_plan(transformer_options))

    @torch.compiler.disable
    def __call__(
        self, layer: SpatialTransformer, x: Tensor, emb: Tensor, context: Tensor, options: dict, *rest: Any
    ) -> Tensor:
        """Return x after `layer` and the active guidances; called by the host in place of `layer`.

        It is not compiled, and reads the guidances from the present options: ComfyUI compiles models without
        guards for `transformer_options`, so a compiled network would continue with the tokens, strength and
        range of the run in which it was compiled, and may call the dispatcher of that run.
        """
        x = _text_attention(layer, x, emb, context, options, *rest)
        present = _dispatcher(options)
        if present is None:
            return x
        run: GuidanceRun = options.get(RUN_KEY) or GuidanceRun(present.entries)
        site = "{}_{}".format(*options["block"])
        for entry, tokens, active in zip(present.entries, run.tokens, run.active, strict=True):
            if active and site in entry.adapter:
                y = run.adapter(entry, x.device).attentions[site].attend(x, tokens, options)
                x = y if entry.strength == 1 else x + entry.strength * (y - x)
        return x


def guidance_bytes(model: Any, entries: tuple[Guidance, ...], at_once: int) -> float:
    """Return the bytes that guidances keep in memory during a run.

    Args:
        model: the MODEL.
        entries: its guidances.
        at_once: number of tiles that are evaluated together.
    """
    numbers = sum(cached_numbers(entry.adapter, entry.semantics, at_once) for entry in entries)
    return numbers * computing_size(model.model)


def _dispatcher(transformer_options: Mapping) -> "Dispatcher | None":
    handlers = transformer_options.get("patches", {}).get(_PATCH, ())
    return next((handler for _, handler in handlers if isinstance(handler, Dispatcher)), None)


def _text_attention(
    layer: SpatialTransformer, x: Tensor, emb: Tensor, context: Tensor, options: dict, *rest: Any
) -> Tensor:
    """Return x after the handler of another extension if there is one, or else after the layer."""
    for layer_class, handler in options.get("patches", {}).get(_PATCH, ()):
        if not isinstance(handler, Dispatcher) and isinstance(layer, layer_class):
            return handler(layer, x, emb, context, options, *rest)
    x = layer(x, context, options)
    options["transformer_index"] += 1  # the host counts only layers that it calls itself
    return x


def _register(model: "comfy.model_patcher.ModelPatcher", dispatcher: Dispatcher) -> None:
    """Register the dispatcher's callback and wrappers on the MODEL, in place of those of an earlier one."""
    model.remove_callbacks_with_key(CallbacksMP.ON_PREPARE_STATE, KEY)
    model.add_callback_with_key(CallbacksMP.ON_PREPARE_STATE, KEY, dispatcher.prepare)
    replace_wrapper(model, WrappersMP.OUTER_SAMPLE, KEY, dispatcher.sample)
    replace_wrapper(model, WrappersMP.PREPARE_SAMPLING, KEY, dispatcher.prepare_sampling)
