"""The shipped workflow that damages a photo, restores it and measures the result, run by the real host."""

import json

import pytest
import torch
from PIL import Image

from ugc_sr.restore.server import CHECKOUT
from ugc_sr.score.metrics import evaluate
from ugc_sr.score.pil_image import from_picture

pytestmark = pytest.mark.comfy

WORKFLOW = CHECKOUT / "restore" / "degrade_restore_score.api.json"
PREVIEW = {"class_type": "PreviewImage"}
TEXT = {"class_type": "PreviewAny"}


@pytest.fixture
def photo(tmp_path):
    """A clean photo with smooth and sharp parts, large enough that each metric of small ones has a value."""
    picture = Image.linear_gradient("L").resize((160, 128)).convert("RGB")
    for edge in range(8, 60, 7):
        picture.paste((200, 4 * edge, 30), (2 * edge, edge, 2 * edge + 5, edge + 40))
    picture.save(tmp_path / "clean.png")
    return tmp_path / "clean.png"


@pytest.fixture
def graph(client, photo):
    """The workflow for a small photo."""
    made = json.loads(WORKFLOW.read_text())
    only(made, "LoadImage")["inputs"]["image"] = client.upload(photo)
    return made


def only(graph, class_type):
    (node,) = (node for node in graph.values() if node["class_type"] == class_type)
    return node


def key(graph, class_type):
    return next(key for key, node in graph.items() if node["class_type"] == class_type)


def test_its_figures_are_those_of_the_pictures_it_writes(client, graph, pictures):
    degrade, score = key(graph, "UGCSR_DegradeImage"), key(graph, "UGCSR_ScoreImage")
    more = {
        "hr": {**PREVIEW, "inputs": {"images": [degrade, 3]}},
        "lr": {**PREVIEW, "inputs": {"images": [degrade, 0]}},
        "json": {**TEXT, "inputs": {"source": [score, 1]}},
    }
    outputs = client.run(graph | more)
    (sr,) = pictures(outputs[key(graph, "SaveImage")])
    (hr,), (lr,) = (pictures(outputs[name]) for name in ("hr", "lr"))
    assert (sr.size, lr.size) == (hr.size, (40, 32))
    report = json.loads(outputs["json"]["text"][0])
    scores = dict(report["mean"])
    assert 0 < scores.pop("st_lpips") < 1  # measured beside the metrics of `evaluate`
    assert scores == evaluate(from_picture(sr), gt=from_picture(hr), lr=from_picture(lr))
    assert report["mean"]["psnr_y"] > 20
    (table,) = outputs[score]["text"]
    assert all(f"{value:.4f}" in table for value in report["mean"].values())


def test_it_shows_the_figures_and_the_pictures_side_by_side(client, graph, pictures):
    only(graph, "UGCSR_DegradeImage")["inputs"]["seed"] = 1  # the host shows nothing again that it knows
    outputs = client.run(graph)
    (card,) = pictures(outputs[key(graph, "UGCSR_ScoreImage")])
    (sheet,) = pictures(outputs[key(graph, "PreviewImage")])
    assert card.width < card.height
    assert sheet.width == 12 + 3 * (420 + 12)


def test_without_an_original_what_needs_none_is_measured(client, graph):
    score = only(graph, "UGCSR_ScoreImage")
    del score["inputs"]["gt"]
    only(graph, "UGCSR_DegradeImage")["inputs"]["seed"] = 2
    (table,) = client.run(graph)[key(graph, "UGCSR_ScoreImage")]["text"]
    assert "lr_consistency" in table
    assert "psnr_y" not in table


def test_pictures_come_in_the_order_of_their_sockets(client, photo, pictures):
    source = {"class_type": "LoadImage", "inputs": {"image": client.upload(photo)}}
    turned = {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}}
    widgets = {"labels": "", "crops": 0, "crop_size": 0, "find": "detail", "title": ""}
    images = {"images.image1": ["2", 0], "images.image0": ["1", 0]}
    outputs = client.run(
        {
            "1": source,
            "2": turned,
            "3": {"class_type": "UGCSR_CompareSheet", "inputs": widgets | images},
            "4": {**PREVIEW, "inputs": {"images": ["3", 0]}},
        }
    )
    (sheet,) = pictures(outputs["4"])
    first, second = (from_picture(sheet.crop((left, 60, left + 400, 300))) for left in (20, 452))
    assert torch.allclose(first, 1 - second, atol=2 / 255)


def test_an_original_of_another_size_is_refused_in_words_of_the_graph(client, photo):
    load = {"class_type": "LoadImage", "inputs": {"image": client.upload(photo)}}
    half = {
        "class_type": "ImageScaleBy",
        "inputs": {"image": ["1", 0], "upscale_method": "area", "scale_by": 0.5},
    }
    inputs = {"sr": ["1", 0], "gt": ["2", 0], "tile_size": 0, "overlap": 256}
    with pytest.raises(RuntimeError, match=r"Score Photo: 'gt' is 80x64 px and 'sr' 160x128 px; expected"):
        client.run({"1": load, "2": half, "3": {"class_type": "UGCSR_ScoreImage", "inputs": inputs}})
