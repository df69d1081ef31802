import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from ugc_sr.degrade.recipes import RECIPES
from ugc_sr.train import photos as photo_list
from ugc_sr.train.loop import fit
from ugc_sr.train.nano import Nano, train
from ugc_sr.train.pairs import HR_PX, MARGIN_PX, SCALE, Job, Pairs, _crops
from ugc_sr.train.presets import PRESETS, Stage
from ugc_sr.train.scenes import captioned, dead_leaves


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    hr = rng.integers(0, 255, (4, HR_PX, HR_PX, 3), dtype=np.uint8)
    np.save(folder / "hr.npy", hr)
    np.save(folder / "lr.npy", hr[:, ::SCALE, ::SCALE])
    return Pairs(folder)


def test_no_held_out_photo_is_trained_on():
    trained = {f"{source.folder}/{name}" for source in photo_list.TRAINING for name in source.names}
    assert trained.isdisjoint(photo.path for photo in photo_list.HELD_OUT.values())
    assert not any("opencv" in path for path in trained)


def test_a_crop_and_its_low_resolution_twin_show_the_same_place(pairs):
    hr, lr = pairs.batch(np.random.default_rng(1), size=8, crop=12)
    assert torch.equal(hr[:, :, ::SCALE, ::SCALE], lr) or _aligned(hr, lr)


def _aligned(hr, lr):
    """A turned crop samples another corner of each 4x4 cell; every LR pixel is still in its cell."""
    cells = hr.unfold(2, SCALE, SCALE).unfold(3, SCALE, SCALE).flatten(4)
    return (cells == lr[..., None]).any(-1).all()


def test_crops_of_a_photo_have_the_size_and_margin_of_the_arrays(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (300, 320, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    hr, lr = _crops(Job("photo", tmp_path / "photo.png", count=3, seed=0))
    assert hr.shape == (3, HR_PX, HR_PX, 3)
    assert lr.shape == (3, HR_PX // SCALE, HR_PX // SCALE, 3)
    assert MARGIN_PX % SCALE == 0
    assert all(recipe.scale == SCALE for recipe in RECIPES.values())


def test_scenes_are_drawn_from_their_seed_alone():
    palette = np.array([[200, 30, 30], [20, 90, 160]], dtype=np.uint8)
    first, again, other = (dead_leaves(seed, 64, palette) for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes() != other.tobytes()
    assert captioned(3, first).tobytes() == captioned(3, again).tobytes() != first.tobytes()


def test_a_resumed_run_ends_in_the_same_weights(tmp_path):
    def run(steps_at_once, folder):
        folder.mkdir()
        for last in steps_at_once:
            network = torch.nn.Linear(3, 3)
            torch.nn.init.constant_(network.weight, 0.1)
            torch.nn.init.zeros_(network.bias)

            def loss(step, network=network, last=last):
                if step == last:
                    raise KeyboardInterrupt
                x = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
                return (network(x) - x).square().mean()

            try:
                average = fit(
                    network,
                    loss,
                    Stage(steps=10, learning_rate=0.1, warmup=2),
                    folder,
                    "stage",
                    save_every_s=0,
                )
            except KeyboardInterrupt:
                continue
        return average.state_dict()

    whole, resumed = run([99], tmp_path / "whole"), run([4, 7, 99], tmp_path / "resumed")
    for key in whole:
        torch.testing.assert_close(whole[key], resumed[key], atol=1e-6, rtol=0)


def test_every_stage_runs_and_leaves_an_averaged_model(tmp_path, pairs):
    preset = PRESETS["nano-smoke"]
    model = train(dataclasses.replace(preset, pairs=4), pairs, tmp_path)
    assert isinstance(model, Nano)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert {file.stem for file in tmp_path.glob("*.safetensors")} == {"anchor", "polish", "restore"}
