"""A host that lacks memory or disk, is interrupted, or dies: results right or errors clear, files whole."""

import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import signal
import time
import uuid

import numpy as np
import pytest
from PIL import Image

from ugc_sr.restore.api import Client
from ugc_sr.restore.server import find_host, running_host

pytestmark = [pytest.mark.comfy, pytest.mark.deep]

FULL = os.environ.get("UGCSR_FUZZ") == "full"
INTERRUPTS = 40 if FULL else 8
DEATHS = 5 if FULL else 1
STEPS = 4
LONGEST_S = 60


@pytest.fixture
def restored(client, pictures):
    """Runs a restoration; its pixels."""
    return lambda graph: np.asarray(pictures(client.run(graph)["13"])[0], dtype=float)


@pytest.fixture
def again(upload_anew, wide_photo):
    return lambda: upload_anew(wide_photo)


def test_a_host_that_was_started_anew_gives_the_same_bytes(restored, anatomy, again, tmp_path, wide_photo):
    expected = restored(anatomy(again()))
    with running_host(find_host(), tmp_path / "base", cpu=True) as host:
        anew = Client(host.address)
        (picture,) = anew.run(anatomy(anew.upload(wide_photo)))["13"]["images"]
        pixels = np.asarray(Image.open(io.BytesIO(anew.fetch(picture))), dtype=float)
    assert np.array_equal(pixels, expected)


@pytest.mark.parametrize("step", range(STEPS))
def test_out_of_memory_at_any_step_makes_the_tiles_smaller(client, restored, anatomy, again, step):
    def graph():
        made = anatomy(again())
        made["9"]["inputs"]["steps"] = STEPS
        return made

    expected = restored(graph())
    short = graph()
    part = {"part": ["7", 0], "times": 1, "after": step}
    short |= {"90": {"class_type": "ShortModel", "inputs": part}}
    short["9"]["inputs"]["model"] = ["90", 0]
    error = np.square(restored(short) - expected).mean()
    assert 0 < error < 255**2 * 1e-4  # 40 dB; and not the same: it did run short
    assert np.array_equal(restored(graph()), expected)


def test_interrupted_at_any_moment_the_next_photo_is_as_ever(client, restored, anatomy, again):
    expected = restored(anatomy(again()))
    started = time.monotonic()
    assert np.array_equal(restored(anatomy(again())), expected)
    whole_s = time.monotonic() - started
    ends = []
    for attempt in range(INTERRUPTS):
        prompt = str(uuid.uuid4())
        client.queue(anatomy(again()), prompt)
        # Spread evenly, but nowhere exactly.
        time.sleep(whole_s * (attempt + random.random()) / INTERRUPTS)
        client.cancel(prompt)
        ends.append(ended(client, prompt))
        assert np.array_equal(restored(anatomy(again())), expected)
    print(f"interrupted at {INTERRUPTS} moments of {whole_s:.2f} s: {ends.count('cancelled')} in time")
    assert set(ends) <= {"cancelled", "completed"}
    assert "cancelled" in ends


def ended(client, prompt):
    """How a prompt ended."""
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        job = client.job(prompt)
        if job is None:  # taken from the queue before it began
            return "cancelled"
        if job["status"] not in ("pending", "in_progress"):
            return job["status"]
        time.sleep(0.02)
    raise AssertionError(f"not ended after {LONGEST_S} s")


def saving(photo, folder, seed=0):
    """Damages a photo four times and saves the pairs."""
    damage = {"recipe": "upload", "seed": seed, "scale": 2, "sharpen_target": False}
    pair = {"hr": ["3", 3], "lr": ["3", 0], "degradation": ["3", 1]}
    nodes = [
        ("LoadImage", {"image": photo}),
        ("RepeatImageBatch", {"image": ["1", 0], "amount": 4}),
        ("UGCSR_DegradeImage", {"image": ["2", 0], **damage}),
        ("UGCSR_SaveTrainingPairs", {**pair, "folder": folder, "name": "photo"}),
    ]
    return {str(number): {"class_type": kind, "inputs": i} for number, (kind, i) in enumerate(nodes, 1)}


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """A photo that no PNG makes smaller: some hundred kB for each pair."""
    pixels = np.random.default_rng(0).integers(0, 256, (256, 320, 3), dtype=np.uint8)
    file = tmp_path_factory.mktemp("noise") / "noise.png"
    Image.fromarray(pixels).save(file)
    return file


