"""What a person is told before, while and after a photo is restored."""

import asyncio
import logging
import re
import threading
import time
from contextlib import contextmanager

import aiohttp
import pytest
import torch
from PIL import Image

from ugc_sr.sample.frame import frame_for

pytestmark = pytest.mark.comfy

NUMBER = r"\d+(\.\d+)?(e-\d+)?"
SCORES = ", ".join(rf"{name} {NUMBER} -> {NUMBER}" for name in ("sharpness", "noise", "blockiness"))
SECONDS = r"\d+\.\d s"


@contextmanager
def listening(address):
    """The lines that nodes say, as (node, line), as they come."""
    said, ready, loop = [], threading.Event(), asyncio.new_event_loop()

    async def follow():
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{address}/ws") as socket:
            ready.set()
            async for message in socket:
                if message.type == aiohttp.WSMsgType.BINARY and message.data[:4] == b"\0\0\0\3":
                    end = 8 + int.from_bytes(message.data[4:8], "big")
                    said.append((message.data[8:end].decode(), message.data[end:].decode()))

    task = loop.create_task(follow())
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    )
    thread.start()
    assert ready.wait(60)
    yield said
    loop.call_soon_threadsafe(task.cancel)
    thread.join()
    loop.close()


@pytest.fixture
def upload(client, tmp_path):
    def give(picture, name):
        picture.save(tmp_path / name)
        return client.upload(tmp_path / name)

    return give


@pytest.fixture
def graph(anatomy, upload):
    """The quick start laid open for a photo of 80x64 px: sampled in tiles, and once more whole."""
    made = anatomy(upload(Image.effect_noise((80, 64), 40).convert("RGB"), "noisy.png"))
    made["3"]["inputs"]["scale"] = 0.0
    made["7"]["inputs"] |= {"tile_size": 256, "overlap": 64, "tile_batch": 1}
    for key, follows in (("9", ("7", "5")), ("10", ("9", "19")), ("12", ("11", "20"))):
        again = {"class_type": made[key]["class_type"], "inputs": dict(made[key]["inputs"])}
        for name, value in again["inputs"].items():
            if isinstance(value, list) and value[0] == follows[0]:
                again["inputs"][name] = [follows[1], value[1]]
        made[str(int(key) + 10)] = again
    made["23"] = {"class_type": "SaveImage", "inputs": {"images": ["22", 0], "filename_prefix": "whole"}}
    return made


def test_a_result_tells_its_story_and_every_stage_is_named(client, pictures, host_server, graph):
    with listening(host_server.address) as said:
        outputs = client.run(graph)
        (tiled,), (whole,) = outputs["12"]["text"], outputs["22"]["text"]
        patience = time.monotonic() + 30
        while {("12", tiled), ("22", whole)} - set(said) and time.monotonic() < patience:
            time.sleep(0.1)
    sizes = r"80x64 -> 320x256 px \(auto: 4x\); preset nano; "
    assert re.fullmatch(rf"{sizes}2 tiles sampled in {SECONDS}; {SCORES}", tiled)
    assert re.fullmatch(rf"{sizes}sampled in {SECONDS}; {SCORES}", whole)
    assert pictures(outputs["13"])[0].size == (320, 256)
    assert {("12", tiled), ("22", whole)} <= set(said)
    before = {
        ("4", "Reading what the photo shows"),
        ("8", "Encoding the photo, which removes noise and blocks"),
    }
    assert said[0] == ("3", "80x64 -> 320x256 px (auto: 4x)")
    assert before <= set(said[1:3])
    first = [("9", "Sampling tile 1 of 2"), ("9", "Sampling tile 2 of 2"), ("10", "Decoding the picture")]
    assert [line for line in said if line in first] == first


def test_what_the_host_remembers_tells_the_same(client, graph):
    (first,) = client.run(graph)["12"]["text"]
    graph["11"]["inputs"]["method"] = "adain"  # after the sampler, which doesn't run again
    (recolored,) = client.run(graph)["12"]["text"]
    assert recolored.partition("; sharpness")[0] == first.partition("; sharpness")[0]
    graph["9"]["inputs"]["seed"] = 7
    graph["7"]["inputs"]["overlap"] = 0
    graph["7"]["inputs"]["tile_size"] = 320
    (other,) = client.run(graph)["12"]["text"]
    assert "tiles" not in other
    assert " sampled in " in other


def test_without_semantics_of_the_frame_the_rest_is_told(client, graph):
    del graph["4"]["inputs"]["frame"]
    (text,) = client.run(graph)["12"]["text"]
    assert re.fullmatch(rf"80x64 -> 320x256 px \(auto: 4x\); {SCORES}", text)


