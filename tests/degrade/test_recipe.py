import json

import pytest
import torch

from ugc_sr.degrade.recipe import Degradation, Draw, apply
from ugc_sr.degrade.recipes import RECIPES


@pytest.fixture
def photo():
    return torch.rand(2, 3, 64, 80)


@pytest.mark.parametrize("name", RECIPES)
def test_a_degradation_replays_to_the_same_pixels_from_its_json(name, photo):
    drawn = RECIPES[name].draw(7)
    replayed = Degradation.from_json(drawn.to_json())
    assert replayed == drawn
    assert torch.equal(apply(replayed, photo), apply(drawn, photo))


@pytest.mark.parametrize("name", RECIPES)
def test_the_result_is_the_shrunk_size_in_8_bit_steps(name, photo):
    lr = apply(RECIPES[name].draw(3), photo)
    assert lr.shape == (2, 3, 16, 20)
    assert lr.min() >= 0
    assert lr.max() <= 1
    torch.testing.assert_close(lr * 255, (lr * 255).round(), atol=1e-4, rtol=0)


def test_other_seeds_draw_other_degradations():
    draws = {RECIPES["ugc"].draw(seed).to_json() for seed in range(20)}
    assert len(draws) == 20


def test_steps_happen_as_often_as_their_probability_says():
    blurred = sum("blur" in RECIPES["ugc"].draw(seed).to_json() for seed in range(1000))
    assert blurred / 1000 == pytest.approx(0.8, abs=0.04)


def test_drawn_numbers_stay_in_their_ranges():
    for seed in range(200):
        for draw in json.loads(RECIPES["mild"].draw(seed).to_json())["draws"]:
            if draw["op"] == "jpeg":
                assert 60 <= draw["parameters"]["quality"] <= 95
                assert isinstance(draw["parameters"]["quality"], int)


def test_a_photo_smaller_than_the_scale_is_refused():
    with pytest.raises(ValueError, match=r"3x40 can't be shrunk by 4"):
        apply(RECIPES["mild"].draw(0), torch.rand(1, 3, 40, 3))


def test_an_unknown_op_is_refused_by_name(photo):
    with pytest.raises(ValueError, match=r"unknown op 'melt'"):
        apply(Degradation("x", 0, 4, (Draw("melt", {}, 0),)), photo)
