"""`python -m ugc_sr.scripts.workflows`: write every shipped workflow, its API twin, and the blueprint.

They are described here and nowhere else. The host says what inputs its nodes have, so this starts one.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..files import replace_file
from ..models.catalogue import UNKNOWN, WEIGHTS
from ..restore.api import Client
from ..restore.server import CHECKOUT, find_host, running_host
from ..sample.presets import load
from .graph import Graph, Json, Node, Socket

Parts = Mapping[str, Socket] | Node  # sockets by name

PHOTO = "example.png"  # comes with ComfyUI
NOTES = Path(__file__).with_name("notes")  # what stands beside each graph
PREVIEW_PX, PICTURE_PX = 240, 300

BASE = "512-base-ema.safetensors"
TURBO = "sd_turbo.safetensors"
SAM2 = "sam2.1_hiera_tiny.safetensors"
CLIP_VISION = "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors"

LOW_QUALITY = """# steps[3] is the JPEG: always there, and worse
steps[3].probability = 1
steps[3].parameters.quality = {"uniform": [20, 40]}
"""

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


def main() -> None:
    """Write the files."""
    with (
        tempfile.TemporaryDirectory(prefix="ugc-sr-") as folder,
        running_host(find_host(), Path(folder, "host"), cpu=True) as host,
    ):
        definitions = Client(host.address).node_definitions()
    for path, made in files(definitions):
        path.parent.mkdir(exist_ok=True)
        replace_file(path, text(made).encode())
        print(path.relative_to(CHECKOUT))


def files(definitions: Mapping[str, Json]) -> Iterator[tuple[Path, Json]]:
    """Every file that is made here, with what is in it."""
    for describe in (
        quickstart,
        ugc_wild,
        ugc_synthetic_x4,
        turbo,
        compare_presets,
        keep_regions,
        degrade_restore_score,
        make_training_pairs,
        design_degradation,
    ):
        name = describe.__name__
        graph = Graph(name, definitions, note=(NOTES / f"{name}.md").read_text(encoding="utf-8"))
        describe(graph)
        yield CHECKOUT / "workflows" / f"{name}.json", graph.to_editor()
        yield CHECKOUT / "restore" / f"{name}.api.json", graph.to_api()
    yield CHECKOUT / "subgraphs" / "Restore Photo.json", blueprint(definitions).to_editor()


def text(made: Json) -> str:
    """As it stands in a file."""
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def quickstart(graph: Graph) -> None:
    """The bundled model."""
    graph.column("Photo and model")
    photo = _photo(graph)
    restored = _with_nano(graph, photo["IMAGE"])
    _save(graph, restored)


def keep_regions(graph: Graph) -> None:
    """The bundled model, with regions that stay."""
    graph.column("Photo and model")
    photo = _photo(graph)
    restored = _with_nano(graph, photo["IMAGE"], mask=photo["MASK"])
    _save(graph, restored)


def degrade_restore_score(graph: Graph) -> None:
    """The bundled model, measured on a photo that was damaged for it."""
    graph.column("Photo, damage, model")
    photo = _photo(graph, "Clean photo")
    damaged = graph.add("UGCSR_DegradeImage", image=photo["IMAGE"], recipe="upload")
    restored = _with_nano(graph, damaged["lr"])
    _save(graph, restored)
    graph.column("Score", 460)
    tiles = _settings("nano", "UGCSR_TileDiffusion")
    graph.add("UGCSR_ScoreImage", picture=600, sr=restored, gt=damaged["hr"], lr=damaged["lr"], **tiles)
    graph.column("Compare", 760)
    sheet = _sheet(
        graph,
        {"small photo": damaged["lr"], "restored": restored, "original": damaged["hr"]},
        title="Restored with nano",
        find="detail",
    )
    graph.add("PreviewImage", "Side by side", picture=700, images=sheet)


def make_training_pairs(graph: Graph) -> None:
    """A data set, pair by pair."""
    graph.column("Photo and recipe")
    photo = _photo(graph)["IMAGE"]
    recipe = graph.add("UGCSR_LoadRecipe", recipe="ugc")["recipe"]
    graph.column("Damage it, keep the pair", 340)
    pair = graph.add("UGCSR_DegradeImage", image=photo, recipe=recipe, after="increment")
    graph.add("UGCSR_SaveTrainingPairs", hr=pair["hr"], lr=pair["lr"], degradation=pair["degradation"])
    graph.column("Before and after", 400)
    graph.add("PreviewImage", "Damaged photo (lr)", picture=PICTURE_PX, images=pair["lr"])
    graph.add("PreviewImage", "Clean photo (hr)", picture=PICTURE_PX, images=pair["hr"])
    graph.column("The recipe under several seeds", 820)
    graph.add("UGCSR_PreviewDegradation", picture=600, image=photo, recipe=recipe)


def design_degradation(graph: Graph) -> None:
    """A recipe changed, seen, and replayed."""
    graph.column("Photos")
    photo = _photo(graph, "Clean photo")["IMAGE"]
    other = _photo(graph, "Another photo")["IMAGE"]
    graph.column("Recipe", 420)
    recipe = graph.add("UGCSR_LoadRecipe", recipe="upload")
    edited = graph.add("UGCSR_EditRecipe", recipe=recipe["recipe"], changes=LOW_QUALITY, picture=420)
    graph.column("The same damage twice", 340)
    drawn = graph.add("UGCSR_DegradeImage", image=photo, recipe=edited["recipe"])
    again = graph.add("UGCSR_ReplayDegradation", image=other, degradation=drawn["degradation"])
    graph.column("Both, damaged", 400)
    graph.add("PreviewImage", "Clean photo, damaged", picture=PICTURE_PX, images=drawn["lr"])
    graph.add("PreviewImage", "Another photo, the same damage", picture=PICTURE_PX, images=again["lr"])
    graph.column("The recipe under several seeds", 820)
    graph.add("UGCSR_PreviewDegradation", picture=600, image=photo, recipe=edited["recipe"])


def ugc_wild(graph: Graph) -> None:
    """The published networks as SRlab restores photos from phones."""
    graph.column("Photo and weights")
    photo = _photo(graph)["IMAGE"]
    _save(graph, _published(graph, photo, "wild", scale=2.0))


def ugc_synthetic_x4(graph: Graph) -> None:
    """The published networks as SRlab enlarges small photos, with tags."""
    graph.column("Photo and weights")
    photo = _photo(graph)["IMAGE"]
    _save(graph, _published(graph, photo, "synthetic", scale=4.0, tagged=True))


def turbo(graph: Graph) -> None:
    """The published networks in two steps, every number in its node."""
    graph.column("Photo and weights")
    photo = _photo(graph)["IMAGE"]
    weights = _weights(graph, TURBO)
    graph.column("Enlarge and read")
    prepared = graph.add("UGCSR_PrepareImage", image=photo, scale=4.0)
    semantics = _read(graph, weights["encoder"], photo, prepared)
    latent = graph.add("VAEEncode", pixels=prepared["hint"], vae=weights["vae"])["LATENT"]
    chosen = load("turbo")
    graph.column("Prompt and guidance", 360)
    prompts = [
        graph.add("CLIPTextEncode", title, clip=weights["clip"], text=words)["CONDITIONING"]
        for title, words in (("Prompt", chosen.positive("", "")), ("Negative prompt", chosen.negative))
    ]
    set_by = {node: _settings("turbo", node) for node in WIRES}
    guided, controlled = _guide(graph, weights, weights["model"], prompts, prepared, semantics, set_by)
    graph.column("Start, tile, sample")
    started = graph.add("UGCSR_LRStart", model=guided)["MODEL"]
    tiled = graph.add("UGCSR_TileDiffusion", model=started, **_settings("turbo", "UGCSR_TileDiffusion"))
    sampled = graph.add(
        "KSampler",
        model=tiled["MODEL"],
        positive=controlled["positive"],
        negative=controlled["negative"],
        latent_image=latent,
        **set_by["KSampler"],
    )
    graph.column("Colour, size, file", 360)
    _save(graph, _finish(graph, sampled, weights["vae"], prepared, **set_by["UGCSR_MatchColor"]))


def compare_presets(graph: Graph) -> None:
    """Four presets of the published networks on one sheet."""
    graph.column("Photo and weights")
    photo = _photo(graph)["IMAGE"]
    weights = _weights(graph, BASE)
    graph.column("Enlarge and read")
    prepared = graph.add("UGCSR_PrepareImage", image=photo, scale=2.0)
    semantics = _read(graph, weights["encoder"], photo, prepared)
    latent = graph.add("VAEEncode", pixels=prepared["hint"], vae=weights["vae"])["LATENT"]
    graph.column("Four presets", 340)
    inner = _preset_subgraph(graph.definitions)
    networks: Json = {part: weights[part] for part in ("model", "clip", "vae", "adapter", "control_net")}
    restored = {
        name: graph.add(
            inner,
            name,
            **networks,
            hint=prepared["hint"],
            frame=prepared["frame"],
            semantics=semantics,
            latent=latent,
            preset=name,
        )["IMAGE"]
        for name in ("wild", "synthetic", "balanced", "fast")
    }
    graph.column("Side by side", 760)
    sheet = _sheet(
        graph, {"as it came": photo, **restored}, title="One photo, four presets", find="difference"
    )
    graph.add("SaveImage", picture=700, images=sheet, filename_prefix="presets")


def blueprint(definitions: Mapping[str, Json]) -> Graph:
    """The quick start as one node."""
    inner = Graph(
        "Restore Photo",
        definitions,
        category="Image Tools/Super-resolution",
        first=101,
        description="Makes a small, blurred or compressed photo sharp, four times as wide and high, with the "
        "bundled model: no download, no GPU needed.",
    )
    photo = inner.input("image", "IMAGE")
    scale = inner.input("scale", "UGCSR_PrepareImage", like="scale")
    fidelity = inner.input("fidelity", "UGCSR_RestorationPreset", like="fidelity", default=0.5)
    colors = inner.input("colors", "UGCSR_MatchColor", like="method")
    tile = inner.input("tile_size", "UGCSR_TileDiffusion", like="tile_size", default=1024)
    seed = inner.input("seed", "KSampler", like="seed")
    inner.column("Model")
    nano = inner.add("UGCSR_LoadNanoModel")
    inner.column("Enlarge and read", 340)
    prepared = inner.add("UGCSR_PrepareImage", image=photo, scale=scale)
    semantics = _read(inner, nano["encoder"], photo, prepared)
    latent = inner.add("VAEEncode", pixels=prepared["hint"], vae=nano["vae"])["LATENT"]
    chosen = inner.add(
        "UGCSR_RestorationPreset", model=nano["model"], latent=latent, preset="nano", fidelity=fidelity
    )
    set_by, prompts = _wires(chosen), [nano["conditioning"]] * 2
    guided, controlled = _guide(inner, nano, chosen["model"], prompts, prepared, semantics, set_by)
    inner.column("Sample")
    overlap = _settings("nano", "UGCSR_TileDiffusion")["overlap"]
    tiled = inner.add("UGCSR_TileDiffusion", model=guided, tile_size=tile, overlap=overlap)
    sampled = _sample(inner, tiled, controlled, chosen, seed, set_by)
    inner.column("Colour and size")
    inner.output("IMAGE", _finish(inner, sampled, nano["vae"], prepared, method=colors))

    graph = Graph("Restore Photo, as a file", definitions)
    graph.column("", 320)
    graph.add(inner, "Restore Photo")
    return graph


def _preset_subgraph(definitions: Mapping[str, Json]) -> Graph:
    """From loaded networks and a photo that was read to the restored photo, by the name of a preset."""
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
    preset = inner.input("preset", "UGCSR_RestorationPreset", like="preset")
    seed = inner.input("seed", "KSampler", like="seed")
    inner.column("Choose", 340)
    chosen = inner.add("UGCSR_RestorationPreset", model=given["model"], latent=given["latent"], preset=preset)
    inner.column("Prompt and guidance", 340)
    prompts = _prompts(inner, given["clip"], chosen)
    set_by = _wires(chosen)
    guided, controlled = _guide(inner, given, chosen["model"], prompts, given, given["semantics"], set_by)
    inner.column("Sample")
    tiles = _settings("wild", "UGCSR_TileDiffusion")  # the same in all presets for these networks
    tiled = inner.add("UGCSR_TileDiffusion", model=guided, **tiles)
    sampled = _sample(inner, tiled, controlled, chosen, seed, set_by)
    inner.column("Colour and size")
    inner.output("IMAGE", _finish(inner, sampled, given["vae"], given, **set_by["UGCSR_MatchColor"]))
    return inner


def _with_nano(graph: Graph, photo: Socket, mask: Socket | None = None) -> Socket:
    """The photo restored by the bundled model as its preset says, and kept where the mask is white."""
    set_by = {node: _settings("nano", node) for node in WIRES}
    nano = graph.add("UGCSR_LoadNanoModel")
    graph.column("Enlarge and read")
    prepared = graph.add("UGCSR_PrepareImage", image=photo, scale=4.0)
    semantics = _read(graph, nano["encoder"], photo, prepared)
    graph.column("Guide")
    prompts = [nano["conditioning"]] * 2
    guided, controlled = _guide(graph, nano, nano["model"], prompts, prepared, semantics, set_by)
    graph.column("Sample")
    tiled = graph.add("UGCSR_TileDiffusion", model=guided, **_settings("nano", "UGCSR_TileDiffusion"))
    graph.column("Enlarge and read")
    latent = graph.add("VAEEncode", pixels=prepared["hint"], vae=nano["vae"])["LATENT"]
    graph.column("Sample")
    model, region = tiled["MODEL"], {"mask": mask, "frame": prepared["frame"]}
    if mask:
        model = graph.add("UGCSR_WeighRegions", model=model, latent=latent, **region)["MODEL"]
    sampled = graph.add(
        "KSampler",
        model=model,
        positive=controlled["positive"],
        negative=controlled["negative"],
        latent_image=latent,
        **set_by["KSampler"],
    )
    graph.column("Colour, size, file")
    regions = region if mask else None
    return _finish(graph, sampled, nano["vae"], prepared, regions, **set_by["UGCSR_MatchColor"])


def _published(graph: Graph, photo: Socket, preset: str, scale: float, *, tagged: bool = False) -> Socket:
    """The photo restored by the published networks, all set by one preset."""
    weights = _weights(graph, BASE)
    graph.column("Enlarge, read, choose", 360)
    prepared = graph.add("UGCSR_PrepareImage", image=photo, scale=scale)
    semantics = _read(graph, weights["encoder"], photo, prepared)
    latent = graph.add("VAEEncode", pixels=prepared["hint"], vae=weights["vae"])["LATENT"]
    words: Json = {}
    if tagged:
        graph.column("Words")
        vision = graph.add(
            "CLIPVisionLoader", clip_name=CLIP_VISION, models=[_model(CLIP_VISION, "model.safetensors")]
        )
        tags = graph.add("UGCSR_EncodeTags", clip=weights["clip"])["tags"]
        found = graph.add("UGCSR_TagPhoto", clip_vision=vision["CLIP_VISION"], tags=tags, image=photo)
        words = {"tags": found["tags"]}
        graph.column("Enlarge, read, choose")
    chosen = graph.add(
        "UGCSR_RestorationPreset", model=weights["model"], latent=latent, preset=preset, **words
    )
    graph.column("Prompt and guidance", 340)
    prompts, set_by = _prompts(graph, weights["clip"], chosen), _wires(chosen)
    guided, controlled = _guide(graph, weights, chosen["model"], prompts, prepared, semantics, set_by)
    graph.column("Plan and sample", 360)
    networks: Json = {part: weights[part] for part in ("vae", "control_net", "encoder")}
    plan = graph.add(
        "UGCSR_PlanRestoration",
        picture=PREVIEW_PX,
        model=guided,
        hint=prepared["hint"],
        **networks,
    )
    tiles: Json = {name: plan[name] for name in ("tile_size", "overlap", "tile_batch")}
    tiled = graph.add("UGCSR_TileDiffusion", model=guided, **tiles)["MODEL"]
    sampled = graph.add(
        "KSampler",
        model=tiled,
        positive=controlled["positive"],
        negative=controlled["negative"],
        latent_image=chosen["latent"],
        **set_by["KSampler"],
    )
    graph.column("Colour, size, file", 360)
    return _finish(graph, sampled, weights["vae"], prepared, **set_by["UGCSR_MatchColor"])


def _photo(graph: Graph, called: str = "") -> Node:
    return graph.add("LoadImage", called, picture=PREVIEW_PX, image=PHOTO)


def _weights(graph: Graph, base: str) -> dict[str, Socket]:
    """Loaders of the published networks."""
    checkpoint = graph.add("CheckpointLoaderSimple", ckpt_name=base, models=[_model(base)])
    encoder = graph.add("UGCSR_LoadSAM2Encoder", encoder_name=SAM2, models=[_model(SAM2)])
    adapter = graph.add("UGCSR_LoadSemanticAdapter", adapter_name="srlab/unet")
    control_net = graph.add("UGCSR_LoadSemanticControlNet", control_net_name="srlab/controlnet")
    return {
        "model": checkpoint["MODEL"],
        "clip": checkpoint["CLIP"],
        "vae": checkpoint["VAE"],
        "encoder": encoder["encoder"],
        "adapter": adapter["adapter"],
        "control_net": control_net["control_net"],
    }


def _model(file: str, published: str = "") -> Json:
    """What the host's dialog needs to fetch a file: as the catalogue has it, by the name it is saved by."""
    (entry,) = (one for one in WEIGHTS if one.download and one.download["name"] == (published or file))
    # A repacked file has another checksum than the published one.
    checked = entry.sha256 != UNKNOWN and not entry.repacked
    checksum = {"hash": entry.sha256, "hash_type": "SHA256"} if checked else {}
    return {**(entry.download or {}), "name": file, **checksum}


