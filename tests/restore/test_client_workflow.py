"""Workflows that the client runs: found, checked, and set."""

import hashlib
import json
import pathlib
from contextlib import nullcontext

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


def prepared(graph):
    return [node["inputs"]["scale"] for node in graph.values() if node["class_type"] == "UGCSR_PrepareImage"]


@pytest.mark.parametrize("name", fitting())
def test_every_workflow_that_is_offered_can_be_set_to_a_photo_in_both_formats(name):
    graph, editor = find(name).for_photo("holiday.png")
    (loader,) = [key for key, node in graph.items() if node["class_type"] == "LoadImage"]
    assert graph[loader]["inputs"]["image"] == "holiday.png"
    (shown,) = [node for node in editor["nodes"] if node["type"] == "LoadImage"]
    assert shown["widgets_values"][0] == "holiday.png"


def sheets(editor):
    """Widget values by node, of the file itself and of its only subgraph."""
    (inner,) = editor["definitions"]["subgraphs"]
    return [
        {node["type"]: node["widgets_values"] for node in nodes}
        for nodes in (editor["nodes"], inner["nodes"])
    ]


def test_preset_scale_and_seed_reach_the_graph_and_the_editor():
    shipped = find("ugc_wild")
    workflow = adjust(shipped, preset="balanced", scale=3.0, seed=7)
    assert workflow.settings() == {"preset": "balanced", "scale": 3.0, "seed": 7}
    graph, editor = workflow.for_photo("a.png")
    (outer, inner), (before, inner_before) = sheets(editor), sheets(shipped.editor)
    (restore,) = (kind for kind in outer if "-" in kind)
    assert outer[restore][:3] == [3.0, "", 7]
    assert outer.pop(restore)[3:] == before.pop(restore)[3:]  # names of weights
    assert outer.pop("LoadImage")[0] == "a.png"
    assert outer == {kind: before[kind] for kind in outer}
    # In the subgraph its own inputs and what the preset drives keep their values: they are links.
    preset = inner_before["UGCSR_RestorationPreset"]
    assert inner == inner_before | {"UGCSR_RestorationPreset": ["balanced", *preset[1:]]}
    assert find("ugc_wild").settings()["preset"] == "wild"  # the shipped one is as it was
    assert graph["1"]["inputs"]["image"] == "a.png"


def test_four_of_one_subgraph_are_followed_where_they_agree():
    shipped = find("compare_presets")
    _, editor = adjust(shipped, seed=7).for_photo("a.png")
    presets = [node["widgets_values"] for node in editor["nodes"] if "-" in node["type"]]
    assert presets == [["wild", 7], ["synthetic", 7], ["balanced", 7], ["fast", 7]]
    tiles = [node for node in shipped.graph.values() if node["class_type"] == "UGCSR_TileDiffusion"]
    tiles[0]["inputs"]["tile_size"] = 512  # in one alone, which the file can't say
    assert shipped.for_photo("a.png")[1] is None


def test_the_slider_is_for_the_editor_alone():
    graph, editor = find("quickstart").for_photo("a.png")
    assert "ImageCompare" not in {node["class_type"] for node in graph.values()}
    assert "ImageCompare" in {node["type"] for node in editor["nodes"]}


@pytest.mark.parametrize("name", [n for n in fitting() if find(n).settings()["scale"] is not None])
def test_a_shipped_workflow_takes_its_scale_from_each_photo(name):
    workflow = adjust(find(name))
    assert workflow.settings()["scale"] == "auto"
    small, phone = workflow.for_size(640, 480), workflow.for_size(3024, 4032)
    assert (small.settings()["scale"], phone.settings()["scale"]) == (4, 1)
    graph, editor = phone.for_photo("a.png")
    scales = [
        node["widgets_values"][at]
        for node in editor["nodes"]
        for at, socket in enumerate(one for one in node["inputs"] if "widget" in one)
        if socket["name"] == "scale" and node["type"] != "UGCSR_DegradeImage"
    ]
    assert scales == [1]
    assert prepared(graph) == [1]
    assert prepared(workflow.graph) == [0]  # which Prepare Photo takes for auto, too
    assert workflow.sha256() != small.sha256()  # all photos of a run have the sum of the first


def test_a_scale_that_a_person_chose_holds_for_every_photo(file):
    chosen = adjust(find("quickstart"), scale=3.0)
    assert chosen.for_size(4000, 3000) is chosen
    own = adjust(find(file(json.dumps(adjust(find("quickstart"), scale=4.0).graph))))
    assert own.settings()["scale"] == 4
    assert own.for_size(4000, 3000) is own
    left = adjust(own, scale=0.0)
    assert left.settings()["scale"] == "auto"
    assert left.for_size(4000, 3000).settings()["scale"] == 1


