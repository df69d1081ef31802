"""The shipped quick start: its UI file and its API twin are the same graph, and it restores a photo."""

import io
import json
import os
import shutil
import urllib.request

import pytest
from PIL import Image

from ugc_sr.restore.server import CHECKOUT

pytestmark = pytest.mark.comfy

WORKFLOW = CHECKOUT / "workflows" / "quickstart.json"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# As root in a container; nothing is looked up online.
BROWSER_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]


def without_titles(graph):
    return {key: (node["class_type"], node["inputs"]) for key, node in graph.items()}


def to_api(workflow, definitions):
    """The API graph of a UI file without subgraphs: links by id, widget values by position."""
    sources = {link: [str(node), slot] for link, node, slot, *_ in workflow["links"]}
    graph = {}
    for node in workflow["nodes"]:
        if node["type"] == "MarkdownNote":
            continue
        inputs = {socket["name"]: sources[socket["link"]] for socket in node["inputs"] if socket["link"]}
        values = iter(node["widgets_values"])
        for group in definitions[node["type"]]["input"].values():
            for name, (kind, *options) in group.items():
                if isinstance(kind, list) or kind in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"):
                    inputs[name] = next(values)
                    if any(option.get("control_after_generate") for option in options):
                        next(values)
        graph[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return graph


def test_the_file_in_the_template_folder_is_the_graph_that_the_demo_queues(client, quickstart):
    ui = to_api(json.loads(WORKFLOW.read_text()), client.node_definitions())
    assert without_titles(ui) == without_titles(quickstart("photo.png"))


def test_every_node_of_the_file_names_the_package_it_comes_from():
    for node in json.loads(WORKFLOW.read_text())["nodes"]:
        if node["type"] != "MarkdownNote":
            ours = node["type"].startswith("UGCSR_")
            assert node["properties"]["cnr_id"] == ("ugc-super-resolution" if ours else "comfy-core")
            assert node["properties"]["Node name for S&R"] == node["type"]


def test_the_host_offers_the_file_as_a_template(client):
    templates = json.load(urllib.request.urlopen(f"{client.address}/api/workflow_templates"))
    assert templates["ugc_sr"] == ["quickstart"]


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM and not os.environ.get("CI"), reason="needs Chromium")
def test_the_frontend_reads_the_file_as_the_same_graph(host_server, client, photo, quickstart):
    from playwright.sync_api import sync_playwright

    client.upload(photo)
    ready = "() => Boolean(window.app?.graph && window.LiteGraph?.registered_node_types?.UGCSR_FinishImage)"
    convert = "async (file) => {await app.loadGraphData(file); return (await app.graphToPrompt()).output}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=BROWSER_FLAGS)
        page = browser.new_page()
        page.goto(host_server.address)
        page.wait_for_function(ready, timeout=60_000)
        seen = page.evaluate(convert, json.loads(WORKFLOW.read_text()))
        browser.close()
    assert without_titles(seen) == without_titles(quickstart("photo.png"))


def test_it_restores_a_photo_to_four_times_its_size_and_tells_its_progress(client, photo, quickstart):
    nodes = []
    graph = quickstart(client.upload(photo))
    graph["9"]["inputs"]["seed"] = 1  # the host runs nothing again for a graph that it knows
    outputs = client.run(graph, lambda node, share: nodes.append(node))
    restored = Image.open(io.BytesIO(client.fetch(outputs["13"]["images"][0])))
    assert restored.size == (160, 96)
    assert nodes[-1] == "Save Image"
