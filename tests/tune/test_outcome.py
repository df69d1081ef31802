"""The front, the curve and the comparison, of trials made up."""

import io

import pytest
from PIL import Image

from ugc_sr.tune.objective import Objective
from ugc_sr.tune.outcome import compare, curve, front, means, pareto
from ugc_sr.tune.study import Trial


def trial(psnr, niqe, hf=0.5):
    return Trial({"KSampler.steps": psnr}, [{"psnr_y": psnr, "own_niqe": niqe, "hf_ratio": hf}])


TRIALS = [trial(30, 5), trial(31, 5), trial(32, 6), trial(29, 4), trial(31, 6), trial(32, 6), trial(28, 9)]


def test_nothing_beats_what_is_on_the_front_and_all_else_is_beaten():
    kept = front(TRIALS, "psnr_y", "own_niqe")
    assert kept == [TRIALS[3], TRIALS[1], TRIALS[2]]
    assert kept[-1] is TRIALS[2]  # the first of two alike

    def beats(one, other):
        (a,), (b,) = one.scores, other.scores
        return a["psnr_y"] >= b["psnr_y"] and a["own_niqe"] <= b["own_niqe"] and a != b

    assert not any(beats(other, one) for one in kept for other in TRIALS)
    assert all(any(beats(one, other) for one in kept) for other in TRIALS if other not in kept)


def test_near_1_is_what_counts_for_a_ratio():
    trials = [trial(30, 5, hf=0.9), trial(30, 5, hf=2.0), trial(31, 5, hf=0.5)]
    assert front(trials, "psnr_y", "hf_ratio") == [trials[0], trials[2]]


def test_every_place_of_the_curve_is_a_trial_of_the_front():
    made = curve("a", TRIALS, "psnr_y", "own_niqe", {"seed": 0})
    assert [point.position for point in made.points] == pytest.approx([0, 2 / 3, 1])
    assert [made.at(x) for x in (0, 0.6, 1)] == [TRIALS[i].values for i in (3, 1, 2)]
    assert made.points[1].figures == means(TRIALS[1].scores)


def test_a_single_trial_is_the_whole_curve():
    made = curve("a", TRIALS[:1], "psnr_y", "own_niqe", {})
    assert made.at(0) == made.at(1) == TRIALS[0].values


def test_the_gain_is_taken_photo_by_photo():
    objective = Objective({"psnr_y": 1.0})
    default = [{"psnr_y": 20.0}, {"psnr_y": 30.0}, {"psnr_y": 40.0}]
    compared = compare(objective, default, [{"psnr_y": row["psnr_y"] + 0.5} for row in default])
    assert compared.gain == compared.interval[0] == compared.interval[1] == pytest.approx(0.5)
    assert compared.beats_default
    assert not compare(objective, default, default).beats_default
    assert compare(objective, default[:1], default[:1]).interval is None


def test_a_metric_that_a_photo_lacks_has_no_mean():
    assert means([{"psnr_y": 30.0, "own_niqe": 5.0}, {"psnr_y": float("inf"), "own_niqe": 6.0}]) == {
        "own_niqe": 5.5
    }
    assert means([{"psnr_y": 30.0, "own_niqe": 5.0}, {"psnr_y": 31.0}]) == {"psnr_y": 30.5}


def test_the_plot_is_a_picture_with_the_preset_and_the_default_in_their_colours():
    picture = Image.open(io.BytesIO(pareto(TRIALS, TRIALS[0], TRIALS[2], "psnr_y", "own_niqe")))
    colours = {colour for _, colour in picture.convert("RGB").getcolors(maxcolors=1 << 20)}
    assert {(0xD9, 0x48, 0x0F), (0x2F, 0x9E, 0x44), (0x0B, 0x6E, 0x99)} <= colours
