"""Training, damage and scores on a pretended card, as far as it goes: it has no backward pass."""

import importlib.util
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

pytestmark = pytest.mark.comfy


def _tests_of(name):
    file = Path(__file__).parents[1] / "train" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"card_{name}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_srlab = _tests_of("test_srlab")
base_folder, encoder_file, make = _srlab.base_folder, _srlab.encoder_file, _srlab.make  # fixtures


@pytest.fixture
def regression():
    """Builds a small network that has learnt something."""
    from ugc_sr.train.regression import Regression

    def build():
        torch.manual_seed(0)
        task = Regression(width=8, blocks=1)
        torch.nn.init.normal_(task.last.weight, std=0.05)
        return task

    return build


def nano():
    """The task of the bundled model, with weights of its start."""
    from ugc_sr.train.nano_network import load_nano
    from ugc_sr.train.nano_tasks import RestoreTask

    weights = {"perceptual": 0.1, "texture": 0.01, "weave": 1.0, "teeth": 1.0, "calm": 1.0}
    return RestoreTask(load_nano(seed=0, base=None), **weights, window=64, tokens=True)


@pytest.fixture(autouse=True)
def _no_judge_stays_on_the_card():
    from ugc_sr.train.nano_tasks import judge

    yield
    judge.cache_clear()


@pytest.fixture
def batch():
    from ugc_sr.train.task import Batch

    generator = torch.Generator().manual_seed(0)
    hr, lr = (torch.rand(2, 3, side, side, generator=generator) for side in (64, 16))
    return Batch(hr, lr, seeds=(3, 2**62), names=("a", "b"))


@pytest.mark.parametrize(
    "kind", ["regression", *(pytest.param(kind, marks=pytest.mark.deep) for kind in ("srlab", "nano"))]
)
def test_a_task_has_the_same_losses_and_pictures_on_a_card(kind, regression, request, batch, card):
    if kind == "regression":
        build = regression
    elif kind == "nano":
        batch = replace(batch, lr=torch.nn.functional.interpolate(batch.lr, size=batch.hr.shape[2:]))
        build = nano
    else:
        build = partial(request.getfixturevalue("make"), options={"steps": 2})
    with torch.no_grad():
        expected = build().eval()(batch)["loss"].item()
        restored = build().eval().restore(batch.lr, seed=5)
        card("plain")
        task = build().eval().to("cuda")
        loss = task(batch.to(torch.device("cuda")))["loss"]
        assert loss.device.type == "cuda"
        assert loss.item() == pytest.approx(expected, rel=1e-5)
        picture = task.restore(batch.lr.to("cuda"), seed=5)
    assert picture.device.type == "cuda"
    torch.testing.assert_close(picture.cpu(), restored, rtol=0, atol=1e-5)


def test_validation_scores_what_a_card_restores(regression, batch, card):
    from ugc_sr.train.validate import validate

    def scores(device):
        processes = SimpleNamespace(
            device=torch.device(device), rank=0, size=1, is_main=True, gather=lambda rows: rows
        )
        task = regression().to(device)
        return validate(SimpleNamespace(task=task, autocast=nullcontext), batch, processes, sheet=True)

    expected, _ = scores("cpu")
    card("plain")
    found, sheet = scores("cuda")
    assert found == pytest.approx(expected, rel=1e-4)
    assert sheet is not None


@pytest.mark.parametrize(
    "recipe",
    [
        "ugc",
        *(pytest.param(name, marks=pytest.mark.deep) for name in ("mild", "real_esrgan_x4", "bsrgan_x4")),
    ],
)
def test_the_same_seed_damages_a_photo_alike_on_a_card(recipe, card, photos):
    from ugc_sr.degrade.degradation import apply
    from ugc_sr.degrade.recipes import RECIPES

    photo = photos(side=96).movedim(-1, 1).contiguous()
    degradations = [RECIPES[recipe].draw(seed, 4) for seed in range(4)]
    expected = [apply(degradation, photo) for degradation in degradations]
    active = card("plain")
    for degradation, pair in zip(degradations, expected, strict=True):
        made = apply(degradation, photo.to("cuda"))
        for side, same in zip(made, pair, strict=True):
            difference = (side.cpu() - same).abs() * 255
            assert difference.max() < 3, degradation  # a codec may round a level further
            assert difference.mean() < 0.05, degradation
    assert active.count("download")  # codecs are the CPU's


def test_scores_are_those_of_the_cpu(card, photos):
    from ugc_sr.score.metrics import METRICS, evaluate

    gt, lr = (photos(side=side).movedim(-1, 1).contiguous() for side in (192, 48))
    sr = (gt + 0.05 * torch.rand(gt.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    expected = evaluate(sr, gt=gt, lr=lr)
    card("plain")
    found = evaluate(sr.to("cuda"), gt=gt.to("cuda"), lr=lr.to("cuda"))
    assert found == expected
    assert len(found) > len(METRICS) // 2
