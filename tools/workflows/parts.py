"""The restorations used by the workflows; each is described once, for use in a graph or a subgraph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...models.catalogue import UNKNOWN, WEIGHTS
from ...sample.presets import load
from .graph import Graph, Json, Node, Socket

Parts = Mapping[str, Socket] | Node  # name -> socket

BASE = "512-base-ema.safetensors"
TURBO = "sd_turbo.safetensors"
SAM2 = "sam2.1_hiera_tiny.safetensors"
CLIP_VISION = "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors"
PREVIEW_PX = 240

# Node -> its input -> the output of Restoration Preset that sets it.
WIRES = {
    "KSampler": {name: name for name in ("steps", "cfg", "sampler_name", "scheduler", "denoise")},
    "UGCSR_ApplySemanticGuidance": {
        "strength": "guidance_strength",
        "start_percent": "guidance_start",
        "end_percent": "guidance_end",
    },
    "UGCSR_ApplySemanticControlNet": {
        "strength": "control_strength",
        "start_percent": "control_start",
        "end_percent": "control_end",
    },
    "UGCSR_MatchColor": {"method": "color_method"},
}

# The text of each group of a restoration.
SAYS = {
    "Model": "The bundled model comes whole: network, photo codec, and the parts that read the photo.",
    "Enlarge and read": "The photo is enlarged to its final size; what it shows is read from the small one.",
    "Guide": "What was read guides the model, and the enlarged photo holds it to its structure.",
    "Sample": "The model works on the encoded photo, tile by tile where it is large.",
    "Colour and size": "The picture is decoded, gets the photo's colours back, and is cut to its exact size.",
}

# The distance of a group from the top, and the order of its nodes if it isn't that of their ids. These
# values give the fewest crossing links.
DOWN = {"Model": 300, "Enlarge and read": 500}
ORDER = {
    "Enlarge and read": ("VAEEncode", "UGCSR_EncodeSemantics", "UGCSR_PrepareImage"),
    "Colour and size": ("UGCSR_MatchColor", "VAEDecode", "UGCSR_BlendRegions", "UGCSR_FinishImage"),
}


def settings(preset: str, node: str) -> Json:
    """Return a preset's values for the inputs of a node."""
    keys = ((key.split("."), value) for key, value in load(preset).values.items())
    return {name: value for (owner, name), value in keys if owner == node}


def with_nano(graph: Graph, photo: Socket, given: Json, mask: Socket | None = None) -> Node:
    """Add a restoration by the bundled model with its preset; white areas of the mask are kept.

    Args:
        graph: the graph to add the nodes to.
        photo: the photo's socket.
        given: scale, sharpness, colors and tile_size, as values or inputs of the subgraph; transparency.
        mask: mask of the regions to keep.

    Returns:
        The node Finish Photo.
    """
    set_by = {node: settings("nano", node) for node in WIRES}
    _group(graph, "Model")
    nano = graph.add("UGCSR_LoadNanoModel", sharpness=given["sharpness"])
    _group(graph, "Enlarge and read")
    prepared = _prepare(graph, photo, given)
    semantics = _read(graph, nano["encoder"], photo, prepared)
    _group(graph, "Guide")
    prompts = [nano["conditioning"]] * 2
    guided, controlled = _guide(graph, nano, nano["model"], prompts, prepared, semantics, set_by)
    _group(graph, "Sample")
    tiles = settings("nano", "UGCSR_TileDiffusion") | {"tile_size": given["tile_size"]}
    model = graph.add("UGCSR_TileDiffusion", model=guided, **tiles)["MODEL"]
    _group(graph, "Enlarge and read")
    latent = graph.add("VAEEncode", pixels=prepared["hint"], vae=nano["vae"])["LATENT"]
    _group(graph, "Sample")
    region: Json = {"mask": mask, "frame": prepared["frame"]} if mask else {}
    if mask:
        model = graph.add("UGCSR_WeighRegions", model=model, latent=latent, **region)["MODEL"]
    sampled = _sample(graph, model, controlled, latent, set_by)
    _group(graph, "Colour and size")
    finished = _finish(graph, sampled, nano["vae"], prepared, region, method=given["colors"])
    for title, types in ORDER.items():
        graph.columns[title].nodes.sort(key=lambda node: types.index(node.type))
    return finished


