"""The shipped workflow that makes training pairs, run by the real host."""

import copy
import hashlib
import json

import pytest
import torch

from ugc_sr.degrade.dataset.whole_photo import load_photo
from ugc_sr.degrade.degradation import Degradation, apply
from ugc_sr.degrade.recipes import RECIPES
from ugc_sr.restore.server import CHECKOUT

pytestmark = pytest.mark.comfy

WORKFLOW = CHECKOUT / "restore" / "make_training_pairs.api.json"
FOLDER = "pairs of this test"  # others run the workflow in the same host


@pytest.fixture
def graph(client, photo):
    """The workflow for a small photo."""
    made = json.loads(WORKFLOW.read_text())
    inputs_of(made, "LoadImage")["image"] = client.upload(photo)
    inputs_of(made, "UGCSR_SaveTrainingPairs")["folder"] = FOLDER
    return made


def inputs_of(graph, class_type):
    (inputs,) = (node["inputs"] for node in graph.values() if node["class_type"] == class_type)
    return inputs


def test_each_run_adds_a_pair_that_its_manifest_replays(client, graph, host_server, photo):
    place = host_server.log.parent / "datasets" / FOLDER
    for seed in (0, 1):
        run = copy.deepcopy(graph)
        inputs_of(run, "UGCSR_DegradeImage")["seed"] = seed
        outputs = client.run(run)
        texts = [text for node in outputs.values() for text in node.get("text", ())]
        assert texts == [f"1 saved, {seed + 1} in all: {place}"]
    lines = [json.loads(line) for line in (place / "manifest.jsonl").read_text().splitlines()]
    assert [(line["name"], line["recipe"], line["seed"]) for line in lines] == [
        ("photo_00001.png", "ugc", 0),
        ("photo_00002.png", "ugc", 1),
    ]
    for line in lines:
        for side in ("hr", "lr"):
            content = (place / side / line["name"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == line[f"{side}_sha256"]
        pair = apply(Degradation.from_json(json.dumps(line["degradation"])), load_photo(photo))
        for side in ("hr", "lr"):
            assert torch.equal(getattr(pair, side), load_photo(place / side / line["name"]))


def test_it_shows_the_pair_and_the_recipe_under_several_seeds(client, graph, pictures):
    # The host runs nothing again for a graph that it knows.
    inputs_of(graph, "UGCSR_DegradeImage")["seed"] = 2
    outputs = client.run(graph).values()
    sizes = [picture.size for node in outputs if "images" in node for picture in pictures(node)]
    assert (10, 6) in sizes
    assert (40, 24) in sizes
    assert len([size for size in sizes if size[0] > 1000]) == 1


def test_the_recipe_can_be_chosen_in_the_node_itself_and_is_checked_before_anything_runs(client, graph):
    graph = {
        key: node
        for key, node in graph.items()
        if node["class_type"] not in ("UGCSR_LoadRecipe", "UGCSR_PreviewDegradation")
    }
    inputs = inputs_of(graph, "UGCSR_DegradeImage")
    inputs["recipe"], inputs["seed"] = "upload", 3
    assert client.run(graph)
    inputs["recipe"] = "melt"
    with pytest.raises(
        RuntimeError, match=r"There is no recipe 'melt'. Choose another one, or put its .json"
    ):
        client.run(graph)


def test_an_edited_recipe_can_be_chosen_by_the_next_graph(client, photo, pictures):
    source = {"class_type": "LoadImage", "inputs": {"image": client.upload(photo)}}
    changes = 'steps = [{"op": "shrink", "parameters": {"mode": "area"}}]'
    inputs = {"recipe": "upload", "changes": changes, "save_as": "bare"}
    outputs = client.run({"1": {"class_type": "UGCSR_EditRecipe", "inputs": inputs}})
    assert json.loads(outputs["1"]["text"][0])["name"] == "bare"
    inputs = {"image": ["1", 0], "recipe": "bare.json", "seed": 0, "scale": 4, "sharpen_target": False}
    shown = {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}}
    outputs = client.run(
        {"1": source, "2": {"class_type": "UGCSR_DegradeImage", "inputs": inputs}, "3": shown}
    )
    (picture,) = pictures(outputs["3"])
    assert picture.size == (10, 6)
    listed = client.node_definitions()["UGCSR_LoadRecipe"]["input"]["required"]["recipe"][1]["options"]
    assert listed == [*RECIPES, "bare.json"]


@pytest.mark.parametrize("output", [1, 2], ids=["socket", "text"])
def test_a_replay_takes_a_degradation_from_its_socket_or_as_text(client, photo, output, pictures):
    degrade = {"recipe": "upload", "seed": 4, "scale": 4, "sharpen_target": False, "image": ["1", 0]}
    outputs = client.run(
        {
            "1": {"class_type": "LoadImage", "inputs": {"image": client.upload(photo)}},
            "2": {"class_type": "UGCSR_DegradeImage", "inputs": degrade},
            "3": {
                "class_type": "UGCSR_ReplayDegradation",
                "inputs": {"image": ["1", 0], "degradation": ["2", output]},
            },
            "4": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
            "5": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
        }
    )
    (drawn,), (replayed,) = (pictures(outputs[node]) for node in "45")
    assert drawn.tobytes() == replayed.tobytes()
