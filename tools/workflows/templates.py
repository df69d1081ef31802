"""The descriptions of the shipped workflows and of the blueprint, built from `subgraphs` and `parts`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ...restore.server import CHECKOUT
from . import parts
from .canvas import drawn
from .graph import App, Graph, Json, Node, Socket
from .subgraphs import NANO_TILE, restore_photo, restore_with_preset, restore_with_weights

PHOTO = "example.png"  # a photo that ComfyUI includes
NOTES = Path(__file__).with_name("notes")  # the notes beside each graph
PICTURE_PX = 300
UNDER_PX = 80  # boxes below the link from the photo to the comparison

LOW_QUALITY = """# steps[3] is the JPEG: always there, and worse
steps[3].probability = 1
steps[3].parameters.quality = {"uniform": [20, 40]}
"""

# Descriptions of the apps' inputs, at most 32 characters long.
MASK_WORDS = "Paint over what must stay."
SHARPNESS_WORDS = "0 is truest, 1 sharpest."
NANO_WORDS = {"scale": "0 chooses by the photo.", "sharpness": SHARPNESS_WORDS}
PUBLISHED_WORDS = {"scale": NANO_WORDS["scale"], "seed": "Another number, other detail."}


def files(definitions: Mapping[str, Json]) -> Iterator[tuple[Path, Json]]:
    """Yield (path, content) of every file."""
    for describe in (
        quickstart,
        ugc_wild,
        ugc_synthetic_x4,
        turbo,
        anatomy,
        compare_presets,
        keep_regions,
        degrade_restore_score,
        make_training_pairs,
        design_degradation,
    ):
        name = describe.__name__
        graph = Graph(name, definitions, note=(NOTES / f"{name}.md").read_text(encoding="utf-8"))
        describe(graph)
        yield CHECKOUT / "workflows" / f"{name}.json", drawn(graph)
        yield CHECKOUT / "restore" / f"{name}.api.json", graph.to_api()
    yield CHECKOUT / "subgraphs" / "Restore Photo.json", drawn(blueprint(definitions))


def text(made: Json) -> str:
    """Return the content as the text of a file."""
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def quickstart(graph: Graph) -> None:
    """Add a restoration by the bundled model."""
    _template(graph, restore_photo(graph.definitions), NANO_WORDS)


def keep_regions(graph: Graph) -> None:
    """Add a restoration by the bundled model that keeps regions."""
    _template(graph, restore_photo(graph.definitions, masked=True), NANO_WORDS)


def ugc_wild(graph: Graph) -> None:
    """Add a restoration by the published networks with SRlab's settings for photos from phones."""
    inner = restore_with_weights(graph.definitions, "wild", "Restore Photo, SRlab wild")
    _template(graph, inner, PUBLISHED_WORDS)


def ugc_synthetic_x4(graph: Graph) -> None:
    """Add a restoration by the published networks with SRlab's settings for small photos, with tags."""
    inner = restore_with_weights(graph.definitions, "synthetic", "Enlarge Photo, SRlab synthetic", scale=4.0)
    _template(graph, inner, PUBLISHED_WORDS)


def turbo(graph: Graph) -> None:
    """Add a restoration by the published networks in two steps, with all values in the nodes."""
    inner = restore_with_weights(graph.definitions, "turbo", "Restore Photo, two steps", base=parts.TURBO)
    _template(graph, inner, PUBLISHED_WORDS)


def anatomy(graph: Graph) -> None:
    """Add the nodes of the quick start's subgraph, without the subgraph."""
    graph.column("Photo", says="A photo comes in: a screenshot, a messenger copy, an old phone shot.")
    loaded = _photo(graph)
    photo = loaded["IMAGE"]
    scale = graph.definitions["UGCSR_PrepareImage"]["input"]["required"]["scale"][1]["default"]
    given: Json = {"scale": scale, "sharpness": 0.75, "colors": "wavelet", "tile_size": NANO_TILE}
    given["transparency"] = loaded["MASK"]
    finished = parts.with_nano(graph, photo, given)
    said = ("It is saved in ComfyUI's output folder.", "Move over the picture to compare it with the photo.")
    _show(graph, photo, finished, said)


def degrade_restore_score(graph: Graph) -> None:
    """Add nodes that degrade a photo, restore it by the bundled model and score the result."""
    graph.column("Photo and damage")
    photo = _photo(graph, "Clean photo")
    damaged = graph.add("UGCSR_DegradeImage", image=photo["IMAGE"], recipe="upload")
    graph.column("Restore", 340)
    restore = graph.add(restore_photo(graph.definitions), image=damaged["lr"], scale=4.0)
    _save(graph, restore["IMAGE"])
    graph.column("Score", 460)
    tiles = parts.settings("nano", "UGCSR_TileDiffusion")
    versions: Json = {"sr": restore["IMAGE"], "gt": damaged["hr"], "lr": damaged["lr"]}
    score = graph.add("UGCSR_ScoreImage", picture=600, **versions, **tiles)
    graph.column("Compare", 760)
    sheet = _sheet(
        graph,
        {"small photo": damaged["lr"], "restored": restore["IMAGE"], "original": damaged["hr"]},
        title="Restored with nano",
        find="detail",
    )
    shown = graph.add("PreviewImage", "Side by side", picture=700, images=sheet)
    chosen = [
        (photo, "image", "Clean and sharp."),
        (damaged, "recipe", "How it is damaged."),
        (damaged, "seed", "Another number, other damage."),
        (restore, "sharpness", SHARPNESS_WORDS),
    ]
    _app(graph, chosen, [shown, score], first=False)