def check_whole(dataset, least):
    """Every file of a data set is whole, and its manifest tells of whole pairs alone."""
    for file in dataset.glob("*/*.png"):
        Image.open(file).load()
    lines = (dataset / "manifest.jsonl").read_text().splitlines(keepends=True)
    pairs = [
        json.loads(line) for line in lines if line.endswith("\n")
    ]  # the last may be half, and is dropped
    for pair in pairs:
        for side in ("hr", "lr"):
            content = (dataset / side / pair["name"]).read_bytes()
            assert pair[f"{side}_sha256"] == hashlib.sha256(content).hexdigest()
    assert len(pairs) >= least
    return len(pairs)


@contextlib.contextmanager
def small_disk(host, limit):
    """No file of the host's may grow beyond a size, as on a full disk."""
    import resource

    before = resource.prlimit(host.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(host.process.pid, resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.prlimit(host.process.pid, resource.RLIMIT_FSIZE, before)


linux = pytest.mark.skipif(
    "not hasattr(__import__('resource'), 'prlimit')", reason="limits of others: Linux alone"
)


@linux
def test_a_full_disk_is_told_and_leaves_whole_pairs(host_server, client, noise):
    dataset = host_server.log.parent / "datasets" / "full"
    name = client.upload(noise)
    client.run(saving(name, "full"))
    with (
        small_disk(host_server, host_server.log.stat().st_size + 60_000),
        pytest.raises(RuntimeError, match=r"^UGCSR_SaveTrainingPairs: .*File too large"),
    ):
        client.run(saving(name, "full", seed=1))
    assert check_whole(dataset, least=4) == 4
    assert not list(dataset.rglob("*.part"))
    client.run(saving(name, "full", seed=2))
    assert check_whole(dataset, least=8) == 8


@linux
def test_a_recipe_that_does_not_fit_on_the_disk_is_told_and_the_one_before_stays(host_server, client):
    def save(change):
        inputs = {"recipe": "upload", "changes": change, "save_as": "mine"}
        return {"1": {"class_type": "UGCSR_EditRecipe", "inputs": inputs}}

    file = host_server.log.parent / "models" / "degradation_recipes" / "mine.json"
    client.run(save("steps[0].probability = 0.5"))
    before, names = file.read_bytes(), set(file.parent.iterdir())
    with (
        small_disk(host_server, 100),
        pytest.raises(RuntimeError, match=r"Edit Recipe: .*mine\.json.*File too large"),
    ):
        client.run(save("steps[0].probability = 0.25"))
    assert file.read_bytes() == before
    assert set(file.parent.iterdir()) == names
    client.run(save("steps[0].probability = 0.25"))
    assert json.loads(file.read_text())["steps"][0]["probability"] == 0.25


@pytest.mark.parametrize("death", range(DEATHS))
def test_a_host_that_is_killed_while_it_writes_leaves_whole_files(
    host_server, client, noise, tmp_path, death
):
    base = tmp_path / "base"
    dataset = base / "datasets" / "set"
    with running_host(find_host(), base, cpu=True) as victim:
        asked = Client(victim.address)
        name = asked.upload(noise)
        for seed in range(20):
            asked.queue(saving(name, "set", seed), str(uuid.uuid4()))
        deadline = time.monotonic() + LONGEST_S
        manifest = dataset / "manifest.jsonl"
        while not (manifest.exists() and manifest.read_bytes().count(b"\n") >= 2):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(random.random())
        os.killpg(victim.process.pid, signal.SIGKILL)
        victim.process.wait()
    found = check_whole(dataset, least=2)
    print(f"killed after {found} pairs; half files: {len(list(dataset.rglob('*.part')))}")

    # Another host goes on with it.
    moved = host_server.log.parent / "datasets" / f"after_{death}"
    shutil.copytree(dataset, moved)
    client.run(saving(client.upload(noise), moved.name, seed=100))
    assert check_whole(moved, least=found + 4) == found + 4
    assert not list(moved.rglob("*.part"))
    assert {file.name for file in (moved / "hr").iterdir()} >= {
        file.name for file in (moved / "lr").iterdir()
    }
