import math

import pytest

from ugc_sr.score.metrics import CHALLENGE
from ugc_sr.tune.objective import Objective


def test_the_challenge_is_the_part_of_its_sum_that_is_measured():
    assert dict(Objective.parse("challenge").weights) == {"psnr_y": 1.0, "ssim_y": 10.0}
    assert dict(Objective.parse("challenge", ["lpips"]).weights) == {
        name: CHALLENGE[name] for name in ("psnr_y", "ssim_y", "lpips")
    }


def test_it_is_the_weighted_sum():
    objective = Objective.parse("psnr_y=1 ssim_y=10 own_niqe=-0.5")
    assert objective.of({"psnr_y": 30.0, "ssim_y": 0.8, "own_niqe": 4.0, "gmsd": 9.0}) == pytest.approx(36.0)


def test_of_a_metric_that_is_best_near_1_the_distance_counts_either_way():
    objective = Objective.parse("hf_ratio=-2")
    assert objective.of({"hf_ratio": 2.0}) == pytest.approx(objective.of({"hf_ratio": 0.5}))
    assert objective.of({"hf_ratio": 1.0}) == 0 > objective.of({"hf_ratio": 1.1})


def test_the_perceptual_objective_wants_what_looks_near_and_has_no_weave():
    objective = Objective.parse("perceptual", ["st_lpips"])
    assert objective.of({"st_lpips": 0.3, "grid": 1.0}) > objective.of({"st_lpips": 0.4, "grid": 1.0})
    assert objective.of({"st_lpips": 0.3, "grid": 1.0}) > objective.of({"st_lpips": 0.3, "grid": 2.0})


def test_its_text_reads_back():
    objective = Objective.parse("psnr_y=1 own_niqe=-0.25")
    assert Objective.parse(str(objective)) == objective


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("psnr=1", r"No metric 'psnr' is measured here. Measured are psnr_y, ssim_y"),
        ("lpips=-1", r"No metric 'lpips' is measured here; --extra lpips measures it"),
        ("perceptual", r"No metric 'st_lpips' is measured here; pip install .*\[perceptual\]\" brings it"),
        ("seams=-1", r"No metric 'seams' is measured here"),
        ("psnr_y", r'expected "METRIC=WEIGHT", got \'psnr_y\''),
        ("psnr_y=much", r'expected "METRIC=WEIGHT"'),
        ("", r"--objective is empty"),
        ("own_niqe=1", r"own_niqe=1: own_niqe is better lower; its weight must be negative"),
        ("psnr_y=-1", r"psnr_y is better higher; its weight must be positive"),
        ("hf_ratio=1", r"hf_ratio is better near 1; its weight must be negative"),
        ("psnr_y=0", r"must be positive"),
        ("psnr_y=nan", r"must be positive"),
        ("psnr_y=inf", r"must be positive"),
    ],
)
def test_an_objective_that_means_nothing_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Objective.parse(text)


@pytest.mark.parametrize("scores", [{}, {"psnr_y": math.inf}])
def test_a_photo_without_a_finite_value_is_refused(scores):
    with pytest.raises(ValueError, match=r"psnr_y has no finite value here: the result is too small"):
        Objective({"psnr_y": 1.0}).of(scores)
