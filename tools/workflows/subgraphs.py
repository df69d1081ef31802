"""The subgraphs: restorations as one node, with the user's settings as inputs."""

from __future__ import annotations

from collections.abc import Mapping

from . import parts
from .graph import Graph, Json, Node

NANO_TILE = parts.settings("nano", "UGCSR_TileDiffusion")["tile_size"]


def restore_photo(definitions: Mapping[str, Json], *, masked: bool = False) -> Graph:
    """Return the bundled model's subgraph; `masked` adds an input for regions to keep."""
    inner = Graph(
        "Restore Photo, keep regions" if masked else "Restore Photo",
        definitions,
        category="Image Tools/Super-resolution",
        first=101,
        description="Makes a small, blurred or compressed photo sharp, with the bundled model: no download, "
        "no GPU needed." + (" What the mask covers stays as the photo has it." if masked else ""),
    )
    photo = inner.input("image", "IMAGE")
    mask = inner.input("mask", "MASK") if masked else None
    given = {} if masked else {"transparency": inner.input("transparency", "MASK")}
    given |= {
        "scale": inner.input("scale", "UGCSR_PrepareImage", like="scale"),
        "sharpness": inner.input("sharpness", "UGCSR_LoadNanoModel", like="sharpness"),
        "colors": inner.input("colors", "UGCSR_MatchColor", like="method"),
        "tile_size": inner.input("tile_size", "UGCSR_TileDiffusion", like="tile_size", default=NANO_TILE),
    }
    _give(inner, parts.with_nano(inner, photo, given, mask))
    return inner


def restore_with_weights(
    definitions: Mapping[str, Json], preset: str, name: str, base: str = parts.BASE, **scale: float
) -> Graph:
    """Return the published networks' subgraph with a preset; `scale` replaces the default scale."""
    inner = Graph(name, definitions, "Needs the published weights: docs/weights.md.", first=101)
    photo = inner.input("image", "IMAGE")
    own = {"default": scale["scale"]} if scale else {}
    given = {"transparency": inner.input("transparency", "MASK")}
    given["scale"] = inner.input("scale", "UGCSR_PrepareImage", like="scale", **own)
    if preset == "wild":
        given["tags"] = inner.input("tags", "UGCSR_RestorationPreset", like="tags")
    given["seed"] = inner.input("seed", "KSampler", like="seed")
    for called, node, like, file in (
        ("checkpoint", "CheckpointLoaderSimple", "ckpt_name", base),
        ("encoder", "UGCSR_LoadSAM2Encoder", "encoder_name", parts.SAM2),
        ("adapter", "UGCSR_LoadSemanticAdapter", "adapter_name", "srlab/unet"),
        ("control_net", "UGCSR_LoadSemanticControlNet", "control_net_name", "srlab/controlnet"),
    ):
        given[called] = inner.input(called, node, like=like, default=file)
    if preset == "turbo":
        finished = parts.with_turbo(inner, photo, given)
    else:
        finished = parts.with_published(inner, photo, preset, given, tagged=preset == "synthetic")
    _give(inner, finished)
    return inner


def restore_with_preset(definitions: Mapping[str, Json]) -> Graph:
    """Return the subgraph from loaded networks and an encoded photo to the result, by a preset's name."""
    inner = Graph("Restore with a preset", definitions, "One photo by one preset.", first=101)
    kinds = {
        "model": "MODEL",
        "clip": "CLIP",
        "vae": "VAE",
        "adapter": "UGCSR_ADAPTER",
        "control_net": "CONTROL_NET",
        "hint": "IMAGE",
        "frame": "UGCSR_FRAME",
        "semantics": "UGCSR_SEMANTICS",
        "latent": "LATENT",
    }
    given = {name: inner.input(name, kind) for name, kind in kinds.items()}
    given["preset"] = inner.input("preset", "UGCSR_RestorationPreset", like="preset")
    given["seed"] = inner.input("seed", "KSampler", like="seed")
    inner.output("IMAGE", parts.with_preset(inner, given)["IMAGE"])
    return inner


def _give(inner: Graph, finished: Node) -> None:
    """Add the outputs of a subgraph: the photo and the report on it."""
    for name in finished.definition["output_name"]:
        inner.output(name, finished[name])
