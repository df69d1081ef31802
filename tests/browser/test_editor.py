"""The editor in a headless Chromium: what it makes of shipped files, and what a person can do with it."""

import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from playwright.sync_api import TimeoutError

from ugc_sr.restore.server import CHECKOUT
from ugc_sr.tools.workflows.subgraphs import restore_photo

pytestmark = [pytest.mark.comfy, pytest.mark.slow]

WORKFLOWS = sorted((CHECKOUT / "workflows").glob("*.json"))
# These need no weights but the bundled ones.
BUNDLED = (
    *("quickstart", "anatomy", "keep_regions"),
    *("degrade_restore_score", "make_training_pairs", "design_degradation"),
)

# Loads a file as the editor does, and says what has become of it.
LOAD = """async (file) => {
  await app.loadGraphData(file)
  const nodes = [], walk = (graph) => graph.nodes.forEach((node) => {
    nodes.push(node)
    if (node.subgraph) walk(node.subgraph)
  })
  walk(app.graph)
  const known = window.LiteGraph.registered_node_types
  return {
    missing: nodes.map((node) => node.type).filter((type) => !(type in known)),
    widgets: Object.fromEntries(nodes.map((node) => [node.id, node.serialize().widgets_values ?? []])),
    sizes: Object.fromEntries(nodes.map((node) => [node.id, [...node.computeSize()]])),
    api: (await app.graphToPrompt()).output,
  }
}"""
FOCUS = "() => document.activeElement.tagName === 'INPUT'"
# A click is for what was drawn last.
EMPTY = """async () => {
  await app.loadGraphData({nodes: [], links: [], version: 0.4})
  await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))
}"""


def read(path):
    return json.loads(path.read_text())


def twin(name):
    return read(CHECKOUT / "restore" / f"{name}.api.json")


def without_titles(graph):
    return {key: {"class_type": node["class_type"], "inputs": node["inputs"]} for key, node in graph.items()}


def saved_widgets(workflow):
    inner = workflow.get("definitions", {}).get("subgraphs", [])
    sheets = [workflow, *inner]
    return {str(node["id"]): node["widgets_values"] for sheet in sheets for node in sheet["nodes"]}


def queue(page, client):
    """Press Run, wait until the host is done, and give what the output nodes made."""
    before = set(history(client))
    page.evaluate("() => app.queuePrompt(0, 1)")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        new = {key: entry for key, entry in history(client).items() if key not in before}
        if new:
            (entry,) = new.values()
            assert entry["status"]["status_str"] == "success", entry["status"]
            return entry["outputs"]
        time.sleep(0.5)
    raise AssertionError("The graph did not end.")


def history(client):
    with urllib.request.urlopen(f"{client.address}/history") as answer:
        return json.load(answer)


def run(client, graph):
    """What `client.run` gives; in a thread, as the browser has an event loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(client.run, graph).result()


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_the_editor_reads_a_file_as_we_wrote_it(page, file):
    workflow = read(file)
    found = page.evaluate(LOAD, workflow)
    assert found["missing"] == []
    assert found["widgets"] == saved_widgets(workflow)
    assert without_titles(found["api"]) == without_titles(twin(file.stem))
    for node in workflow["nodes"]:
        if node["type"] != "MarkdownNote":
            assert found["sizes"][str(node["id"])][1] <= node["size"][1], f"{node['type']} needs more room"


def test_a_file_of_an_earlier_version_with_inputs_that_have_gone_since_gives_the_same_graph(page):
    earlier = read(CHECKOUT / "tests" / "data" / "older" / "quickstart.json")
    assert "freeze_after" in json.dumps(earlier)
    found = page.evaluate(LOAD, earlier)
    assert found["missing"] == []
    expected = without_titles(twin("quickstart"))
    expected["2:101"]["inputs"]["sharpness"] = 0.5  # what it had been saved with
    assert without_titles(found["api"]) == expected


@pytest.mark.deep
@pytest.mark.parametrize("name", BUNDLED)
def test_a_file_for_the_bundled_model_runs_from_the_editor(page, client, name):
    page.evaluate(LOAD, read(CHECKOUT / "workflows" / f"{name}.json"))
    assert any(output.get("images") for output in queue(page, client).values())


def search(page):
    """Double-click on the canvas until the search opens: on a busy machine clicks may come too far apart."""
    for _ in range(20):
        page.mouse.dblclick(800, 450)
        with suppress(TimeoutError):
            page.wait_for_function(FOCUS, timeout=10_000)
            return
    raise AssertionError("The search did not open.")


def test_the_blueprint_is_found_by_its_name_and_restores_a_photo_unedited(page, client, quickstart, pictures):
    page.evaluate(EMPTY)
    search(page)
    page.keyboard.type("Restore Photo")
    page.get_by_text("Blueprint", exact=True).first.wait_for()
    page.keyboard.press("Enter")
    page.get_by_text("Most relevant").wait_for(state="hidden")
    page.mouse.click(800, 450)
    page.wait_for_function("() => app.graph.nodes.length === 1 && app.graph.nodes[0].subgraph")
    made = page.evaluate(
        """async () => {
          const [restore] = app.graph.nodes
          const add = (type) => { const node = LiteGraph.createNode(type); app.graph.add(node); return node }
          const load = add('LoadImage'), save = add('SaveImage')
          load.widgets.find((widget) => widget.name === 'image').value = 'example.png'
          load.connect(0, restore, 0)
          restore.connect(0, save, 0)
          return {
            visible: restore.inputs.map((input) => input.name),
            save: String(save.id),
            api: (await app.graphToPrompt()).output,
          }
        }"""
    )
    subgraph = restore_photo(client.node_definitions())
    assert made["visible"] == [one.name for one in subgraph.outer_inputs]
    outputs = queue(page, client)
    expected = run(client, quickstart("example.png"))
    assert pictures(outputs[made["save"]])[0].tobytes() == pictures(expected["3"])[0].tobytes()