def test_its_checksum_is_of_what_decides_about_the_result(file):
    graph = json.loads((CHECKOUT / "restore" / "quickstart.api.json").read_text())
    digest = find("quickstart").sha256()
    for node in graph.values():
        node["_meta"] = {"title": "Other"}
    graph["1"]["inputs"]["image"] = "other.png"
    assert find(file(graph)).sha256() == digest
    assert adjust(find("quickstart"), seed=1).sha256() != digest


def test_the_quick_start_has_the_preset_of_its_model_and_no_other():
    assert adjust(find("quickstart"), preset="nano").settings()["preset"] == "nano"
    with pytest.raises(ValueError, match=r"--preset: workflow 'quickstart' has no Restoration Preset"):
        adjust(find("quickstart"), preset="wild")


@pytest.mark.parametrize(("option", "node"), [("scale", "Prepare Photo"), ("seed", "KSampler")])
def test_what_a_workflow_has_no_input_for_is_refused(file, option, node):
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "a"}},
    }
    with pytest.raises(ValueError, match=rf"--{option}: workflow 'mine.json' has no {node} whose value"):
        adjust(find(file(graph)), **{option: 2})


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


def weights(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def loaders(**nodes):
    return {kind: {"class_type": kind, "inputs": inputs} for kind, inputs in nodes.items()}


def test_weights_are_told_by_their_checksums_where_they_can_be_seen(tmp_path):
    base, part = "checkpoints/512-base-ema.safetensors", "model_patches/srlab/unet/part.safetensors"
    sums = weights(tmp_path, {base: b"weights", part: b"part"})
    found = checksums(find("ugc_wild").graph, tmp_path)
    assert found["512-base-ema.safetensors"] == sums[base]
    assert found["srlab/unet/part.safetensors"] == sums[part]
    assert found["srlab/controlnet"] is None
    assert checksums(find("quickstart").graph, None) == {"nano.safetensors": NANO}


def test_weights_are_those_of_the_folder_that_their_loader_reads(tmp_path):
    """Others of the same name lie in folders that come first in the alphabet."""
    sums = weights(
        tmp_path,
        {
            "a/x.safetensors": b"another's",
            "checkpoints/x.safetensors": b"base",
            "clip_vision/x.safetensors": b"vision",
            "loras/x.safetensors": b"lora",
            "text_encoders/x.safetensors": b"text",
        },
    )
    for kind, socket, folder in (
        ("CheckpointLoaderSimple", "ckpt_name", "checkpoints"),
        ("LoraLoader", "lora_name", "loras"),
        ("CLIPLoader", "clip_name", "text_encoders"),
        ("DualCLIPLoader", "clip_name2", "text_encoders"),
        ("CLIPVisionLoader", "clip_name", "clip_vision"),
    ):
        told = checksums(loaders(**{kind: {socket: "x.safetensors"}}), tmp_path)
        assert told == {"x.safetensors": sums[f"{folder}/x.safetensors"]}, kind


def test_one_name_in_two_folders_is_told_twice(tmp_path):
    sums = weights(tmp_path, {"controlnet/seesr.safetensors": b"1", "model_patches/seesr.safetensors": b"2"})
    graph = loaders(
        UGCSR_LoadSemanticAdapter={"adapter_name": "seesr.safetensors"},
        UGCSR_LoadSemanticControlNet={"control_net_name": "seesr.safetensors"},
    )
    assert checksums(graph, tmp_path) == sums


def test_a_strange_loaders_weights_are_told_if_only_one_file_can_be_meant(tmp_path):
    graph = loaders(StrangeLoader={"thing_name": "x.safetensors"})
    sums = weights(tmp_path, {"b/x.safetensors": b"1"})
    assert checksums(graph, tmp_path) == {"x.safetensors": sums["b/x.safetensors"]}
    weights(tmp_path, {"a/x.safetensors": b"1"})
    assert checksums(graph, tmp_path) == {"x.safetensors": sums["b/x.safetensors"]}
    weights(tmp_path, {"a/x.safetensors": b"2"})
    assert checksums(graph, tmp_path) == {"x.safetensors": None}


@pytest.mark.parametrize(
    "name", ["\U0001f4f7 photos", "\u5199\u771f \U00020bb7", "a: 'b' #c", "\x85 \u2028", "\udcff"]
)
def test_a_host_of_ours_finds_its_models_whatever_its_path_is_called(tmp_path, monkeypatch, name):
    import yaml

    from ugc_sr.restore import server

    comfyui = tmp_path / name
    (comfyui / "models" / "checkpoints").mkdir(parents=True)
    (comfyui / "main.py").write_text("")
    monkeypatch.setenv("COMFYUI_PATH", str(comfyui))
    read = []

    def start(host, base, *, flags, **_):
        file = flags[flags.index("--extra-model-paths-config") + 1]
        with pathlib.Path(file).open(encoding="utf-8") as stream:  # as ComfyUI does
            read.append(yaml.safe_load(stream)["comfyui"])
        return nullcontext()

    monkeypatch.setattr(server, "running_host", start)
    with server.OwnHost():
        pass
    assert read == [{"base_path": str(comfyui / "models"), "checkpoints": "checkpoints"}]
