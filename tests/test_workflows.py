"""Every shipped workflow: how it is offered, and that our reading of its file is the front end's."""

import json
import os
import shutil
import urllib.request

import pytest

from ugc_sr.models.catalogue import WEIGHTS
from ugc_sr.restore.server import CHECKOUT

pytestmark = pytest.mark.comfy

WORKFLOWS = sorted((CHECKOUT / "workflows").glob("*.json"))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# As root in a container; nothing is looked up online.
BROWSER_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
NOTES = ("MarkdownNote",)


@pytest.fixture(params=WORKFLOWS, ids=lambda file: file.stem)
def workflow(request):
    return json.loads(request.param.read_text())


def test_every_node_names_the_package_it_comes_from(workflow):
    for node in workflow["nodes"]:
        if node["type"] not in NOTES:
            ours = node["type"].startswith("UGCSR_")
            assert node["properties"]["cnr_id"] == ("ugc-super-resolution" if ours else "comfy-core")
            assert node["properties"]["Node name for S&R"] == node["type"]


def test_weights_to_download_are_those_of_the_catalogue(workflow):
    known = [entry.download for entry in WEIGHTS]
    for node in workflow["nodes"]:
        for model in node["properties"].get("models", ()):
            assert model in known
            assert model["name"] in node["widgets_values"]


def test_no_node_lies_on_another(workflow):
    title_px = 30
    boxes = [(*node["pos"], *node["size"]) for node in workflow["nodes"]]
    for index, (x, y, wide, tall) in enumerate(boxes):
        for left, top, width, height in boxes[:index]:
            beside = x >= left + width or left >= x + wide
            assert beside or y - title_px >= top + height or top - title_px >= y + tall


def test_the_host_offers_every_file_as_a_template(client):
    templates = json.load(urllib.request.urlopen(f"{client.address}/api/workflow_templates"))
    assert sorted(templates["ugc_sr"]) == [file.stem for file in WORKFLOWS]


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM and not os.environ.get("CI"), reason="needs Chromium")
def test_the_frontend_reads_every_file_as_we_do(host_server, client, photo, to_api):
    from playwright.sync_api import sync_playwright

    client.upload(photo)
    ready = "() => Boolean(window.app?.graph && window.LiteGraph?.registered_node_types?.UGCSR_FinishImage)"
    convert = "async (file) => {await app.loadGraphData(file); return (await app.graphToPrompt()).output}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=BROWSER_FLAGS)
        page = browser.new_page()
        page.goto(host_server.address)
        page.wait_for_function(ready, timeout=60_000)
        for file in WORKFLOWS:
            read = page.evaluate(convert, json.loads(file.read_text()))
            assert {key: node | {"_meta": {}} for key, node in read.items()} == {
                key: node | {"_meta": {}} for key, node in to_api(file).items()
            }, file.stem
        browser.close()
