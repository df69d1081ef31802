"""SAM2's image encoder under the host's memory management."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import comfy.model_management as management
import comfy.model_patcher
import torch
from torch import Tensor

from ..models.segmenter import ImageEncoder, build_encoder
from ..models.semantics import Semantics


@dataclass(frozen=True, eq=False)
class LoadedEncoder:
    """An encoder that the host moves between devices; `name` says which one, such as "sam2.1_tiny"."""

    patcher: comfy.model_patcher.ModelPatcher
    name: str


def load_encoder(state_dict: Mapping[str, Tensor], file: str = "the file") -> LoadedEncoder:
    """The encoder in these weights, in float32, as SRlab reads its photos."""
    module = build_encoder(state_dict, file).requires_grad_(False)
    patcher = comfy.model_patcher.CoreModelPatcher(
        module,
        load_device=management.get_torch_device(),
        offload_device=management.unet_offload_device(),
    )
    return LoadedEncoder(patcher, module.name)


def encode(encoder: LoadedEncoder, image: Tensor) -> Semantics:
    """Semantics of photos (B, 3, H, W) in [0, 1], read one by one so that a batch changes none of them."""
    patcher = encoder.patcher
    module: ImageEncoder = patcher.model
    # The layers are torch's and do not cast on the fly, so part of the weights cannot stay behind.
    management.load_models_gpu([patcher], memory_required=module.activation_bytes, force_full_load=True)
    tokens = []
    for photo in image.split(1):
        management.throw_exception_if_processing_interrupted()
        read = module(photo.to(patcher.load_device, torch.float32))
        tokens.append(read.to(management.intermediate_device()))
    height, width = image.shape[-2:]
    return Semantics(torch.cat(tokens), module.grid, (height, width), encoder.name)