def with_published(graph: Graph, photo: Socket, preset: str, given: Json, *, tagged: bool = False) -> Node:
    """Add a restoration by the published networks with one preset; return the node Finish Photo.

    Args:
        graph: the graph to add the nodes to.
        photo: the photo's socket.
        preset: name of the preset.
        given: scale, seed and names of weights, as values or inputs of the subgraph; tags where not tagged;
            transparency.
        tagged: True to find tags for the photo by CLIP.
    """
    graph.column("Weights")
    weights = load_weights(graph, given)
    graph.column("Enlarge, read, choose", 360)
    prepared, semantics, latent = enlarge_and_read(graph, weights, photo, given)
    words = given.get("tags", "")
    if tagged:
        graph.column("Words")
        model = named_model(CLIP_VISION, "model.safetensors")
        vision = graph.add("CLIPVisionLoader", clip_name=CLIP_VISION, models=[model])
        tags = graph.add("UGCSR_EncodeTags", clip=weights["clip"])["tags"]
        found = graph.add("UGCSR_TagPhoto", clip_vision=vision["CLIP_VISION"], tags=tags, image=photo)
        words = found["tags"]
        graph.column("Enlarge, read, choose")
    chosen = graph.add(
        "UGCSR_RestorationPreset", model=weights["model"], latent=latent, preset=preset, tags=words
    )
    graph.column("Prompt and guidance", 340)
    prompts = _prompts(graph, weights["clip"], chosen["positive"], chosen["negative"])
    set_by = _wires(chosen)
    guided, controlled = _guide(graph, weights, chosen["model"], prompts, prepared, semantics, set_by)
    graph.column("Plan and sample", 360)
    networks: Json = {part: weights[part] for part in ("vae", "control_net", "encoder")}
    plan = graph.add(
        "UGCSR_PlanRestoration", picture=PREVIEW_PX, model=guided, hint=prepared["hint"], **networks
    )
    tiles: Json = {name: plan[name] for name in ("tile_size", "overlap", "tile_batch")}
    tiled = graph.add("UGCSR_TileDiffusion", model=guided, **tiles)["MODEL"]
    sampled = _sample(graph, tiled, controlled, chosen["latent"], set_by, given["seed"])
    graph.column("Colour and size", 360)
    return _finish(graph, sampled, weights["vae"], prepared, **set_by["UGCSR_MatchColor"])


def with_turbo(graph: Graph, photo: Socket, given: Json) -> Node:
    """Add a restoration in two steps, with all values in the nodes; return the node Finish Photo."""
    graph.column("Weights")
    weights = load_weights(graph, given)
    graph.column("Enlarge and read")
    prepared, semantics, latent = enlarge_and_read(graph, weights, photo, given)
    chosen = load("turbo")
    graph.column("Prompt and guidance", 360)
    prompts = _prompts(graph, weights["clip"], chosen.positive("", ""), chosen.negative)
    set_by = {node: settings("turbo", node) for node in WIRES}
    guided, controlled = _guide(graph, weights, weights["model"], prompts, prepared, semantics, set_by)
    graph.column("Start, tile, sample")
    started = graph.add("UGCSR_LRStart", model=guided)["MODEL"]
    tiled = graph.add("UGCSR_TileDiffusion", model=started, **settings("turbo", "UGCSR_TileDiffusion"))
    sampled = _sample(graph, tiled["MODEL"], controlled, latent, set_by, given["seed"])
    graph.column("Colour and size", 360)
    return _finish(graph, sampled, weights["vae"], prepared, **set_by["UGCSR_MatchColor"])


def with_preset(graph: Graph, given: Mapping[str, Socket]) -> Node:
    """Add a restoration from loaded networks and a read photo, by a preset's name; return Finish Photo."""
    graph.column("Choose", 340)
    chosen = graph.add(
        "UGCSR_RestorationPreset", model=given["model"], latent=given["latent"], preset=given["preset"]
    )
    graph.column("Prompt and guidance", 340)
    prompts = _prompts(graph, given["clip"], chosen["positive"], chosen["negative"])
    set_by = _wires(chosen)
    guided, controlled = _guide(graph, given, chosen["model"], prompts, given, given["semantics"], set_by)
    graph.column("Sample")
    tiles = settings("wild", "UGCSR_TileDiffusion")  # equal in all presets for these networks
    tiled = graph.add("UGCSR_TileDiffusion", model=guided, **tiles)["MODEL"]
    sampled = _sample(graph, tiled, controlled, chosen["latent"], set_by, given["seed"])
    graph.column("Colour and size")
    return _finish(graph, sampled, given["vae"], given, **set_by["UGCSR_MatchColor"])


def load_weights(graph: Graph, given: Json) -> dict[str, Socket]:
    """Add the loaders of the published networks, with the given file names, and return their outputs."""
    base, encoder = given.get("checkpoint", BASE), given.get("encoder", SAM2)
    models = [named_model(base.value if isinstance(base, Socket) else base)]
    checkpoint = graph.add("CheckpointLoaderSimple", ckpt_name=base, models=models)
    reader = graph.add("UGCSR_LoadSAM2Encoder", encoder_name=encoder, models=[named_model(SAM2)])
    adapter = graph.add("UGCSR_LoadSemanticAdapter", adapter_name=given.get("adapter", "srlab/unet"))
    control_net = graph.add(
        "UGCSR_LoadSemanticControlNet", control_net_name=given.get("control_net", "srlab/controlnet")
    )
    return {
        "model": checkpoint["MODEL"],
        "clip": checkpoint["CLIP"],
        "vae": checkpoint["VAE"],
        "encoder": reader["encoder"],
        "adapter": adapter["adapter"],
        "control_net": control_net["control_net"],
    }


