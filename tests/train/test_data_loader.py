import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image

from ugc_sr.train.data import Data, Loader, Part
from ugc_sr.train.task import seed_of


@pytest.fixture
def data(tmp_path):
    """Six clean photos and six pairs, one of each broken."""
    for seed in range(6):
        pixels = np.random.default_rng(seed).integers(0, 256, (96, 112, 3), dtype=np.uint8)
        for folder, size in (("photos", (112, 96)), ("pairs/hr", (112, 96)), ("pairs/lr", (28, 24))):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).resize(size).save(tmp_path / folder / f"{seed}.png")
    (tmp_path / "photos" / "2.png").write_bytes(b"")
    (tmp_path / "pairs" / "lr" / "4.png").write_bytes(b"\x89PNG")
    return Data(
        (
            Part("photos", 0.5, "mild", str(tmp_path / "photos")),
            Part("pairs", 0.5, path=str(tmp_path / "pairs")),
        )
    )


def loader(data, **changes):
    return Loader(**{"data": data, "seed": 3, "stage": "restore", "batch": 4, "crop": 16, **changes})


def assert_same(left, right):
    for a, b in zip(left, right, strict=True):
        assert (a.names, a.seeds) == (b.names, b.seeds)
        assert torch.equal(a.hr, b.hr)
        assert torch.equal(a.lr, b.lr)


def test_a_batch_is_floats_of_whole_levels_with_the_seeds_of_its_places(data):
    (batch,) = loader(data).steps(5, 6)
    assert (batch.hr.shape, batch.lr.shape) == ((4, 3, 64, 64), (4, 3, 16, 16))
    assert batch.seeds == tuple(seed_of(3, "restore", 5, place) for place in range(4))
    for photo in (batch.hr, batch.lr):
        assert 0 <= photo.min() < photo.max() <= 1
        torch.testing.assert_close(photo * 255, (photo * 255).round(), atol=1e-4, rtol=0)
    assert batch.whole is None
    (batch,) = loader(Data(data.parts, semantics="whole", whole_px=24)).steps(5, 6)
    assert batch.whole.shape == (4, 3, 24, 24)
    assert batch.whole.max() <= 1
    assert len(batch.names) == len(batch.captions) == 4


def test_steps_are_the_same_wherever_one_begins(data):
    assert_same(list(loader(data).steps(0, 7))[4:], loader(data).steps(4, 7))


def test_processes_share_the_global_batch(data):
    whole = [half for batch in loader(data).steps(0, 4) for half in batch.split(2)]
    ranks = (loader(data, rank=rank, world=2).steps(0, 4) for rank in (0, 1))
    assert_same(whole, [half for step in zip(*ranks, strict=True) for half in step])


@pytest.mark.parametrize("change", [{"seed": 4}, {"stage": "polish"}])
def test_another_seed_or_stage_gives_other_samples(data, change):
    (a,), (b,) = loader(data).steps(0, 1), loader(data, **change).steps(0, 1)
    assert not torch.equal(a.hr, b.hr)


def test_workers_change_nothing_and_tell_of_broken_photos(data, tmp_path):
    alone = loader(data, run=tmp_path)
    helped = loader(data, workers=2)
    assert_same(alone.steps(0, 6), helped.steps(0, 6))
    assert helped.skipped == alone.skipped
    assert set(alone.skipped) == {"photos/2", "pairs/4"}


def test_broken_photos_are_named_once_in_the_folder_of_the_run(data, tmp_path):
    for _ in range(2):  # as a run that goes on
        list(loader(data, run=tmp_path).steps(0, 6))
    lines = (tmp_path / "skipped.txt").read_text().splitlines()
    assert sorted(line.split("\t")[0] for line in lines) == ["pairs/4", "photos/2"]
    assert any("2.png: the file is empty" in line for line in lines)


def test_global_random_numbers_are_left_alone(data):
    before = torch.get_rng_state()
    list(loader(data).steps(0, 2))
    assert torch.equal(before, torch.get_rng_state())


def test_nothing_usable_is_told_in_our_words_also_by_a_worker(data, tmp_path):
    for file in (tmp_path / "photos").iterdir():
        file.write_bytes(b"")
    only = Data(data.parts[:1])
    for workers in (0, 1):
        with pytest.raises(RuntimeError, match=r"^32 photos in a row .*\n.*: the file is empty") as caught:
            list(loader(only, workers=workers).steps(0, 1))
        assert "Traceback" not in str(caught.value)


def test_the_mix_is_described(data):
    first, second = loader(data).mix.describe().splitlines()
    assert first.split() == f"50.0% 6 photos in a folder damaged by mild: {data.parts[0].path}".split()
    assert "6 pairs in a folder" in second


@pytest.mark.deep
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for groups")
def test_ctrl_c_ends_the_workers_without_a_word(data):
    """Both the process and its workers get the signal, as from a terminal."""
    script = (
        "import json, sys, time\n"
        "from ugc_sr.train.data import Data, Loader\n"
        "if __name__ == '__main__':\n"
        "    data = Data.from_data(json.loads(sys.argv[1]))\n"
        "    loader = Loader(data, seed=3, stage='s', batch=4, crop=16, workers=2)\n"
        "    try:\n"
        "        for batch in loader.steps(0, 100000):\n"
        "            print('going', flush=True)\n"
        "            time.sleep(0.05)\n"
        "    except KeyboardInterrupt:\n"
        "        print('stopped', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, json.dumps(asdict(data))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "going\n"
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=180)  # which waits for the workers too: they hold the same pipes
    assert out.endswith("stopped\n")
    assert err == ""
