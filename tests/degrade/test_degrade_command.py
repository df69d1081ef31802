import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ugc_sr.degrade.__main__ import load, make_pairs
from ugc_sr.degrade.recipe import Degradation, apply
from ugc_sr.degrade.recipes import RECIPES

ROOT = Path(__file__).parents[2]


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 255, (50, 66, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    return [tmp_path / "a.png", tmp_path / "b.png"]


def test_pairs_fit_by_the_scale_and_the_manifest_replays_each(photos, tmp_path):
    make_pairs(photos, tmp_path / "out", RECIPES["ugc"], seed=5)
    lines = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["a.png", "b.png"]
    for line in lines:
        record = json.loads(line)
        hr = load(tmp_path / "out" / "hr" / record["name"])
        lr = load(tmp_path / "out" / "lr" / record["name"])
        assert (hr.shape[2:], lr.shape[2:]) == ((48, 64), (12, 16))
        replay = apply(Degradation.from_json(json.dumps(record["degradation"])), hr)
        assert torch.equal((replay * 255).round(), (lr * 255).round())


def test_the_same_seed_writes_the_same_bytes(photos, tmp_path):
    for run in ("one", "two"):
        make_pairs(photos, tmp_path / run, RECIPES["ugc"], seed=1)
    for file in ("manifest.jsonl", "lr/a.png", "lr/b.png"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_the_demo_photo_is_what_its_recipe_makes_of_the_original():
    hr, lr = load(ROOT / "demo" / "photo_gt.jpg"), load(ROOT / "demo" / "photo.png")
    replay = apply(RECIPES["messenger"].draw(0), hr)
    assert (replay - lr).abs().max() <= 2 / 255  # JPEG decoders differ by a step
