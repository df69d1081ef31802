"""Memory use of a restoration by the host's own estimates, and the tile sizes that fit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import comfy.model_management as management
import torch
from torch import Tensor

from ..models.semantics import VIEWS, Semantics
from ..sample.tile_layout import (
    GIB,
    NANO,
    SD2,
    VAE_DEFAULT,
    Layout,
    Memory,
    Plan,
    Stage,
    Suited,
    at_once,
    fixed,
    largest_square,
    lay_out,
    readable_bytes,
)
from .checks import check_tokens
from .controlnet import SemanticControlNet
from .encoder import LoadedEncoder
from .guidance import Guidance, guidance_bytes, guidances_of
from .nano import ResidualModel
from .tiling import latent_ratio

SPARE = 1.5  # the host computes both halves of CFG at once only if 1.5 times the memory is free


def plan_restoration(
    model: Any,
    hint: Tensor,
    vae: Any = None,
    control_net: Any = None,
    encoder: LoadedEncoder | None = None,
    tile_size: int = 0,
    memory_gib: float = 0.0,
) -> Plan:
    """Return tile sizes for a photo and the memory use of each stage of its restoration.

    Args:
        model: the MODEL to sample, with its guidances.
        hint: (B, 3, H, W), the photo on the canvas of Prepare Photo.
        vae: VAE; adds the stages Encode and Decode.
        control_net: ControlNet; counted with the diffusion.
        encoder: encoder; adds the stage Semantics.
        tile_size: side of a tile in pixels; 0 chooses it automatically.
        memory_gib: memory for weights and activations in GiB; 0 takes what is free after unloading other
            models.

    Raises:
        ValueError: if a part isn't for photos, or the parts don't fit together.
    """
    diffusion = _diffusion(model, hint, control_net, encoder)
    _check_vae(vae, model)
    others = [owner.patcher for owner in (encoder, vae) if owner is not None]
    budget = _Budget([*diffusion.patchers, *others], memory_gib * GIB)
    height, width = diffusion.canvas

    room = budget.room(model.load_device, diffusion.patchers)
    layout = (
        fixed(height, width, tile_size, diffusion.suited)
        if tile_size
        else lay_out(height, width, diffusion.suited, lambda tile: diffusion.least(tile) <= room)
    )
    batch = at_once(layout.count, lambda tiles: diffusion.ample(layout.tile, tiles) <= room)
    stages = [_diffusion_stage(diffusion, layout, batch, budget)]
    if encoder is not None:
        stages.insert(0, _semantics_stage(encoder, diffusion, layout, budget))
    vae_tile = VAE_DEFAULT
    if vae is not None:
        vae_tile, encode, decode = _vae_stages(vae, diffusion.canvas, budget)
        stages = [encode, *stages, decode]
    return Plan((hint.shape[0], height, width), layout, batch, vae_tile, tuple(stages))


@dataclass(frozen=True, eq=False)
class _Budget:
    """Memory and weights by device.

    Attributes:
        patchers: patchers of all models in the graph.
        given: memory in bytes; 0 measures it.
    """

    patchers: Sequence[Any]
    given: float
    _measured: dict[torch.device, float] = field(default_factory=dict)

    def memory(self, device: torch.device) -> Memory:
        """Return the memory of a device that is free or can be freed by unloading models."""
        if not self.given and device not in self._measured:
            self._measured[device] = self._measure(device)
        size = self.given or self._measured[device]
        return Memory(size, offloads=not management.is_device_cpu(device))

    def weights(self, device: torch.device, own: Sequence[Any]) -> float:
        """Return the bytes of weights on the device during a stage.

        On the CPU the weights of the other stages stay in memory too.
        """
        return sum(p.model_size() for p in (self.patchers if management.is_device_cpu(device) else own))

    def room(self, device: torch.device, own: Sequence[Any]) -> float:
        """Return the bytes for the activations of a stage."""
        return self.memory(device).beside(self.weights(device, own))

    def stage(self, name: str, does: str, work: float, device: torch.device, own: Sequence[Any]) -> Stage:
        """Return a stage on a device; `own` are the patchers of its models."""
        return Stage(name, does, self.weights(device, own), work, self.memory(device))

    def _measure(self, device: torch.device) -> float:
        free: Any = management.get_free_memory(device)
        if management.is_device_cpu(device):
            return free + self.weights(device, ())
        loaded = filter(None, management.loaded_models())  # None is a deleted MODEL
        return free + sum(patcher.loaded_size() for patcher in loaded if patcher.load_device == device)


@dataclass(frozen=True, eq=False)
class _Diffusion:
    """The sampled networks, and their memory use by size and number of tiles."""

    model: Any
    control: Any  # a control, or None
    guidances: tuple[Guidance, ...]
    photos: int
    cells: tuple[int, int]

    @property
    def suited(self) -> Suited:
        """Tile sizes that suit the model."""
        return NANO if isinstance(self.model.model, ResidualModel) else SD2

    @property
    def ratio(self) -> int:
        """Side of a latent cell, in pixels."""
        return latent_ratio(self.model)

    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width of the canvas, in pixels."""
        height, width = (side * self.ratio for side in self.cells)
        return height, width

    @property
    def patchers(self) -> list[Any]:
        """Patchers of the models that are on the device at once."""
        controls = [] if self.control is None else self.control.get_models()
        return [self.model, *self.model.get_nested_additional_models(), *controls]

    def least(self, tile: int) -> float:
        """Return the bytes for one tile and one half of CFG, the least with which the host can compute."""
        return self._work(tile, 1, halves=1) + self._kept(tile, 1)

    def ample(self, tile: int, count: int) -> float:
        """Return the bytes with which the host computes `count` tiles and both halves of CFG at once."""
        return SPARE * self._work(tile, count, halves=2) + self._kept(tile, count)

    def _work(self, tile: int, count: int, halves: int) -> float:
        height, width = (min(tile // self.ratio, side) for side in self.cells)
        channels = self.model.get_model_object("latent_format").latent_channels
        return self.model.model.memory_required([halves * count * self.photos, channels, height, width])

    def _kept(self, tile: int, at_once: int) -> float:
        """Return the bytes of keys, values and embedded hints that a run keeps."""
        kept = guidance_bytes(self.model, self.guidances, at_once)
        if isinstance(self.control, SemanticControlNet):
            layout = fixed(*self.canvas, tile, self.suited)
            height, width = (min(tile // self.ratio, side) for side in self.cells)
            cells = self.photos * layout.count * height * width
            return kept + self.control.cache_bytes(cells, at_once)
        size = self.model.model_dtype()
        return kept + (0 if self.control is None else self.control.inference_memory_requirements(size))


def _diffusion(model: Any, hint: Tensor, control: Any, encoder: LoadedEncoder | None) -> _Diffusion:
    """Return the networks with the control set up for the photo.

    Raises:
        ValueError: if the model isn't for images, the hint is smaller than a cell, or tokens have another
            width.
    """
    latent = model.get_model_object("latent_format")
    if latent.latent_dimensions != 2:
        raise ValueError(
            f"'model' makes latents of {latent.latent_dimensions} dimensions; expected 2, of images. "
            "Connect the model that goes into Tile Diffusion."
        )
    height, width = (side // latent.spacial_downscale_ratio for side in hint.shape[-2:])
    if not height * width:
        raise ValueError(
            f"'hint' is {hint.shape[-1]}x{hint.shape[-2]} px, smaller than a latent cell of 'model', "
            f"{latent.spacial_downscale_ratio} px. Connect the hint of Prepare Photo, not the photo."
        )
    guidances = guidances_of(model)
    if isinstance(control, SemanticControlNet):
        control = control.copy().set_cond_hint(hint)
        semantics = guidances[0].semantics if guidances else _unread(encoder, hint)
        if semantics is not None:
            check_tokens(semantics, control.control_model.image_attentions.token_dim, control.name)
            control = control.with_semantics(semantics)
    return _Diffusion(model, control, guidances, hint.shape[0], (height, width))


def _unread(encoder: LoadedEncoder | None, hint: Tensor) -> Semantics | None:
    """Return placeholder semantics of the right shape, without content; None without an encoder."""
    if encoder is None:
        return None
    module: Any = encoder.patcher.model
    rows, columns = module.grid
    tokens = torch.zeros(1).expand(hint.shape[0], rows * columns, module.token_dim)
    return Semantics(tokens, module.grid, (hint.shape[-2], hint.shape[-1]), encoder.name)


def _diffusion_stage(diffusion: _Diffusion, layout: Layout, batch: int, budget: _Budget) -> Stage:
    height, width = (min(layout.tile, side) for side in diffusion.canvas)
    count = layout.count * diffusion.photos
    tiles = f"{layout.rows} x {layout.columns} tiles of {width}x{height} px, {batch} at once"
    room = budget.room(diffusion.model.load_device, diffusion.patchers)
    ample = diffusion.ample(layout.tile, batch)
    return budget.stage(
        "Diffusion",
        f"{tiles if layout.count > 1 else 'whole'}; a step is {2 * count} forwards, {count} with cfg 1",
        ample if ample <= room else diffusion.least(layout.tile),
        diffusion.model.load_device,
        diffusion.patchers,
    )


def _semantics_stage(encoder: LoadedEncoder, diffusion: _Diffusion, layout: Layout, budget: _Budget) -> Stage:
    module: Any = encoder.patcher.model
    views = [VIEWS[entry.semantics.view] for entry in diffusion.guidances]
    reads_tiles = layout.count > 1 and any(view.tile for view in views)
    readings = diffusion.photos * (1 + reads_tiles * layout.count)
    side = module.image_size
    return budget.stage(
        "Semantics",
        f"{readings} x {side}x{side} px",
        module.activation_bytes,
        encoder.patcher.load_device,
        [encoder.patcher],
    )


def _vae_stages(vae: Any, canvas: tuple[int, int], budget: _Budget) -> tuple[int, Stage, Stage]:
    """Return the side of a VAE tile that fits both stages, and the stages Encode and Decode.

    The host encodes and decodes one photo after the other.
    """
    channels, ratio = vae.latent_channels, vae.spacial_compression_decode()
    room = budget.room(vae.device, [vae.patcher])

    def encoding(height: int, width: int) -> float:
        return vae.memory_used_encode((1, 3, height, width), vae.vae_dtype)

    def decoding(height: int, width: int) -> float:
        return vae.memory_used_decode((1, channels, height // ratio, width // ratio), vae.vae_dtype)

    tile = largest_square(*canvas, lambda side: max(encoding(side, side), decoding(side, side)) <= room)

    def stage(name: str, need: Callable[[int, int], float]) -> Stage:
        does, work = "whole", need(*canvas)
        if work > room:
            whole, work = readable_bytes(work), need(tile, tile)
            does = f"in tiles of {tile} px by VAE {name} (Tiled), since the whole would take {whole}"
        return budget.stage(name, does, work, vae.device, [vae.patcher])

    return tile, stage("Encode", encoding), stage("Decode", decoding)


def _check_vae(vae: Any, model: Any) -> None:
    """Raise if the model can't sample the latents of the VAE.

    Raises:
        ValueError: if their latents differ; the message names both.
    """
    if vae is None:
        return
    latent = model.get_model_object("latent_format")
    takes = (latent.latent_channels, latent.spacial_downscale_ratio)
    makes = (vae.latent_channels, vae.spacial_compression_encode())
    if vae.latent_dim != 2 or makes != takes:
        raise ValueError(
            f"'vae' makes latents of {makes[0]} channels and {makes[1]} px a cell; 'model' takes "
            f"{takes[0]} channels and {takes[1]} px. Connect the VAE that belongs to 'model'."
        )