def test_a_photo_of_one_pixel_is_told_to_be_too_small_to_measure(client, pictures, anatomy, upload):
    graph = anatomy(upload(Image.new("RGB", (1, 1), (200, 90, 40)), "pixel.png"))
    graph["3"]["inputs"]["scale"] = 0.0
    outputs = client.run(graph)
    (text,) = outputs["12"]["text"]
    assert re.fullmatch(
        rf"1x1 -> 4x4 px \(auto: 4x\); preset nano; sampled in {SECONDS}; too small to measure", text
    )
    assert pictures(outputs["13"])[0].size == (4, 4)


def test_a_sticker_keeps_its_transparency_if_its_mask_is_connected(client, pictures, anatomy, upload):
    sticker = Image.new("RGBA", (48, 40), (200, 90, 40, 0))
    sticker.paste((20, 120, 220, 255), (12, 10, 36, 30))
    graph = anatomy(upload(sticker, "sticker.png"))
    graph["3"]["inputs"] |= {"scale": 2.0, "mask": ["1", 1]}
    outputs = client.run(graph)
    result = pictures(outputs["13"])[0]
    assert (result.mode, result.size) == ("RGBA", (96, 80))
    assert [result.getpixel(place)[3] for place in ((2, 2), (48, 40), (93, 77))] == [0, 255, 0]
    assert "; transparency enlarged with it; " in outputs["12"]["text"][0]


def test_an_empty_mask_leaves_a_photo_opaque(client, pictures, anatomy, upload):
    graph = anatomy(upload(Image.new("RGB", (48, 40), (20, 120, 220)), "opaque.png"))
    graph["3"]["inputs"]["mask"] = ["1", 1]
    outputs = client.run(graph)
    assert pictures(outputs["13"])[0].mode == "RGB"
    assert "transparency" not in outputs["12"]["text"][0]


@pytest.fixture
def memory(monkeypatch):
    """Pretends that the machine has so many bytes, of which some are free."""
    import comfy.model_management as management

    def pretend(total, free):
        monkeypatch.setattr(management, "get_total_memory", lambda *_, **__: total)
        monkeypatch.setattr(management, "get_free_memory", lambda *_, **__: free)

    return pretend


def test_what_does_not_fit_is_refused_with_the_need_and_a_way_out(memory):
    from ugc_sr.nodes.image_nodes import PrepareImage

    memory(total=1 << 20, free=1 << 20)
    message = (
        r"^Prepare Photo: 60x60 -> 240x240 px \(4x\) takes 2 MiB for its pictures alone, and this machine "
        r"has 1 MiB\. Choose a 'scale' of at most 2\.66, or a smaller photo\.$"
    )
    with pytest.raises(ValueError, match=message):
        PrepareImage.execute(image=torch.zeros(1, 60, 60, 3), scale=4.0)
    PrepareImage.execute(image=torch.zeros(1, 60, 60, 3), scale=2.0)


def test_a_panorama_of_100_megapixels_is_announced_before_a_pixel_is_made(memory, caplog):
    from ugc_sr.host.announce import announce

    caplog.set_level(logging.INFO)
    memory(total=64 << 30, free=2 << 30)
    announce(frame_for((2500, 40000), 1.0), photos=1)
    announce(frame_for((2500, 40000), 0.0), photos=1)
    large, chosen = (record for record in caplog.records if record.name == "ugc_sr.host.announce")
    assert re.fullmatch(
        r"Prepare Photo: 40000x2500 -> 40000x2500 px \(1x\); about \d+ s on this CPU with the bundled model; "
        r"its pictures take 3\.4 GiB and 2\.0 GiB are free: close other programs, or choose a "
        r"smaller 'scale'\.",
        large.message,
    )
    assert large.levelno == logging.WARNING
    assert re.fullmatch(
        r"Prepare Photo: 40000x2500 -> 4096x256 px \(auto: 0\.1024x\); about \d+ s on this CPU with the "
        r"bundled model\.",
        chosen.message,
    )
    assert chosen.levelno == logging.INFO


def test_steps_and_the_time_that_is_left_are_told(monkeypatch):
    from ugc_sr.host import progress

    said, bar = [], []
    monkeypatch.setattr(progress, "say", said.append)
    monkeypatch.setattr(progress, "progress", lambda total: lambda count: bar.append((count, total)))
    shown = progress.SamplingProgress((14.6, 7.0, 1.5, 0.0), begun=time.perf_counter() - 30)
    shown.show(14.6, done=0, until=4, tiles=6)
    shown.show(7.0, done=4, until=6, tiles=6)
    shown.show(1.2, done=0, until=1, tiles=6)  # between two levels, as samplers of the second order look
    assert said == [
        "Sampling tiles 1 to 4 of 6, step 1 of 3",
        "Sampling tiles 5 to 6 of 6, step 2 of 3; about 24 s left",  # 10 of 18 took 30 s
        "Sampling tile 1 of 6, step 3 of 3; about 15 s left",
    ]
    assert bar == [(0, 18), (10, 18), (12, 18)]
