"""Plan Restoration as a node, and the quick start with its numbers wired in."""

import pytest
import torch
from PIL import Image

pytestmark = pytest.mark.comfy

# socket of the quick start -> output of the plan
WIRED = {("7", "tile_size"): 0, ("7", "overlap"): 1, ("7", "tile_batch"): 2}
PLAN = "20"


@pytest.fixture
def planned(anatomy, client):
    """The quick start with a plan, for a photo of one colour."""

    def make(folder, width, height, **widgets):
        file = folder / f"{width}x{height}.png"
        Image.new("RGB", (width, height), (200, 90, 40)).save(file)
        graph = anatomy(client.upload(file))
        graph["3"]["inputs"]["scale"] = 4.0
        sockets = {"model": ["5", 0], "hint": ["3", 0], "vae": ["2", 2], "control_net": ["2", 4]}
        sockets["encoder"] = ["2", 5]
        graph[PLAN] = {"class_type": "UGCSR_PlanRestoration", "inputs": sockets | widgets}
        for (node, socket), output in WIRED.items():
            graph[node]["inputs"][socket] = [PLAN, output]
        return graph

    return make


def tiled_vae(graph):
    """The graph with the host's tiled VAE nodes at the plan's size."""
    more = {"tile_size": [PLAN, 3], "overlap": 64, "temporal_size": 64, "temporal_overlap": 8}
    for node, kind in (("8", "VAEEncodeTiled"), ("10", "VAEDecodeTiled")):
        graph[node] = {"class_type": kind, "inputs": graph[node]["inputs"] | more}
    return graph


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (16, 16), (17, 4000)])
def test_photos_of_odd_sizes_are_restored_by_their_plan(planned, client, pictures, tmp_path, size):
    outputs = client.run(planned(tmp_path, *size, memory_gib=4.0))
    (restored,) = pictures(outputs["13"])
    assert restored.size == (4 * size[0], 4 * size[1])
    assert outputs[PLAN]["text"][0].startswith("1 x ")
    (channels,) = torch.tensor([restored.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))])
    assert (channels - torch.tensor([200, 90, 40])).abs().max() <= 3


def test_the_tiled_nodes_of_the_vae_take_the_plans_tile(planned, client, pictures, tmp_path):
    outputs = client.run(tiled_vae(planned(tmp_path, 170, 80, memory_gib=0.04)))
    assert "by VAE Encode (Tiled)" in outputs[PLAN]["text"][0]
    (restored,) = pictures(outputs["13"])
    assert restored.size == (680, 320)


def execute(nano, hint, **options):
    from ugc_sr.nodes.plan_node import PlanRestoration

    return PlanRestoration.execute(nano.model, hint, **options)


def test_the_outputs_are_the_numbers_of_the_plan_that_is_shown(nano):
    hint = torch.zeros(1, 1088, 1920, 3)
    output = execute(nano, hint, vae=nano.vae, memory_gib=16.0)
    tile, overlap, batch, vae_tile, text = output.result
    assert (tile, overlap, vae_tile) == (1024, 128, 1920)
    assert f"2 x 2 tiles of 1024x1024 px, {batch} at once" in text
    assert output.ui.as_dict() == {"text": (text,)}


def test_only_the_model_and_the_hint_are_needed(nano):
    assert execute(nano, torch.zeros(1, 64, 64, 3)).result[:4] == (256, 32, 1, 512)
