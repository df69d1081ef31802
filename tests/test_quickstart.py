"""The shipped quick start: it is the blueprint, which `anatomy` lays open, and it restores a photo."""

import json

import pytest
from PIL import Image

from ugc_sr.restore.server import CHECKOUT

pytestmark = pytest.mark.comfy

BLUEPRINT = CHECKOUT / "subgraphs" / "Restore Photo.json"


def subgraph(file):
    (definition,) = json.loads(file.read_text())["definitions"]["subgraphs"]
    return definition


def test_its_subgraph_is_the_blueprint_and_anatomy_is_the_same_laid_open(quickstart, anatomy):
    assert subgraph(CHECKOUT / "workflows" / "quickstart.json") == subgraph(BLUEPRINT)
    short, long = quickstart("a.png"), anatomy("a.png")
    numbers = dict(zip(short, long, strict=True))

    def renumbered(value):
        return [numbers[value[0]], value[1]] if isinstance(value, list) else value

    made = {
        numbers[key]: {name: renumbered(value) for name, value in node["inputs"].items()}
        for key, node in short.items()
    }
    assert made == {key: node["inputs"] for key, node in long.items()}


def test_it_restores_a_photo_to_four_times_its_size_and_tells_its_progress(
    client, photo, quickstart, pictures
):
    nodes = []
    graph = quickstart(client.upload(photo))
    graph["2:108"]["inputs"]["seed"] = 1  # the host runs nothing again for a graph that it knows
    outputs = client.run(graph, lambda node, share: nodes.append(node))
    (restored,) = pictures(outputs["3"])
    assert restored.size == (160, 96)
    assert "Save Image" in nodes


def test_a_sticker_keeps_its_transparency(client, quickstart, pictures, tmp_path):
    sticker = Image.new("RGBA", (24, 16), (0, 0, 0, 0))
    sticker.paste((200, 40, 30, 255), (8, 4, 16, 12))
    sticker.save(tmp_path / "sticker.png")
    outputs = client.run(quickstart(client.upload(tmp_path / "sticker.png")))
    (restored,) = pictures(outputs["3"])
    assert (restored.mode, restored.size) == ("RGBA", (96, 64))
    assert [restored.getpixel(place)[3] for place in ((2, 2), (48, 32))] == [0, 255]
    assert outputs["5"]["text"][0].startswith("24x16 -> 96x64 px (auto: 4x); transparency enlarged with it")