def named_model(file: str, published: str = "") -> Json:
    """Return the catalogue's entry for the host's download dialog, by the file's name in models/."""
    (entry,) = (one for one in WEIGHTS if one.download and one.download["name"] == (published or file))
    # A repacked file has a different checksum from the published one.
    checked = entry.sha256 != UNKNOWN and entry.takes_as_is(entry.sources[0])
    checksum = {"hash": entry.sha256, "hash_type": "SHA256"} if checked else {}
    return {**(entry.download or {}), "name": file, **checksum}


def enlarge_and_read(graph: Graph, weights: Parts, photo: Socket, given: Json) -> tuple[Node, Socket, Socket]:
    """Add nodes that enlarge and encode the photo; return (Prepare Photo, its semantics, its latent)."""
    prepared = _prepare(graph, photo, given)
    semantics = _read(graph, weights["encoder"], photo, prepared)
    return prepared, semantics, graph.add("VAEEncode", pixels=prepared["hint"], vae=weights["vae"])["LATENT"]


def _group(graph: Graph, title: str) -> None:
    graph.column(title, 340 if title == "Enlarge and read" else 320, SAYS[title], down=DOWN.get(title, 0))


def _prepare(graph: Graph, photo: Socket, given: Json) -> Node:
    clear: Json = {"mask": given["transparency"]} if "transparency" in given else {}
    return graph.add("UGCSR_PrepareImage", image=photo, scale=given["scale"], **clear)


def _wires(chosen: Node) -> dict[str, Json]:
    """Return the links from Restoration Preset to the inputs that a preset sets."""
    return {node: {name: chosen[output] for name, output in wires.items()} for node, wires in WIRES.items()}


def _prompts(graph: Graph, clip: Socket, *texts: Socket | str) -> list[Socket]:
    """Add the encoders of the positive and the negative text, and return both conditionings."""
    return [
        graph.add("CLIPTextEncode", title, clip=clip, text=text)["CONDITIONING"]
        for title, text in zip(("Prompt", "Negative prompt"), texts, strict=True)
    ]


def _read(graph: Graph, encoder: Socket, photo: Socket, prepared: Parts) -> Socket:
    semantics = graph.add("UGCSR_EncodeSemantics", encoder=encoder, image=photo, frame=prepared["frame"])
    return semantics["semantics"]


def _guide(
    graph: Graph,
    weights: Parts,
    model: Socket,
    prompts: list[Socket],
    prepared: Parts,
    semantics: Socket,
    set_by: Mapping[str, Json],
) -> tuple[Socket, Node]:
    """Return (the guided model, the node with both controlled prompts)."""
    guided = graph.add(
        "UGCSR_ApplySemanticGuidance",
        model=model,
        adapter=weights["adapter"],
        semantics=semantics,
        **set_by["UGCSR_ApplySemanticGuidance"],
    )
    controlled = graph.add(
        "UGCSR_ApplySemanticControlNet",
        positive=prompts[0],
        negative=prompts[1],
        control_net=weights["control_net"],
        hint=prepared["hint"],
        semantics=semantics,
        **set_by["UGCSR_ApplySemanticControlNet"],
    )
    return guided["MODEL"], controlled


def _sample(
    graph: Graph, model: Socket, controlled: Node, latent: Socket, set_by: Mapping[str, Json], seed: Any = 0
) -> Node:
    return graph.add(
        "KSampler",
        model=model,
        positive=controlled["positive"],
        negative=controlled["negative"],
        latent_image=latent,
        seed=seed,
        **set_by["KSampler"],
    )


def _finish(
    graph: Graph, sampled: Node, vae: Socket, prepared: Parts, region: Json | None = None, *, method: Any
) -> Node:
    """Add the nodes from the sampler's output to the finished photo."""
    image = graph.add("VAEDecode", samples=sampled["LATENT"], vae=vae)["IMAGE"]
    hint = prepared["hint"]
    image = graph.add("UGCSR_MatchColor", image=image, reference=hint, method=method)["IMAGE"]
    if region:
        image = graph.add("UGCSR_BlendRegions", sr=image, original=hint, **region)["IMAGE"]
    return graph.add("UGCSR_FinishImage", image=image, frame=prepared["frame"])
