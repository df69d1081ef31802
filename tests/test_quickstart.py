"""The shipped quick start: its UI file and its API twin are the same graph, and it restores a photo."""

import io

import pytest
from PIL import Image

from ugc_sr.restore.server import CHECKOUT

pytestmark = pytest.mark.comfy

WORKFLOW = CHECKOUT / "workflows" / "quickstart.json"


def without_titles(graph):
    return {key: {"class_type": node["class_type"], "inputs": node["inputs"]} for key, node in graph.items()}


def test_the_file_in_the_template_folder_is_the_graph_that_the_demo_queues(to_api, quickstart):
    assert to_api(WORKFLOW) == without_titles(quickstart("example.png"))


def test_it_restores_a_photo_to_four_times_its_size_and_tells_its_progress(client, photo, quickstart):
    nodes = []
    graph = quickstart(client.upload(photo))
    graph["9"]["inputs"]["seed"] = 1  # the host runs nothing again for a graph that it knows
    outputs = client.run(graph, lambda node, share: nodes.append(node))
    restored = Image.open(io.BytesIO(client.fetch(outputs["13"]["images"][0])))
    assert restored.size == (160, 96)
    assert nodes[-1] == "Save Image"
