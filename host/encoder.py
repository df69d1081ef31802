"""SAM2's image encoder under the host's memory management."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import comfy.model_management as management
import comfy.model_patcher
import torch
from torch import Tensor

from ..models.segmenter import ImageEncoder, build_encoder
from ..models.semantics import VIEWS, Semantics
from ..sample.frame import Frame
from ..sample.tiles import Tile
from .memory import is_out_of_memory
from .ownership import cast_on_the_fly, move_bare_parameters, own
from .progress import say

NODE = "Encode Semantics"
SMALLEST = 16  # pixels, least side of a part, about a patch of the encoder; assumed

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LoadedEncoder:
    """An encoder with its patcher; `name` is the name of the network, such as "sam2.1_tiny"."""

    patcher: comfy.model_patcher.ModelPatcher
    name: str


@dataclass(frozen=True, eq=False)
class PhotoReader:
    """Encodes the parts of a small photo that the tiles of the restored photo show.

    Attributes:
        encoder: encoder of the tokens.
        photo: the small photo, (B, 3, h, w) in [0, 1].
        frame: frame of the restored photo in the sampled canvas.
    """

    encoder: LoadedEncoder
    photo: Tensor
    frame: Frame
    _cached: dict[Tile, Tensor] = field(default_factory=dict, repr=False)

    def read(self, boxes: Sequence[tuple[int, int, int, int]], full: tuple[int, int]) -> list[Tensor]:
        """Return the tokens (B, N, D) of each box of a latent of `full` (height, width) cells.

        Tokens are cached until boxes of another size are read. The encoder is loaded in the middle of a
        sampling; the models in use are loaded again after it.

        Raises:
            ValueError: if the latent isn't of the frame's canvas.
        """
        tiles = [Tile(*box) for box in boxes]
        for stale in [tile for tile in self._cached if tile[2:] != tiles[0][2:]]:
            del self._cached[stale]
        if missing := [tile for tile in tiles if tile not in self._cached]:
            # The host lists None for a deleted MODEL whose network still exists.
            in_use = [patcher for patcher in management.loaded_models(only_currently_used=True) if patcher]
            say(f"Reading what {len(missing)} tiles show")
            parts = [self.part(tile, full).of(self.photo) for tile in missing]
            self._cached.update(zip(missing, _read(self.encoder.patcher, parts), strict=True))
            management.load_models_gpu(in_use)
        return [self._cached[tile] for tile in tiles]

    def clear(self) -> None:
        """Free all cached tokens."""
        self._cached.clear()

    def part(self, tile: Tile, full: tuple[int, int]) -> Tile:
        """Return the part of the small photo, in its pixels, under a tile of a latent of `full` cells.

        Raises:
            ValueError: if the latent isn't of the frame's canvas.
        """
        cells = {side / count for side, count in zip(self.frame.canvas, full, strict=True)}
        if len(cells) > 1:
            height, width = self.frame.canvas
            raise ValueError(
                f"{NODE}: 'frame' belongs to a canvas of {width}x{height} px but the sampler's latent is "
                f"{full[1]}x{full[0]} cells. Connect 'frame' and 'hint' of the same Prepare Photo to "
                f"{NODE} and VAE Encode."
            )
        (cell,) = cells
        frame, photo = self.frame, self.photo.shape
        top, height = _span(tile.top, tile.height, cell, frame.height, photo[-2])
        left, width = _span(tile.left, tile.width, cell, frame.width, photo[-1])
        return Tile(top, left, height, width)


def load_encoder(state_dict: Mapping[str, Tensor], file: str = "the file") -> LoadedEncoder:
    """Return the encoder with these weights, in float32 as in SRlab; `file` is their name in messages.

    Raises:
        UnsupportedWeightsError: if the weights don't fit any known encoder.
    """
    module = build_encoder(state_dict, file)
    return LoadedEncoder(own(cast_on_the_fly(module)), module.name)


def encode(encoder: LoadedEncoder, image: Tensor) -> Semantics:
    """Return the semantics of photos (B, 3, H, W) in [0, 1], encoded one by one.

    The result of a photo therefore doesn't depend on its batch. If memory runs out, the host's other models
    are unloaded first; if it still doesn't suffice, the photos are encoded on the CPU.
    """
    module: ImageEncoder = encoder.patcher.model
    (tokens,) = _read(encoder.patcher, [image])
    return Semantics(tokens, module.grid, (image.shape[-2], image.shape[-1]), encoder.name)


def encode_views(encoder: LoadedEncoder, image: Tensor, view: str, frame: Frame | None) -> Semantics:
    """Return the semantics of photos (B, 3, H, W) in [0, 1] for a view of the tiles.

    Args:
        encoder: encoder of the tokens.
        image: the small photos.
        view: tokens that a tile attends to: "global", of the whole photo; "tile", of its own part; or "both".
        frame: frame of the photo; required unless the view is "global".

    Raises:
        ValueError: if the frame is missing or belongs to another photo.
    """
    say("Reading what the photo shows")
    if not VIEWS[view].tile:
        return replace(encode(encoder, image), runs=frame.runs if frame else None)
    if frame is None:
        raise ValueError(
            f"'view' {view} needs to know where tiles lie in the photo. Connect 'frame' of the "
            "Prepare Photo that this photo goes through, or set 'view' to global."
        )
    height, width = image.shape[-2:]
    semantics = encode(encoder, image)
    if not semantics.can_become((frame.height, frame.width)):
        raise ValueError(
            f"'frame' is of a photo restored to {frame.width}x{frame.height} px, to which the "
            f"'image' of {width}x{height} px can't be scaled. Connect the same photo to both nodes."
        )
    return replace(semantics, view=view, reader=PhotoReader(encoder, image, frame), runs=frame.runs)


def _span(start: int, size: int, cell: float, restored: int, length: int) -> tuple[int, int]:
    """Return (start, size) of latent cells as (start, size) in pixels of one side of the small photo.

    `restored` is the length of that side in the restored photo, `length` in the small photo.
    """
    first, last = (min(edge * cell, restored) * length / restored for edge in (start, start + size))
    first, last = math.floor(first), math.ceil(last)
    size = min(max(last - first, SMALLEST), length)
    first = min(max(first - (size - (last - first)) // 2, 0), length - size)
    return first, size


def _read(patcher: comfy.model_patcher.ModelPatcher, images: Sequence[Tensor]) -> list[Tensor]:
    """Return the tokens (B, N, D) of each image, from the device or, if it lacks memory, from the CPU.

    The encoder is loaded once for all images.
    """
    module: ImageEncoder = patcher.model
    for attempt in (
        "out of memory; trying again without the other models.",
        "out of memory again; reading on the CPU, which takes longer.",
    ):
        try:
            management.load_models_gpu([patcher], memory_required=module.activation_bytes)
            move_bare_parameters(module, patcher.load_device)
            return _read_each(module, images, patcher.load_device)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        log.warning("%s: %s", NODE, attempt)
        management.unload_all_models()
        management.soft_empty_cache()
    module = build_encoder(module.state_dict()).requires_grad_(False)
    return _read_each(module, images, torch.device("cpu"))


def _read_each(module: ImageEncoder, images: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    read = []
    for image in images:
        tokens = []
        for photo in image.split(1):
            management.throw_exception_if_processing_interrupted()
            tokens.append(module(photo.to(device, torch.float32)).to(management.intermediate_device()))
        read.append(torch.cat(tokens))
    return read
