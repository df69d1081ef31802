"""A training step, its saved state, the presets, and the memory plan."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.testing import assert_close

from ugc_sr.train import memory_plan
from ugc_sr.train.checkpoint import read, save, write
from ugc_sr.train.config import Config, changed
from ugc_sr.train.data import Data, Part
from ugc_sr.train.distributed import Distributed
from ugc_sr.train.loop import Trainer, _schedule
from ugc_sr.train.run import run
from ugc_sr.train.stages import PRESETS, Stage, TrainingPreset
from ugc_sr.train.task import Batch, Task, noise_like, seed_of

STAGE = Stage(name="stage", task="none", steps=10, learning_rate=0.1, batch=4, crop=4)


class Line(Task):
    """A linear layer; it fits a line."""

    def __init__(self, width=3):
        super().__init__()
        self.layer = nn.Linear(width, width)
        nn.init.constant_(self.layer.weight, 0.1)
        nn.init.zeros_(self.layer.bias)

    def forward(self, batch):
        return {"loss": (self.layer(batch.lr.mean((2, 3))) - batch.hr.mean((2, 3))).square().mean()}


@pytest.fixture(scope="module")
def processes():
    return Distributed(cpu=True)


def batch(step=0, size=4):
    seeds = tuple(seed_of(0, "stage", step, place) for place in range(size))
    noise = noise_like(torch.empty(size, 3, 4, 4), seeds)
    return Batch(noise, noise.flip(1), seeds, names=tuple(map(str, range(size))), captions=("",) * size)


def weights(task):
    return {name: value.detach().clone() for name, value in task.named_parameters()}


def test_parts_of_a_batch_add_up_to_the_batch(processes):
    once, parts = Line(), Line()
    Trainer(once, STAGE, processes).advance([batch()])
    Trainer(parts, STAGE, processes).advance(batch().split(2))
    assert_close(weights(once), weights(parts))


def test_a_trainer_goes_on_from_its_file(processes, tmp_path):
    stage = replace(STAGE, ema=0.9, schedule="cosine", warmup=3)
    whole, first, second = (Trainer(Line(), stage, processes) for _ in range(3))
    for step in range(6):
        whole.advance([batch(step)])
    for step in range(3):
        first.advance([batch(step)])
    save(tmp_path / "state.safetensors", first.tensors(), first.notes())
    second.load(*read(tmp_path / "state.safetensors"))
    for step in range(3, 6):
        second.advance([batch(step)])
    for name, value in whole.tensors().items():
        assert torch.equal(value, second.tensors()[name]), name


def test_the_average_is_applied_and_removed(processes):
    trainer = Trainer(Line(), replace(STAGE, ema=0.5), processes)
    for step in range(3):
        trainer.advance([batch(step)])
    live, average = weights(trainer.task), trainer.average.weights["layer.weight"].clone()
    with trainer.average.applied():
        assert torch.equal(trainer.task.layer.weight, average)
        assert not torch.equal(average, live["layer.weight"])
    assert_close(weights(trainer.task), live, rtol=0, atol=0)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns_too(processes, precision):
    trainer = Trainer(Line(), replace(STAGE, precision=precision), processes)
    losses = [trainer.advance([batch()])["loss"] for _ in range(20)]
    assert losses[-1] < losses[0] / 2
    assert all(value.dtype == torch.float32 for value in trainer.task.parameters())


def test_the_learning_rate_warms_up_and_cools_down():
    cosine = replace(STAGE, steps=100, warmup=10, schedule="cosine", floor=0.1)
    assert _schedule(0, cosine) == pytest.approx(0.1, rel=1e-3)
    assert _schedule(99, cosine) == pytest.approx(0.1, rel=0.01)
    assert _schedule(54, cosine) == pytest.approx(0.1 + 0.45 * (1 + math.cos(0.54 * math.pi)))
    assert [_schedule(step, replace(STAGE, warmup=2)) for step in range(4)] == [0.5, 1, 1, 1]


def test_a_stage_begins_from_the_averaged_weights_of_the_one_before(tmp_path, processes):
    for name, side in (("hr", 64), ("lr", 16)):
        pixels = np.random.default_rng(0).integers(0, 255, (3, side, side, 3), np.uint8)
        np.save(tmp_path / f"{name}.npy", pixels)
    options = {"width": 4, "blocks": 1}
    first = replace(STAGE, name="first", task="regression", crop=8, ema=0.9, options=options)
    stages = (first, replace(first, name="second", learning_rate=1e-12))
    preset = TrainingPreset("two stages", Data((Part("pairs", path=str(tmp_path)),)), stages)
    run(Config("two", preset, workers=0), tmp_path / "run", processes)
    between, _ = read(tmp_path / "run" / "stages" / "first.safetensors")
    assert_close(load_file(tmp_path / "run" / "last" / "regression.safetensors"), between)


def test_a_file_is_replaced_whole(tmp_path):
    file = tmp_path / "deep" / "state.safetensors"
    write(file, {"x": torch.ones(3)}, {})
    with pytest.raises(ValueError, match="is not a saved state of a run"):
        read(file)
    with pytest.raises(OSError, match="directory"):
        write(file.parent, {"x": torch.ones(3)}, {})
    assert [entry.name for entry in file.parent.iterdir()] == ["state.safetensors"]


# Settings


def test_settings_are_changed_by_name_and_survive_the_way_through_the_file(tmp_path):
    settings = (
        "adapter.steps=7 adapter.learning_rate=1 seed=3 data.semantics=whole adapter.min_snr_gamma=None"
        " adapter.options.null_text=1 adapter.betas=(0.5,0.9)"
    )
    preset = changed(PRESETS["srlab-lite"], settings.split())
    (stage,) = preset.stages
    assert (stage.steps, stage.learning_rate, preset.seed, stage.betas) == (7, 1.0, 3, (0.5, 0.9))
    assert (preset.data.semantics, stage.min_snr_gamma) == ("whole", None)
    assert stage.options["null_text"] == 1.0
    config = Config("srlab-lite", preset)
    config.write(tmp_path)
    assert Config.read(tmp_path) == config


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("adapter.step=7", r"There is no setting 'adapter.step'. At 'step' there are name, task, steps"),
        ("adapter=7", r"There is no setting 'adapter'"),
        ("nothing=7", r"At 'nothing' there are purpose, data, stages, .*adapter"),
        ("adapter.steps=many", r"adapter.steps takes int, such as 90000; got 'many'"),
        ("adapter.steps=0", r"adapter.steps must be more than 0; got 0"),
        (
            "adapter.precision=fp8",
            r"precision 'fp8'; expected one of constant, cosine and one of fp32, bf16, fp16",
        ),
    ],
)
def test_a_setting_that_is_none_is_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        changed(PRESETS["srlab"], [setting])


# Memory


class Tower(Task):
    """Layers whose inputs are all that a backward needs; one is frozen."""

    def __init__(self, depth=8, width=256):
        super().__init__()
        widths = [width] * (depth - 1) + [1]  # so that the loss itself takes next to nothing
        self.layers = nn.ModuleList(nn.Linear(width, out) for out in widths)
        self.layers[0].requires_grad_(False)

    def forward(self, batch):
        x = batch.lr.flatten(1)[:, :256]
        for layer in self.layers:
            x = layer(x)
        return {"loss": x.square().mean()}


def wide(size):
    photo = torch.rand(size, 3, 16, 16)
    return Batch(photo, photo, tuple(range(size)))


def test_the_memory_plan_counts_what_a_step_keeps(processes):
    trainer = Trainer(Tower(), replace(STAGE, ema=0.9), processes)
    before = weights(trainer.task)
    planned = memory_plan.measure(trainer, wide(4096), processes)
    layer, last = 4 * 256 * 257, 4 * 257
    assert planned.weights == 7 * layer + last
    assert planned.gradients == planned.average == planned.optimizer / 2 == 6 * layer + last
    kept = 4 * 4096 * 256
    # the small photo, the inputs of 7 trained layers, and the gradient of one
    assert planned.activations + planned.gradients == pytest.approx((3 + 7 + 1) * kept, rel=0.1)
    assert planned.total == pytest.approx(7 * layer + 3 * 6 * layer + 11 * kept, rel=0.1)
    assert_close(weights(trainer.task), before, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in trainer.task.parameters())


def test_parts_need_less_memory_than_the_batch(processes):
    trainers = [Trainer(Tower(), replace(STAGE, accumulate=count), processes) for count in (1, 4)]
    once, parts = (memory_plan.measure(trainer, wide(4096), processes).activations for trainer in trainers)
    assert once > 2 * parts  # the whole batch is there either way


def test_too_little_room_comes_with_advice():
    plan = memory_plan.MemoryPlan(2**30, 0, 0, 0, activations=2**30, total=2**31)
    assert "What helps" not in memory_plan.table(plan, room=2**32)
    assert "The device has 1.00 GiB. What helps" in memory_plan.table(plan, room=2**30)


def test_srlab_has_the_settings_of_its_authors():
    (stage,) = PRESETS["srlab"].stages
    assert (stage.learning_rate, stage.warmup, stage.schedule) == (5e-5, 500, "constant")
    assert (stage.betas, stage.weight_decay, stage.eps, stage.clip) == ((0.9, 0.999), 1e-2, 1e-8, 1.0)
    assert (stage.precision, stage.crop * 4, stage.batch, stage.steps) == ("fp16", 512, 16, 90_000)
    assert stage.options["null_text"] == 0.5
