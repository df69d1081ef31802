"""The bundled model's training: its photos, its pairs, its three tasks, and the file that comes out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from ugc_sr.degrade.recipes import RECIPES
from ugc_sr.models.nano import PLACE_CHANNELS, UNET, centres, place
from ugc_sr.train import nano as training
from ugc_sr.train import photos as photo_list
from ugc_sr.train.crew import Crew
from ugc_sr.train.pairs import MARGIN_PX, MIX, SCALE, Job, _crops
from ugc_sr.train.presets import PRESETS
from ugc_sr.train.run import Config, run
from ugc_sr.train.scenes import captioned, dead_leaves
from ugc_sr.train.task import Batch, Start, seed_of

SIDE = 64  # LR pixels


def batch(size=2):
    """Photos whose red and green tell the row and the column."""
    along = (torch.arange(SIDE * SCALE) + 0.5) / (SIDE * SCALE)
    hr = torch.stack(
        [along[:, None].expand(-1, len(along)), along.expand(len(along), -1), along * along[:, None]]
    )
    hr = hr.expand(size, -1, -1, -1)
    lr = torch.nn.functional.avg_pool2d(hr, SCALE)
    return Batch(hr, lr, tuple(seed_of(0, "stage", 0, place) for place in range(size)))


def test_no_held_out_photo_is_trained_on():
    trained = {f"{source.folder}/{name}" for source in photo_list.TRAINING for name in source.names}
    assert trained.isdisjoint(photo.path for photo in photo_list.HELD_OUT.values())
    assert not any("opencv" in path for path in trained)


@pytest.mark.parametrize("side", [128, 256])
def test_crops_of_a_photo_have_the_size_that_was_asked_for(tmp_path, side):
    noise = np.random.default_rng(0).integers(0, 255, (300, 320, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    hr, lr = _crops(Job("photo", tmp_path / "photo.png", count=3, side=side, seed=0))
    assert hr.shape == (3, side, side, 3)
    assert lr.shape == (3, side // SCALE, side // SCALE, 3)
    assert MARGIN_PX % SCALE == 0
    assert all(RECIPES[name].scale == SCALE for name in MIX)


def test_scenes_are_drawn_from_their_seed_alone():
    palette = np.array([[200, 30, 30], [20, 90, 160]], dtype=np.uint8)
    first, again, other = (dead_leaves(seed, 64, palette) for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes() != other.tobytes()
    assert captioned(3, first).tobytes() == captioned(3, again).tobytes() != first.tobytes()


def test_tiles_know_where_they_lie_in_what_the_encoder_reads():
    photos = batch(4)
    views = training._views(photos)
    hr, lr, where, cells, seeds = training._tiles(photos, views, (8, 8))
    assert len(set(seeds)) == len(hr) == 8
    for index, (top, left, side) in enumerate(views * 2):
        y, x = (lr[index, c].mean(1 - c) * SIDE - first for c, first in ((0, top), (1, left)))
        torch.testing.assert_close(where[index : index + 1], place(y[None] / side, x[None] / side))
        row, column = (v.unflatten(0, (-1, training.COARSEST)).mean(1) / side * 8 for v in (y, x))
        assert torch.equal(cells[index].view(len(row), -1), row.long()[:, None] * 8 + column.long())
        torch.testing.assert_close(torch.nn.functional.avg_pool2d(hr[index], SCALE), lr[index])


def test_places_are_told_apart_at_the_width_of_a_token():
    waves = place(centres(8), centres(8))[0].flatten(1).T
    distances = torch.cdist(waves, waves) + 10 * torch.eye(64)
    assert distances.min() > 0.3


def test_what_the_encoder_learns_to_read_tells_damage_from_detail():
    generator = torch.Generator().manual_seed(0)
    hr = torch.rand(1, 3, 256, 256, generator=generator)
    hr[..., 128:] = 0.5  # no detail on the right
    clean = torch.nn.functional.avg_pool2d(hr, SCALE)
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=generator)
    told, damaged = (training.describe(hr, lr, (4, 4))[0] for lr in (clean, noisy))
    detail, through, added = told[:9], told[9:11], slice(11, None)
    assert (detail[:, :, :2] > detail[:, :, 2:].max() + 1).all()
    assert (through[:, :, :2] > 0.9).all()
    assert (damaged[added] > told[added] + 1).all()
    assert torch.equal(told[:9], damaged[:9])


def test_strength_rises_with_fine_detail_and_not_with_light():
    picture = 0.4 + 0.1 * torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    plain, brighter, sharper = (
        training.strength(p) for p in (picture, picture + 0.2, training.sharpened(picture, 1.0))
    )
    torch.testing.assert_close(plain, brighter, atol=1e-3, rtol=1e-3)
    assert (sharper > plain + 0.5).all()


def test_a_model_that_knew_no_places_is_taken_up_as_it_was(tmp_path):
    state = training._started(Start(seed=1)).state_dict()
    state["text."] = state.pop("text")
    state["unet.conv_in.weight"] = state["unet.conv_in.weight"][:, :-PLACE_CHANNELS].clone()
    for name in ("unet.conv_out.weight", "unet.conv_out.bias"):
        state[name] = state[name][:-1].clone()
    save_file(state, tmp_path / "v0.safetensors")
    taken = training._started(Start(seed=2, base=tmp_path / "v0.safetensors")).state_dict()
    assert taken["unet.conv_in.weight"].shape[1] == UNET["in_channels"]
    assert not taken["unet.conv_in.weight"][:, -PLACE_CHANNELS:].any()
    assert not taken["unet.conv_out.weight"][-1].any()
    changed = {n for n, w in taken.items() if n in state and not torch.equal(w, state[n])}
    widened = {"unet.conv_in.weight", "unet.conv_out.weight", "unet.conv_out.bias"}
    assert {name for name in changed if "attn2" not in name} == widened
    assert all("image_attentions" in name for name in changed - widened)


def test_the_gain_is_in_the_file_and_not_in_what_is_trained(tmp_path):
    options = {"sharpening": 1.0, "strength": 0.1, "finding": 0.0, "later_step_share": 0.0}
    task = training.RestoreTask(training._started(Start()), gain=0.5, **options)
    trained = task.model.unet.conv_out.weight.detach().clone()
    (file,) = task.export(tmp_path)
    torch.testing.assert_close(
        load_file(file)["unet.conv_out.weight"], torch.cat([trained[:-1] / 2, trained[-1:]]).half()
    )
    assert torch.equal(task.model.unet.conv_out.weight, trained)


@pytest.mark.deep
def test_the_whole_preset_runs_through_the_engine_and_leaves_the_bundled_file(tmp_path):
    rng = np.random.default_rng(0)
    hr = rng.integers(0, 255, (4, SIDE * SCALE, SIDE * SCALE, 3), dtype=np.uint8)
    (tmp_path / "pairs").mkdir()
    np.save(tmp_path / "pairs" / "hr.npy", hr)
    np.save(tmp_path / "pairs" / "lr.npy", hr[:, ::SCALE, ::SCALE])
    smoke = PRESETS["nano-smoke"]
    preset = replace(
        smoke,
        validation=1,
        data=smoke.data.at({"pairs": str(tmp_path / "pairs")}),
        stages=tuple(replace(stage, steps=2, sample_every=0) for stage in smoke.stages),
    )
    config = Config("nano-smoke", preset, validate=str(tmp_path / "pairs"), workers=0)
    run(config, tmp_path / "run", Crew(cpu=True))
    exported = load_file(tmp_path / "run" / "last" / "nano.safetensors")
    wanted = training.Nano().state_dict()
    wanted["text."] = wanted.pop("text")
    assert {name: w.shape for name, w in exported.items()} == {name: w.shape for name, w in wanted.items()}
    assert all(w.isfinite().all() for w in exported.values())
