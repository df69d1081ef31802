"""Workflows that the client runs: found, checked, and set."""

import hashlib
import json

import pytest

from ugc_sr.restore.server import CHECKOUT
from ugc_sr.restore.weights import checksums
from ugc_sr.restore.workflow import adjust, find, fitting

NANO = hashlib.sha256((CHECKOUT / "models" / "bundled" / "nano.safetensors").read_bytes()).hexdigest()


@pytest.fixture
def file(tmp_path):
    """Writes a workflow."""

    def write(content):
        path = tmp_path / "mine.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write


def set_to(workflow, **values):
    return adjust(workflow, **({"preset": None, "scale": None, "seed": None} | values))


@pytest.mark.parametrize("name", fitting())
def test_every_workflow_that_is_offered_can_be_set_to_a_photo_in_both_formats(name):
    graph, editor = find(name).for_photo("holiday.png")
    (loader,) = [key for key, node in graph.items() if node["class_type"] == "LoadImage"]
    assert graph[loader]["inputs"]["image"] == "holiday.png"
    (shown,) = [node for node in editor["nodes"] if node["type"] == "LoadImage"]
    assert shown["widgets_values"][0] == "holiday.png"


def test_preset_scale_and_seed_reach_the_graph_and_the_editor():
    workflow = set_to(find("ugc_wild"), preset="balanced", scale=3.0, seed=7)
    assert workflow.settings() == {"preset": "balanced", "scale": 3.0, "seed": 7}
    graph, editor = workflow.for_photo("a.png")
    before, shown = (
        {node["id"]: (node["type"], node.get("widgets_values")) for node in nodes}
        for nodes in (find("ugc_wild").editor["nodes"], editor["nodes"])
    )
    changed = {kind: (before[key][1], now) for key, (kind, now) in shown.items() if now != before[key][1]}
    assert changed.keys() == {"LoadImage", "UGCSR_RestorationPreset", "UGCSR_PrepareImage", "KSampler"}
    assert changed["UGCSR_RestorationPreset"][1] == ["balanced", *changed["UGCSR_RestorationPreset"][0][1:]]
    assert changed["UGCSR_PrepareImage"][1] == [3.0]
    # What the preset drives keeps its values: they are links in the graph.
    assert changed["KSampler"][1] == [7, *changed["KSampler"][0][1:]]
    assert find("ugc_wild").settings()["preset"] == "wild"  # the shipped one is as it was
    assert graph["1"]["inputs"]["image"] == "a.png"


@pytest.mark.parametrize("name", [n for n in fitting() if find(n).settings()["scale"] is not None])
def test_a_shipped_workflow_takes_its_scale_from_each_photo(name):
    workflow = set_to(find(name))
    assert workflow.settings()["scale"] == "auto"
    small, phone = workflow.for_size(640, 480), workflow.for_size(3024, 4032)
    assert (small.settings()["scale"], phone.settings()["scale"]) == (4, 1)
    graph, editor = phone.for_photo("a.png")
    (prepare,) = [node for node in editor["nodes"] if node["type"] == "UGCSR_PrepareImage"]
    assert prepare["widgets_values"] == [1]
    assert "auto" not in json.dumps(graph)
    assert workflow.sha256() != small.sha256()  # all photos of a run have the sum of the first


def test_a_scale_that_a_person_chose_holds_for_every_photo(file):
    chosen = set_to(find("quickstart"), scale=3.0)
    assert chosen.for_size(4000, 3000) is chosen
    own = set_to(find(file(json.dumps(find("quickstart").graph))))
    assert own.settings()["scale"] == 4
    assert own.for_size(4000, 3000) is own


def test_its_checksum_is_of_what_decides_about_the_result(file):
    graph = json.loads((CHECKOUT / "restore" / "quickstart.api.json").read_text())
    digest = find("quickstart").sha256()
    for node in graph.values():
        node["_meta"] = {"title": "Other"}
    graph["1"]["inputs"]["image"] = "other.png"
    assert find(file(graph)).sha256() == digest
    assert set_to(find("quickstart"), seed=1).sha256() != digest


def test_the_quick_start_has_the_preset_of_its_model_and_no_other():
    assert set_to(find("quickstart"), preset="nano").settings()["preset"] == "nano"
    with pytest.raises(ValueError, match=r"--preset: workflow 'quickstart' has no Restoration Preset"):
        set_to(find("quickstart"), preset="wild")


@pytest.mark.parametrize(("option", "node"), [("scale", "Prepare Photo"), ("seed", "KSampler")])
def test_what_a_workflow_has_no_input_for_is_refused(file, option, node):
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "a"}},
    }
    with pytest.raises(ValueError, match=rf"--{option}: workflow 'mine.json' has no {node} whose value"):
        set_to(find(file(graph)), **{option: 2})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", r"'.*mine.json' is no JSON"),
        ("[" * 100_000, r"'.*mine.json' is no JSON: it is nested too deeply"),
        ({"nodes": [], "links": []}, r"in the editor's format. Open it in ComfyUI, choose Workflow > Export"),
        ({"a": 1}, r"is no workflow in ComfyUI's API format"),
        ({}, r"is no workflow in ComfyUI's API format"),
        ({"1": {"class_type": "SaveImage", "inputs": {}}}, r"has 0 Load Image nodes where one is wanted"),
    ],
)
def test_a_file_that_is_no_workflow_for_one_photo_is_refused(file, content, problem):
    with pytest.raises(ValueError, match=problem):
        find(file(content))


def test_a_name_that_is_not_known_is_told_with_those_that_are():
    with pytest.raises(FileNotFoundError, match=r"--workflow gone: no such file .* known are .*quickstart"):
        find("gone")


def test_weights_are_told_by_their_checksums_where_they_can_be_seen(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "512-base-ema.safetensors").write_bytes(b"weights")
    (tmp_path / "model_patches" / "srlab" / "unet").mkdir(parents=True)
    (tmp_path / "model_patches" / "srlab" / "unet" / "part.safetensors").write_bytes(b"part")
    told = checksums(find("ugc_wild").graph, tmp_path)
    assert told["512-base-ema.safetensors"] == hashlib.sha256(b"weights").hexdigest()
    assert told["srlab/unet/part.safetensors"] == hashlib.sha256(b"part").hexdigest()
    assert told["srlab/controlnet"] is None
    assert checksums(find("quickstart").graph, None) == {"nano.safetensors": NANO}
