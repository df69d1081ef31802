"""The bundled model's training: its photos, its pairs, its tasks, and the file that comes out."""

import random
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode

from ugc_sr.models.nano import LATENT_CHANNELS, Autoencoder, centres, place, residual
from ugc_sr.train import nano_tasks as training
from ugc_sr.train import pairs as making
from ugc_sr.train import photos as photo_list
from ugc_sr.train.config import Config
from ugc_sr.train.distributed import Distributed
from ugc_sr.train.nano_network import LAST_TIMESTEP, Nano, load_nano, restore
from ugc_sr.train.run import run
from ugc_sr.train.scenes import captioned, dead_leaves
from ugc_sr.train.stages import PRESETS
from ugc_sr.train.task import Batch, Start, seed_of

BUNDLED = Path(photo_list.__file__).parents[1] / "models" / "bundled" / "nano.safetensors"
OPTIONS = {
    "perceptual": 0.1,
    "texture": 0.1,
    "weave": 1.0,
    "teeth": 1.0,
    "calm": 1.0,
    "window": 64,
    "tokens": True,
}


@pytest.fixture(scope="module")
def model():
    """Fresh weights, with an anchor and tokens that do something."""
    model = load_nano(0, None).eval()
    with torch.no_grad():
        for parameter in model.vae.tail.parameters():
            parameter.normal_(0, 0.01, generator=torch.Generator().manual_seed(0))
    return model


def hints(size=2, side=64):
    return torch.rand(size, 3, side, side, generator=torch.Generator().manual_seed(1))


def test_no_held_out_photo_is_trained_on():
    trained = {f"{source.folder}/{name}" for source in photo_list.TRAINING for name in source.names}
    assert trained.isdisjoint(photo.path for photo in photo_list.HELD_OUT.values())
    assert not any("opencv" in path for path in trained)


@pytest.mark.parametrize("scale", making.SCALES)
def test_a_pair_shows_one_place_on_the_canvas_of_prepare_photo(scale):
    side = (making.SIDE_PX + 2 * making.MARGIN_PX) * (2 if scale == 1.5 else 1)
    along = torch.linspace(0.1, 0.9, side)
    clean = torch.stack([along[:, None].expand(-1, side), along.expand(side, -1), along * along[:, None]])[
        None
    ]
    asked = []

    def teacher():
        asked.append(scale)
        return lambda lr: torch.nn.functional.interpolate(lr, scale_factor=4, mode="bicubic")

    made = making.damage(clean, "upload", 3, scale, teacher)
    assert {part.shape for part in made} == {(1, 3, making.SIDE_PX, making.SIDE_PX)}
    assert bool(asked) == (scale in (3, 4))
    hr, hint, target = made
    for part in (hint, target):
        assert (part - hr).mean(dim=(2, 3)).abs().max() < 0.03
        # a shift by one pixel of the smallest photo would change the ramp by more
        ramp = (part - hr)[0, 0].mean(dim=1)
        assert (ramp - ramp.mean()).abs().mean() < 0.01


