"""Every shipped workflow and the blueprint: as described, offered by the host, and complete."""

import io
import json
import urllib.request

import pytest
from PIL import Image

from ugc_sr.models.catalogue import UNKNOWN, WEIGHTS
from ugc_sr.restore.server import CHECKOUT
from ugc_sr.tools.workflows.graph import Graph
from ugc_sr.tools.workflows.parts import CLIP_VISION
from ugc_sr.tools.workflows.templates import files, text

pytestmark = pytest.mark.comfy

WORKFLOWS = sorted((CHECKOUT / "workflows").glob("*.json"))
BLUEPRINT = CHECKOUT / "subgraphs" / "Restore Photo.json"
NOTES = ("MarkdownNote",)


def nodes_of(workflow):
    """Its nodes and those of its subgraphs, but for notes and the subgraphs' own."""
    inner = workflow.get("definitions", {}).get("subgraphs", [])
    every = [*workflow["nodes"], *(node for subgraph in inner for node in subgraph["nodes"])]
    known = (*NOTES, *(subgraph["id"] for subgraph in inner))
    return [node for node in every if node["type"] not in known]


def twin(name):
    return json.loads((CHECKOUT / "restore" / f"{name}.api.json").read_text())


@pytest.fixture(params=[*WORKFLOWS, BLUEPRINT], ids=lambda file: file.stem)
def workflow(request):
    return json.loads(request.param.read_text())


@pytest.fixture
def sample(client, photo):
    """The photo that the files name, as a host has it; here a small one."""
    assert client.upload_as("example.png", photo.read_bytes()) == "example.png"
    return Image.open(photo)


def test_every_file_is_what_its_description_makes(client):
    made = dict(files(client.node_definitions()))
    for path, content in made.items():
        assert path.read_text() == text(content), f"{path.name}: run python -m ugc_sr.tools.workflows"
    assert {path for path in made if path.parent.name == "workflows"} == set(WORKFLOWS)


def test_every_node_names_the_package_it_comes_from(workflow):
    for node in nodes_of(workflow):
        ours = node["type"].startswith("UGCSR_")
        assert node["properties"]["cnr_id"] == ("ugc-super-resolution" if ours else "comfy-core")
        assert node["properties"]["Node name for S&R"] == node["type"]


def test_weights_to_download_are_those_of_the_catalogue(workflow):
    known = {entry.download["url"]: entry for entry in WEIGHTS if entry.download}
    for node in nodes_of(workflow):
        for model in node["properties"].get("models", ()):
            entry = known[model["url"]]
            assert model["name"] in node["widgets_values"]
            assert model["directory"] == entry.folder
            assert model["name"] in (entry.download["name"], CLIP_VISION)
            # A repacked file has another checksum than the published one.
            published = entry.takes_as_is(entry.sources[0]) and entry.sha256 != UNKNOWN
            checksum = entry.sha256 if published else None
            assert model.get("hash") == checksum


def test_no_node_lies_on_another(workflow):
    title_px = 30
    for sheet in (workflow, *workflow.get("definitions", {}).get("subgraphs", ())):
        boxes = [(*node["pos"], *node["size"]) for node in sheet["nodes"]]
        for index, (x, y, wide, tall) in enumerate(boxes):
            for left, top, width, height in boxes[:index]:
                beside = x >= left + width or left >= x + wide
                assert beside or y - title_px >= top + height or top - title_px >= y + tall


def test_the_host_offers_every_file_as_a_template_with_a_thumbnail(client):
    templates = json.load(urllib.request.urlopen(f"{client.address}/api/workflow_templates"))
    assert sorted(templates["ugc_sr"]) == [file.stem for file in WORKFLOWS]
    for file in WORKFLOWS:
        address = f"{client.address}/api/workflow_templates/ugc_sr/{file.stem}.jpg"
        with Image.open(io.BytesIO(urllib.request.urlopen(address).read())) as picture:
            assert min(picture.size) >= 300


def test_the_host_offers_the_blueprint_with_few_inputs(client):
    offered = json.load(urllib.request.urlopen(f"{client.address}/global_subgraphs"))
    (found,) = (key for key, entry in offered.items() if entry["name"] == BLUEPRINT.stem)
    entry = json.load(urllib.request.urlopen(f"{client.address}/global_subgraphs/{found}"))
    (subgraph,) = json.loads(entry["data"])["definitions"]["subgraphs"]
    assert subgraph["name"] == "Restore Photo"
    assert subgraph["description"]
    assert 1 < len(subgraph["inputs"]) <= 8


@pytest.mark.parametrize("name", ["ugc_wild", "ugc_synthetic_x4", "turbo", "compare_presets"])
def test_those_for_the_published_networks_lack_nothing_but_weights(client, sample, name):
    with pytest.raises(RuntimeError) as refused:
        client.run(twin(name))
    lines = str(refused.value).splitlines()
    assert lines
    for line in lines:
        assert line.startswith(("Load Checkpoint: ", "Load CLIP Vision: ", "Load S")), line


@pytest.fixture
def picture_of(pictures):
    return lambda output: pictures(output)[0].convert("RGB")


def test_regions_that_are_painted_stay_and_without_a_mask_it_is_the_quick_start(
    client, sample, quickstart, picture_of, tmp_path
):
    restored = picture_of(client.run(quickstart("example.png"))["3"])
    graph = twin("keep_regions")
    save = next(key for key, node in graph.items() if node["class_type"] == "SaveImage")
    assert picture_of(client.run(graph)[save]).tobytes() == restored.tobytes()

    alpha = Image.new("L", sample.size, 255)
    alpha.paste(0, (0, 0, 20, 24))
    painted = sample.copy()
    painted.putalpha(alpha)
    painted.save(tmp_path / "painted.png")
    graph["1"]["inputs"]["image"] = client.upload(tmp_path / "painted.png")
    kept = picture_of(client.run(graph)[save])
    bicubic = sample.resize(kept.size, Image.Resampling.BICUBIC)

    def off(picture, box):
        first, second = picture.crop(box).tobytes(), bicubic.crop(box).tobytes()
        return sum(abs(a - b) for a, b in zip(first, second, strict=True)) / len(first)

    left = (0, 0, 60, 96)
    assert off(kept, left) < 0.5 * off(restored, left)
    right = (140, 0, 160, 96)
    assert off(kept, right) == pytest.approx(off(restored, right), rel=0.5)


def test_a_designed_degradation_is_replayed_and_shown(client, sample, picture_of):
    graph = twin("design_degradation")
    outputs = client.run(graph)
    drawn, again = (
        picture_of(outputs[key]) for key, node in graph.items() if node["class_type"] == "PreviewImage"
    )
    assert drawn.size == (10, 6)
    assert drawn.tobytes() == again.tobytes()  # both photos are the same here
    (edit,) = (key for key, node in graph.items() if node["class_type"] == "UGCSR_EditRecipe")
    recipe = json.loads(outputs[edit]["text"][0])
    assert recipe["name"] == "upload (edited)"
    assert recipe["steps"][3]["parameters"]["quality"] == {"uniform": [20, 40]}


def test_a_description_may_not_name_an_input_that_is_not_there(client):
    graph = Graph("wrong", client.node_definitions())
    graph.column("One")
    photo = graph.add("LoadImage", image="example.png")
    with pytest.raises(ValueError, match="UGCSR_PrepareImage has no input factor"):
        graph.add("UGCSR_PrepareImage", image=photo["IMAGE"], factor=4.0)
    with pytest.raises(ValueError, match="UGCSR_PrepareImage: image is not connected"):
        graph.add("UGCSR_PrepareImage", scale=4.0)