def make_training_pairs(graph: Graph) -> None:
    """Add nodes that write a data set of training pairs."""
    graph.column("Photo and recipe")
    loaded = _photo(graph)
    photo, chosen = loaded["IMAGE"], graph.add("UGCSR_LoadRecipe", recipe="ugc")
    recipe = chosen["recipe"]
    graph.column("Damage it, keep the pair", 340)
    pair = graph.add("UGCSR_DegradeImage", image=photo, recipe=recipe, after="increment")
    kept = graph.add("UGCSR_SaveTrainingPairs", hr=pair["hr"], lr=pair["lr"], degradation=pair["degradation"])
    graph.column("Before and after", 400)
    shown = graph.add("PreviewImage", "Damaged photo (lr)", picture=PICTURE_PX, images=pair["lr"])
    graph.add("PreviewImage", "Clean photo (hr)", picture=PICTURE_PX, images=pair["hr"])
    graph.column("The recipe under several seeds", 820)
    grid = graph.add("UGCSR_PreviewDegradation", picture=600, image=photo, recipe=recipe)
    inputs = [
        (loaded, "image", "Clean and sharp."),
        (chosen, "recipe", "How it is damaged."),
        (pair, "seed", "Counts on with each run."),
        (kept, "folder", "In ComfyUI's datasets folder."),
    ]
    _app(graph, inputs, [shown, grid], first=False)


def design_degradation(graph: Graph) -> None:
    """Add nodes that change a recipe, show its effect, and replay it."""
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


def compare_presets(graph: Graph) -> None:
    """Add restorations by four presets of the published networks, on one sheet."""
    graph.column("Photo and weights")
    photo = _photo(graph)["IMAGE"]
    weights = parts.load_weights(graph, {})
    graph.column("Enlarge and read")
    prepared, semantics, latent = parts.enlarge_and_read(graph, weights, photo, {"scale": 2.0})
    graph.column("Four presets", 340)
    inner = restore_with_preset(graph.definitions)
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
    """Return the quick start's subgraph as a separate file."""
    graph = Graph("Restore Photo, as a file", definitions)
    graph.column("", 320)
    graph.add(restore_photo(definitions))
    return graph


def _template(graph: Graph, restore: Graph, words: Mapping[str, str]) -> None:
    """Add a photo, one subgraph, comparison and saving, and an app with these inputs of the subgraph."""
    graph.column("Photo", 340, framed=False)
    photo = _photo(graph)
    graph.column("Restore", 340, down=UNDER_PX, framed=False)
    (second,) = (one.name for one in restore.outer_inputs if one.type == "MASK")
    mask: Json = {second: photo["MASK"]}
    done = graph.add(restore, image=photo["IMAGE"], **mask)
    compare, saved, report = _show(graph, photo["IMAGE"], done)
    inputs = [
        (photo, "image", MASK_WORDS if second == "mask" else ""),
        *((done, name, said) for name, said in words.items()),
    ]
    inputs += [(compare, "compare_view", ""), (report, "preview_text", "")]
    _app(graph, inputs, [saved, report], first=True)


def _show(graph: Graph, photo: Socket, done: Node, said: Sequence[str] = ("", "")) -> list[Node]:
    """Add the nodes that compare the result with the photo, save it, and show its report."""
    framed = bool(said[0])
    graph.column("Result", 400, said[0], down=0 if framed else UNDER_PX, framed=framed)
    saved = _save(graph, done["IMAGE"])
    graph.column("Before and after", 480, said[1], framed=framed)
    compare = graph.add("ImageCompare", "Before and after", image_a=photo, image_b=saved["images"])
    graph.column("Result")
    return [compare, saved, graph.add("PreviewAny", "What was done", picture=100, source=done["report"])]


def _app(
    graph: Graph, inputs: Sequence[tuple[Node, str, str]], outputs: Sequence[Node], *, first: bool
) -> None:
    for node, name, _ in inputs:
        if label := {"image": "photo", "compare_view": "before | after"}.get(name):
            node.labels[name] = label
    graph.app = App(inputs, outputs, first)


def _photo(graph: Graph, called: str = "") -> Node:
    return graph.add("LoadImage", called, picture=parts.PREVIEW_PX, image=PHOTO)


def _save(graph: Graph, image: Socket) -> Node:
    return graph.add("SaveImage", picture=PICTURE_PX, images=image, filename_prefix="restored")


def _sheet(graph: Graph, pictures: Mapping[str, Socket], title: str, find: str) -> Socket:
    images: Json = {f"images.image{number}": socket for number, socket in enumerate(pictures.values())}
    sheet = graph.add("UGCSR_CompareSheet", labels="\n".join(pictures), title=title, find=find, **images)
    return sheet["sheet"]
