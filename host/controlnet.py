"""Semantic ControlNet: the host's ControlNet with SeeSR's image attentions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import comfy.controlnet
import comfy.model_management
import torch
from comfy.patcher_extension import CallbacksMP
from torch import Tensor

from ..image import check_batch
from ..models import layout
from ..models.convert import fold_tokens
from ..models.semantics import Semantics
from ..sample.tiles import Tile, TilePlan
from .adapter import storage_dtype
from .attention import TokenRun, rows
from .checks import check_photo, check_range, check_sites, check_tokens
from .control_model import SemanticControlModel
from .memory_request import cached_numbers
from .naming import naming
from .tile_run import noise_level, tile_plan

NODE = "Apply Semantic ControlNet"


class SemanticControlNet(comfy.controlnet.ControlNet):
    """The host's control object with the semantics of the photo."""

    control_model: SemanticControlModel
    # The host leaves these untyped or None until a run.
    cond_hint_original: Any
    model_sampling_current: Any
    previous_controlnet: Any
    timestep_range: Any

    def __init__(self, control_model: SemanticControlModel | None, name: str, **kwargs: Any) -> None:
        super().__init__(control_model, **kwargs)
        self.name = name
        self.semantics: Semantics | None = None
        self._tokens: TokenRun | None = None
        self._embeddings: dict[tuple, Tensor] = {}

    def copy(self) -> "SemanticControlNet":
        """Return a copy with the same network and empty caches."""
        c = SemanticControlNet(
            None, self.name, load_device=self.load_device, manual_cast_dtype=self.manual_cast_dtype
        )
        c.control_model = self.control_model
        c.control_model_wrapped = self.control_model_wrapped
        c.semantics = self.semantics
        self.copy_to(c)
        return c

    def with_semantics(self, semantics: Semantics) -> "SemanticControlNet":
        """Return a copy that attends to `semantics`.

        Raises:
            ValueError: if the network was trained on tokens of another width.
        """
        check_tokens(semantics, self.control_model.image_attentions.token_dim, self.name)
        c = self.copy()
        c.semantics = semantics
        return c

    def pre_run(self, model: Any, percent_to_timestep_function: Callable[[float], float]) -> None:
        """Start a run with empty caches, which the host clears again however the run ends.

        Raises:
            ValueError: if no semantics were connected, or the model is of another architecture.
        """
        super().pre_run(model, percent_to_timestep_function)
        if self.semantics is None:
            raise ValueError(
                f"'{self.name}' is a semantic ControlNet and needs the photo's semantics. "
                f"Connect it to {NODE} instead of Apply ControlNet."
            )
        with naming(NODE):
            check_sites(model.diffusion_model, self.control_model.image_attentions, self.name)
        self.clear()
        self._tokens = TokenRun(self.semantics)
        # The host cleans up controls only after a successful run, but patchers after any run.
        patcher, key = model.current_patcher, f"ugcsr_control_{id(self)}"

        def finish(_: Any) -> None:
            patcher.remove_callbacks_with_key(CallbacksMP.ON_CLEANUP, key)
            self.clear()

        patcher.remove_callbacks_with_key(CallbacksMP.ON_CLEANUP, key)
        patcher.add_callback_with_key(CallbacksMP.ON_CLEANUP, key, finish)

    def cleanup(self) -> None:
        """Free everything that belongs to the last run."""
        self.clear()
        super().cleanup()

    def clear(self) -> None:
        """Free all caches."""
        if self._tokens is not None:
            self._tokens.clear()
        self._tokens = None
        self._embeddings.clear()

    def cache_bytes(self, cells: int | None = None, tiles: int = 1) -> float:
        """Return the bytes of embedded hints, keys and values that a run keeps in memory.

        Args:
            cells: number of latent cells in all tiles of all photos; None if the latent is sampled whole.
            tiles: number of tiles that are evaluated at once.
        """
        network, numbers = self.control_model, 0
        if cells is None and self.cond_hint_original is not None:
            images, _, height, width = self.cond_hint_original.shape
            cells = images * height * width // self.compression_ratio**2
        if cells is not None:
            numbers += network.model_channels * cells
        if self.semantics is not None:
            numbers += cached_numbers(network.image_attentions, self.semantics, tiles)
        return numbers * comfy.model_management.dtype_size(self.manual_cast_dtype or network.dtype)

    def inference_memory_requirements(self, dtype: torch.dtype) -> float:
        """Return the bytes of this control and those before it, for a latent that is sampled whole."""
        return self.cache_bytes() + super().inference_memory_requirements(dtype)

    def get_control(
        self, x_noisy: Tensor, t: Tensor, cond: Mapping, batched_number: int, transformer_options: Mapping
    ) -> dict[str, list[Tensor]] | None:
        """Return the residuals for x_noisy (chunks * tiles * B, C, h, w), added to those of earlier controls.

        Outside of its range it returns those of earlier controls, or None without any.
        """
        previous = None
        if self.previous_controlnet is not None:
            previous = self.previous_controlnet.get_control(
                x_noisy, t, cond, batched_number, transformer_options
            )
        start, end = self.timestep_range
        level = noise_level(transformer_options, t)
        if not end <= level <= start:
            return previous
        dtype = self.manual_cast_dtype or self.control_model.dtype
        context = cond.get("crossattn_controlnet", cond["c_crossattn"])
        tiles = tile_plan(transformer_options)
        plan = tiles or _whole(x_noisy, batched_number)
        run = cast(TokenRun, self._tokens)  # set by pre_run
        with naming(NODE):
            check_batch(plan.batch, semantics=run.semantics.tokens)
        run.select(tiles)
        sampling = self.model_sampling_current
        control = self.control_model.control(
            x=sampling.calculate_input(t, x_noisy).to(dtype),
            embedding=rows(self._embedding(plan, x_noisy.device, dtype), x_noisy.shape[0]),
            timesteps=sampling.timestep(t[:1]).float(),  # one for all rows, so embedded alike in any batch
            context=comfy.model_management.cast_to_device(context, x_noisy.device, dtype),
            run=run,
            model_options=transformer_options,
        )
        return self.control_merge(control, previous, output_dtype=None)

    def _embedding(self, plan: TilePlan, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return the embedded hint (tiles * B, C, h, w) under the tiles of `plan`.

        Each tile is computed once in a run.
        """
        keys = [(box, device, dtype) for box in plan.boxes]
        self._embeddings = {k: v for k, v in self._embeddings.items() if k[0][2:] == plan.boxes[0][2:]}
        if missing := [key for key in keys if key not in self._embeddings]:
            hint = self.cond_hint_original
            with naming(NODE):
                check_batch(plan.batch, hint=hint)
                _check_size(hint, plan.full, self.compression_ratio)
            cuts = torch.cat([key[0].scaled(self.compression_ratio).of(hint) for key in missing])
            embedded = self.control_model.embed(cuts.to(device, dtype)).chunk(len(missing))
            self._embeddings.update(zip(missing, embedded, strict=True))
        return torch.cat([rows(self._embeddings[key], plan.batch) for key in keys])


def load_controlnet(
    state_dict: Mapping[str, Tensor], name: str = "controlnet", dtype: torch.dtype | None = None
) -> SemanticControlNet:
    """Return a ControlNet with weights in SeeSR's layout.

    Args:
        state_dict: weights of the ControlNet.
        name: name of the file, for messages.
        dtype: dtype of the weights on the device; by default the host's choice.

    Raises:
        UnsupportedWeightsError: if the file is of another kind, or incomplete.
    """
    converted = fold_tokens(layout.converted(state_dict, "controlnet", name))
    dtype = dtype or storage_dtype(converted)
    device = comfy.model_management.get_torch_device()
    model = SemanticControlModel(converted, dtype).eval().requires_grad_(False)
    comfy.model_management.archive_model_dtypes(model)
    control = SemanticControlNet(
        model,
        name,
        compression_ratio=model.compression,
        load_device=device,
        manual_cast_dtype=comfy.model_management.unet_manual_cast(dtype, device),
    )
    model.load_state_dict(converted, assign=control.control_model_wrapped.is_dynamic())
    return control


def apply_controlnet(
    conditionings: Sequence[list],
    control: SemanticControlNet,
    hint: Tensor,
    semantics: Semantics,
    strength: float = 1.0,
    percent_range: tuple[float, float] = (0.0, 1.0),
) -> list[list]:
    """Return the conditionings with the control added, as the host's Apply ControlNet does.

    Positive and negative share control objects, so that the host can evaluate them in one batch.

    Args:
        conditionings: the host's conditionings, such as positive and negative.
        control: a control that `load_controlnet` returned.
        hint: photo at output size, (B, 3, H, W) in [0, 1].
        semantics: tokens of the photo.
        strength: factor of the residuals; with 0 the conditionings stay unchanged.
        percent_range: start and end in shares of the sampling, in [0, 1].

    Raises:
        ValueError: if control, hint and semantics don't belong together, or the range is empty.
    """
    check_range(*percent_range)
    if not isinstance(control, SemanticControlNet):
        raise ValueError(
            f"'control_net' is an ordinary {type(control).__name__}, which takes no semantics. "
            "Connect Load Semantic ControlNet, or use Apply ControlNet."
        )
    check_photo(semantics, (hint.shape[-2], hint.shape[-1]), "the 'hint' of")
    control = control.with_semantics(semantics)
    if strength == 0:
        return list(conditionings)
    applied: dict[comfy.controlnet.ControlBase | None, SemanticControlNet] = {}
    results = []
    for conditioning in conditionings:
        result = []
        for text, options in conditioning:
            previous = options.get("control")
            if previous not in applied:
                applied[previous] = control.copy().set_cond_hint(hint, strength, percent_range)
                applied[previous].set_previous_controlnet(previous)
            own = {"control": applied[previous], "control_apply_to_uncond": False}
            result.append([text, options | own])
        results.append(result)
    return results


def _whole(x: Tensor, chunks: int) -> TilePlan:
    height, width = x.shape[-2:]
    return TilePlan((Tile(0, 0, height, width),), (height, width), x.shape[0] // chunks)


def _check_size(hint: Tensor, latent: tuple[int, int], compression: int) -> None:
    """Raise if a hint hasn't the size of the picture that the latent encodes.

    Raises:
        ValueError: if the sizes differ; the message names both.
    """
    height, width = (side * compression for side in latent)
    if (height, width) != tuple(hint.shape[-2:]):
        raise ValueError(
            f"'hint' is {hint.shape[-1]}x{hint.shape[-2]} but the sampler's latent is for "
            f"{width}x{height}. Connect the hint of Prepare Photo to both VAE Encode and this node."
        )