def _settings(preset: str, node: str) -> Json:
    """What a preset sets on a node."""
    keys = ((key.split("."), value) for key, value in load(preset).values.items())
    return {name: value for (owner, name), value in keys if owner == node}


def _wires(chosen: Node) -> dict[str, Json]:
    """The same, over links from Restoration Preset."""
    return {node: {name: chosen[output] for name, output in wires.items()} for node, wires in WIRES.items()}


def _prompts(graph: Graph, clip: Socket, chosen: Node) -> list[Socket]:
    return [
        graph.add("CLIPTextEncode", title, clip=clip, text=chosen[output])["CONDITIONING"]
        for title, output in (("Prompt", "positive"), ("Negative prompt", "negative"))
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
    """(the guided model, the node with both controlled prompts)."""
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
    graph: Graph, tiled: Node, controlled: Node, chosen: Node, seed: Any, set_by: Mapping[str, Json]
) -> Node:
    """KSampler, set by Restoration Preset."""
    return graph.add(
        "KSampler",
        model=tiled["MODEL"],
        positive=controlled["positive"],
        negative=controlled["negative"],
        latent_image=chosen["latent"],
        seed=seed,
        **set_by["KSampler"],
    )


def _finish(
    graph: Graph, sampled: Node, vae: Socket, prepared: Parts, region: Json | None = None, *, method: Any
) -> Socket:
    """From the sampler to the photo as it goes into a file."""
    image = graph.add("VAEDecode", samples=sampled["LATENT"], vae=vae)["IMAGE"]
    hint = prepared["hint"]
    image = graph.add("UGCSR_MatchColor", image=image, reference=hint, method=method)["IMAGE"]
    if region:
        image = graph.add("UGCSR_BlendRegions", sr=image, original=hint, **region)["IMAGE"]
    return graph.add("UGCSR_FinishImage", image=image, frame=prepared["frame"])["IMAGE"]


def _save(graph: Graph, image: Socket) -> None:
    graph.add("SaveImage", picture=PICTURE_PX, images=image, filename_prefix="restored")


def _sheet(graph: Graph, pictures: Mapping[str, Socket], title: str, find: str) -> Socket:
    images: Json = {f"images.image{number}": socket for number, socket in enumerate(pictures.values())}
    return graph.add("UGCSR_CompareSheet", labels="\n".join(pictures), title=title, find=find, **images)[
        "sheet"
    ]


if __name__ == "__main__":
    main()
