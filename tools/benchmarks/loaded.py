"""The outputs of the shipped graphs' loaders: real files if all of them are there, else random weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import comfy.model_management as management
import comfy.sd
import torch
from torch import Tensor

from ugc_sr.host import paths
from ugc_sr.host.adapter import load_adapter
from ugc_sr.host.controlnet import load_controlnet
from ugc_sr.host.encoder import load_encoder

from . import graphs, networks, parity, true_shapes

GRAPHS = {"nano": "quickstart", "sd2": "ugc_wild"}  # base of the preset -> graph
SD2_LOADERS = {  # class of node -> kind of weights
    "CheckpointLoaderSimple": "checkpoint",
    "UGCSR_LoadSAM2Encoder": "encoder",
    "UGCSR_LoadSemanticAdapter": "adapter",
    "UGCSR_LoadSemanticControlNet": "controlnet",
}
PROMPT = "CLIPTextEncode"


@dataclass(frozen=True)
class Loaded:
    """The outputs of nodes by key in the graph of a base, and the source of the weights, in a word."""

    outputs: Mapping[str, tuple[Any, ...]]
    source: str


def load(base: str, classes: Mapping[str, Any]) -> Loaded:
    """Return the models for a base of presets: "nano" or "sd2"."""
    if base == "nano":
        return _loaded(
            base, {"UGCSR_LoadNanoModel": classes["UGCSR_LoadNanoModel"].execute().result}, "bundled"
        )
    inputs = {node["class_type"]: node["inputs"] for node in graphs.shipped(GRAPHS[base]).values()}
    if not missing(inputs):
        return _loaded(base, {name: graphs.call(classes[name], inputs[name]) for name in SD2_LOADERS}, "real")
    shapes = true_shapes.shapes()
    stem = "first_stage_model."
    vae = {key.removeprefix(stem): w for key, w in shapes["checkpoint"].items() if key.startswith(stem)}
    unet, controlnet, encoder = (
        true_shapes.filled(shapes[name]) for name in ("adapter", "controlnet", "sam2")
    )
    return random_sd2(unet, controlnet, encoder, true_shapes.filled(vae))


def random_sd2(
    unet: Mapping[str, Tensor],
    controlnet: Mapping[str, Tensor],
    encoder: Mapping[str, Tensor],
    vae: Mapping[str, Tensor],
    text_dim: int = networks.TEXT_DIM,
) -> Loaded:
    """Return models with these weights and a random prompt, in half precision where the host chooses that."""
    half = management.should_use_fp16(management.get_torch_device())
    prompt = torch.randn(1, networks.TEXT_TOKENS, text_dim, generator=torch.Generator().manual_seed(0))
    base = parity.base_model(dict(unet), torch.float16 if half else torch.float32)
    outputs = {
        "CheckpointLoaderSimple": (base, None, comfy.sd.VAE(sd=dict(vae))),
        "UGCSR_LoadSAM2Encoder": (load_encoder(encoder, "random"),),
        "UGCSR_LoadSemanticAdapter": (load_adapter(dict(unet), "random"),),
        "UGCSR_LoadSemanticControlNet": (load_controlnet(dict(controlnet), "random"),),
        PROMPT: ([[prompt, {}]],),
    }
    return _loaded("sd2", outputs, "random")


def _loaded(base: str, outputs: Mapping[str, tuple[Any, ...]], source: str) -> Loaded:
    """Return the outputs by key in the graph of a base, from those by class of node."""
    kinds = {key: node["class_type"] for key, node in graphs.shipped(GRAPHS[base]).items()}
    return Loaded({key: outputs[kind] for key, kind in kinds.items() if kind in outputs}, source)


def missing(inputs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the kinds of weights that are missing: those of the loaders' inputs, by class of node."""
    import folder_paths

    names = {kind: next(iter(inputs[name].values())) for name, kind in SD2_LOADERS.items()}
    checkpoint = folder_paths.get_full_path("checkpoints", names.pop("checkpoint"))
    others = [kind for kind, name in names.items() if paths.problem(kind, name)]
    return others if checkpoint else ["checkpoint", *others]