def test_pairs_are_made_of_their_seed_alone_and_fill_the_count(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 255, (330, 340, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    monkeypatch.setattr(
        making, "_teacher", lambda: lambda lr: torch.nn.functional.interpolate(lr, scale_factor=4)
    )
    jobs = making._jobs([tmp_path / "photo.png"], 7, seed=5)
    assert {job.kind for job in jobs} == {"photo", "leaves", "text"}
    job = replace(jobs[0], kind="photo", count=2)
    first, again = (making._crops(job, making._teacher) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert {side.shape for side in first} == {(2, making.SIDE_PX, making.SIDE_PX, 3)}
    assert not np.array_equal(first[0], making._crops(replace(job, seed=job.seed + 1), making._teacher)[0])
    untaught = making._crops(job, None)
    assert len(untaught) == 2
    assert all(np.array_equal(a, b) for a, b in zip(first, untaught, strict=False))


@pytest.mark.parametrize(("scale", "share"), [(1.0, 0.5), (2.0, 0.5), (3.0, 0.0), (4.0, 0.0)])
def test_half_of_the_crops_at_small_scales_are_of_the_unresized_photo(scale, share):
    native, smaller = (np.full((400, 400, 3), level, np.uint8) for level in (1, 0))
    rng = random.Random(0)
    taken = [making._crop(rng, [native, smaller, smaller], scale)[0, 0, 0] for _ in range(300)]
    assert abs(np.mean(taken) - share) <= 0.2 * share


def test_pictures_too_flat_for_crops_leave_no_gap(tmp_path, monkeypatch):
    monkeypatch.setattr(making, "training_photos", lambda folder: [])
    monkeypatch.setattr(making, "_jobs", lambda photos, count, seed: list(range(4)))
    monkeypatch.setattr(making, "ProcessPoolExecutor", ThreadPoolExecutor)
    monkeypatch.setattr(making, "start_worker", lambda: None)
    side = making.SIDE_PX
    monkeypatch.setattr(
        making,
        "_crops",
        lambda job, teacher: [np.full((2, side, side, 3), job, np.uint8)] * 2 if job % 2 else [],
    )
    making.make_pairs(tmp_path, tmp_path / "made", count=5, seed=0, workers=1, taught=False)
    for name in ("hr", "lr"):
        assert np.load(tmp_path / "made" / f"{name}.npy")[:, 0, 0, 0].tolist() == [1, 1, 3, 3, 1]
    assert not (tmp_path / "made" / "target.npy").exists()


def test_scenes_are_drawn_from_their_seed_alone():
    palette = np.array([[200, 30, 30], [20, 90, 160]], dtype=np.uint8)
    first, again, other = (dead_leaves(seed, 64, palette) for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes() != other.tobytes()
    assert captioned(3, first).tobytes() == captioned(3, again).tobytes() != first.tobytes()


def test_places_are_told_apart_at_the_width_of_a_token():
    waves = place(centres(8), centres(8))[0].flatten(1).T
    distances = torch.cdist(waves, waves) + 10 * torch.eye(64)
    assert distances.min() > 0.3


def test_512_px_cost_at_most_12_gmac():
    model, hint = Nano().eval().requires_grad_(False), hints(1, 512)
    with FlopCounterMode(display=False) as counter:
        restore(model, hint)
    assert 6e9 < counter.get_total_flops() / 2 <= 12e9


@pytest.mark.parametrize("size", [(4, 4), (12, 20), (64, 36)])
def test_an_untrained_autoencoder_gives_the_picture_back(size):
    picture = torch.rand(1, 3, *size) * 2 - 1
    vae = Autoencoder()
    torch.testing.assert_close(vae.decode(vae.encode(picture)), picture)


def test_a_flat_place_gets_less_detail_than_a_rich_one():
    anchor = torch.zeros(1, LATENT_CHANNELS, 16, 16)
    anchor[..., 8:] = torch.randn(1, LATENT_CHANNELS, 16, 8, generator=torch.Generator().manual_seed(0))
    added = residual(torch.ones_like(anchor), anchor)
    assert added[..., 12:].min() > 3 * added[..., :4].max() > 0


@torch.inference_mode()
def test_sharpness_moves_straight_from_the_anchor_to_the_sharpest(model):
    hint = hints()
    truest, half, sharpest = (restore(model, hint, sharpness=s) for s in (0.0, 0.5, 1.0))
    assert not torch.equal(truest, sharpest)
    torch.testing.assert_close(half, (truest + sharpest) / 2)
    torch.testing.assert_close(truest, model.picture(model.anchor(hint)))


def test_errors_of_the_sharp_end_leave_the_anchor_alone(model):
    task = training.RestoreTask(load_nano(0, None), **OPTIONS)
    hint = hints(side=96)
    batch = Batch(hint, hint, (1, 2), target=1 - hint)
    task(batch)["loss"].backward()
    assert task.model.unet.conv_out.weight.grad.any()
    frozen = (task.model.encoder, task.model.vae)
    assert not any(parameter.requires_grad for part in frozen for parameter in part.parameters())


def test_the_sharp_end_is_trained_towards_the_target(model):
    task = training.RestoreTask(model, **OPTIONS)
    hint = hints(side=96)
    base = {name: value.item() for name, value in task(Batch(hint, hint, (1, 2))).items()}
    other = {name: value.item() for name, value in task(Batch(hint, hint, (1, 2), target=1 - hint)).items()}
    assert all(other[name] > 1.2 * base[name] for name in ("l1", "perceptual", "texture"))


def test_a_teacher_s_result_counts_for_four_fifths_beside_the_anchor(model):
    task = training.RestoreTask(model, **OPTIONS)
    hint, other = hints(side=96), hints(side=96).flip(3)
    with torch.no_grad():
        anchor = task.model.picture(task.model.anchor(hint))
        taught = task(Batch(hint, hint, (1, 2), target=other))["l1"]
        aimed_at = 0.2 * anchor + 0.8 * other
        plain = task(Batch(aimed_at, hint, (1, 2)))["l1"]
        untaught = task(Batch(hint, hint, (1, 2), target=hint.clone()))["l1"]
        clean = task(Batch(hint, hint, (1, 2)))["l1"]
    assert taught.item() == pytest.approx(plain.item(), rel=1e-5)
    assert untaught.item() == clean.item() != taught.item()


def test_a_faint_pattern_counts_in_flat_places_and_not_in_busy_ones():
    pattern = 0.002 * (-1.0) ** (torch.arange(32) + torch.arange(32)[:, None])
    flat = torch.full((1, 3, 32, 32), 0.5)
    busy = flat + 50 * pattern
    assert training._in_flat_places(flat + pattern, flat).item() == pytest.approx(0.002, rel=1e-3)
    assert training._in_flat_places(busy + pattern, busy) < 1e-5
    assert training._in_flat_places(busy, busy) == 0


def test_a_weave_is_told_from_noise_of_the_same_strength():
    generator = torch.Generator().manual_seed(0)
    photo = torch.rand(1, 3, 128, 128, generator=generator)
    smooth = torch.nn.functional.avg_pool2d(photo, 9, stride=1, padding=4)
    noise = 0.01 * torch.randn(photo.shape, generator=generator)
    cell = torch.randn(1, 3, 4, 4, generator=generator)
    woven = 0.01 * (cell / cell.std()).repeat(1, 1, 32, 32)
    assert training._weave(smooth, smooth) == 0
    assert training._weave(smooth + woven, smooth) > 3 * training._weave(smooth + noise, smooth)


def test_teeth_that_change_from_edge_to_edge_are_seen_in_small_neighbourhoods():
    edge = torch.zeros(1, 3, 128, 128)
    edge[..., 62:] = 1.0
    sign = torch.tensor((1.0, -1.0)).repeat_interleave(8).repeat(8)[:, None]  # another phase every two cells
    teeth = torch.zeros_like(edge)
    teeth[..., 62:66] = 0.3 * sign * torch.tensor((1.0, -1.0, -1.0, 1.0)).repeat(32)[:, None]
    seen = [training._weave(edge + teeth, edge, cells).item() for cells in (8, training._TEETH_CELLS)]
    assert seen[1] > 1.4 * seen[0] > 0
    assert training._weave(edge, edge, training._TEETH_CELLS) == 0


def test_the_sampler_s_noise_does_not_reach_the_control_net(model):
    assert not model.controlnet.conv_in.weight.any()
    assert not model.controlnet.conv_in.weight.requires_grad


def test_no_tokens_are_read_until_they_are_asked_for(model):
    silent = training.RestoreTask(model, **(OPTIONS | {"tokens": False}))
    assert not silent.tokens(hints(), (1, 2)).any()
    listening = training.RestoreTask(model, **OPTIONS)
    kept = [bool(listening.tokens(hints(1), (seed,)).any()) for seed in range(60)]
    assert 50 < sum(kept) < 60  # those of a few photos are dropped


def test_the_encoder_learns_what_the_trunk_says_of_the_clean_photo():
    task = training.build_reading(None, Start(seed=0))
    clean = hints(3, 128)
    features = task.features(clean)
    assert [x.shape for x in features] == [(3, 64, 512)] * 2
    assert all(x.mean(dim=(0, 1)).abs().max() < 1e-4 for x in features)
    losses = task(Batch(clean, clean, (1, 2, 3)))
    assert 1.5 < losses["loss"].item() < 2.5  # nothing is known yet
    assert not any("_trunk" in name for name, _ in task.named_parameters())


@pytest.mark.parametrize(
    "build",
    [
        training.build_reading,
        partial(training.build_anchor, weave=1.0, harm=1.0),
        partial(training.build_restore, **OPTIONS),
    ],
    ids=("reading", "anchor", "restore"),
)
def test_every_stage_goes_on_from_the_weights_of_the_base(build):
    """A stage that is left out, by one step at no learning rate, must not leave fresh weights behind."""
    base = load_nano(7, BUNDLED).state_dict()
    begun = build(None, Start(seed=3, base=BUNDLED)).state_dict()
    shared = {name.removeprefix("model."): value for name, value in begun.items()}
    shared = {name: value for name, value in shared.items() if name in base}
    assert len(shared) > 10
    assert all(torch.equal(value, base[name]) for name, value in shared.items())


def test_every_part_of_the_bundled_file_was_trained():
    """What is all 0 or all 1 at first, as norms and biases are, has moved."""
    file, fresh = (load_nano(0, base).state_dict() for base in (BUNDLED, None))
    flat = {name for name, value in fresh.items() if value.unique().numel() == 1}
    assert {name.partition(".")[0] for name in flat} >= {"vae", "unet", "controlnet", "encoder"}
    never = {"controlnet.conv_in.weight"}  # zero for good: the ControlNet ignores the sampler's noise
    assert {name for name in flat if torch.equal(file[name], fresh[name])} <= never


@pytest.mark.deep
def test_the_whole_preset_runs_through_the_engine_and_leaves_the_bundled_file(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "pairs").mkdir()
    for side in making.SIDES:
        np.save(tmp_path / "pairs" / f"{side}.npy", rng.integers(0, 255, (4, 264, 264, 3), dtype=np.uint8))
    stages = (*PRESETS["nano-anchor"].stages, *PRESETS["nano"].stages)
    preset = replace(
        PRESETS["nano"],
        validation=1,
        data=PRESETS["nano"].data.at({"pairs": str(tmp_path / "pairs")}),
        stages=tuple(
            replace(stage, steps=2, batch=2, validate_every=0 if stage.name == "reading" else 2)
            for stage in stages
        ),
    )
    config = Config("nano", preset, validate=str(tmp_path / "pairs"), workers=0)
    run(config, tmp_path / "run", Distributed(cpu=True))
    exported = load_file(tmp_path / "run" / "last" / "nano.safetensors")
    wanted = Nano().state_dict()
    wanted["text."] = wanted.pop("text")
    assert {name: w.shape for name, w in exported.items()} == {name: w.shape for name, w in wanted.items()}
    assert all(w.isfinite().all() for w in exported.values())


def test_seeds_place_the_windows_and_the_timesteps():
    seeds = tuple(seed_of(0, "stage", step, 0) for step in range(200))
    timesteps = training._timesteps(seeds)
    assert torch.equal(timesteps, training._timesteps(seeds))
    assert 0.75 < (timesteps == LAST_TIMESTEP).float().mean() < 0.95
    pictures = torch.arange(64.0).view(1, 1, 1, 64).expand(len(seeds), 3, 64, 64)
    cut = training._windows(pictures, seeds, 16)
    assert cut.shape == (200, 3, 16, 16)
    assert {0.0, 48.0} <= set(cut[:, 0, 0, 0].tolist())  # both ends are met


def test_the_anchor_is_trained_alone(model):
    hint = hints()
    task = training.AnchorTask(deepcopy(model), weave=1.0, harm=0.0)
    moved = {name for name, parameter in task.named_parameters() if parameter.requires_grad}
    assert moved
    assert all(name.startswith("model.vae.") for name in moved)
    batch = Batch(hint.flip(0), hint, (1, 2))
    losses = task(batch)
    near = task(Batch(task.restore(hint), hint, (1, 2)))
    assert near["psnr"] < losses["psnr"]
    assert near["weave"] < losses["weave"]


def test_harm_is_what_a_crop_lost_by_restoring(model):
    task = training.AnchorTask(deepcopy(model), weave=0.0, harm=3.0)
    hint = hints()
    clean = Batch(hint, hint, (1, 2))  # any change is harm: from the least error, 2e-5
    lost = task(clean)
    with torch.no_grad():
        apart = task.model.picture(task.model.anchor(hint)) - hint
    luma = torch.einsum("bchw,c->bhw", apart, torch.tensor([0.299, 0.587, 0.114]))
    error = 0.75 * luma.square().mean((1, 2)) + 0.25 * apart.square().mean((1, 2, 3))
    assert lost["harm"].item() == pytest.approx((error / 2e-5 + 1).log().mean().item(), rel=1e-4)
    assert lost["loss"].item() == pytest.approx((lost["psnr"] + 3 * lost["harm"]).item(), rel=1e-5)
    gained = task(Batch(task.restore(hint), hint, (1, 2)))
    assert gained["harm"] == 0


def test_an_error_of_colour_alone_counts_a_quarter():
    clean = torch.full((2, 3, 8, 8), 0.5)
    wrong = clean + 0.1
    wrong[1] = clean[1] + torch.tensor([0.114, 0.0, -0.299]).view(3, 1, 1)  # of the same luma
    assert training._error(wrong, clean).tolist() == pytest.approx([0.01, 0.25 * 0.034132], rel=1e-4)


def test_every_photo_of_training_is_under_a_permissive_licence():
    assert {source.licence for source in photo_list.TRAINING} == {
        "CC-BY-4.0",
        "CC-BY-2.0",
        "CC0-1.0",
        "CC0-1.0 or public domain",
        "free for any use",
    }
