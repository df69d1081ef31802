"""Scores of files: pairing, reading, and what a report says of many pictures."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import bootstrap

from ugc_sr.score.extras import EXTRAS
from ugc_sr.score.metrics import CHALLENGE, METRICS, challenge_score, evaluate
from ugc_sr.score.scoring import interval, json_safe, load, matched, partners, report, summary, table
from ugc_sr.score.seams import tile_borders


def pixels(seed=0, size=(32, 40), channels=3):
    return np.random.default_rng(seed).integers(0, 256, (*size, channels), dtype=np.uint8)


def save(array, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def names(found):
    return {result.name: partner.name for result, partner in found.items()}


@pytest.fixture
def folders(tmp_path):
    for i, name in enumerate(("a", "b")):
        gt = pixels(i, size=(32, 40 + 8 * i))
        save(gt, tmp_path / "gt" / f"{name}.png")
        save(np.roll(gt, 1 + i, axis=0), tmp_path / "sr" / f"{name}.webp", lossless=True)
        save(gt[::4, ::4].copy(), tmp_path / "lr" / f"{name}.png")
    return tmp_path


def test_a_report_of_a_file_is_what_evaluate_returns(folders):
    sr, gt, lr = (folders / x for x in ("sr/a.webp", "gt/a.png", "lr/a.png"))
    got = report(sr, gt, lr)
    expected = evaluate(load(sr), load(gt), load(lr))
    assert got["images"] == [{"name": "a.webp", **expected}]
    assert got["mean"] == pytest.approx(expected)
    assert got["protocol"].keys() == expected.keys()
    assert got["protocol"]["psnr_y"]["crop"] == 4
    assert got["interval"] == {}
    assert got["unscored"] == []


def test_without_references_the_metrics_that_need_none_are_left(folders):
    got = report(folders / "sr")
    assert {METRICS[name].reference for name in got["mean"]} == {"nothing"}
    assert got["challenge"] == {"score": None, "missing": list(CHALLENGE)}


def test_two_files_belong_together_whatever_their_names(folders):
    assert names(partners(folders / "sr" / "a.webp", folders / "gt" / "b.png")) == {"a.webp": "b.png"}


def test_originals_without_a_result_are_named(folders):
    save(pixels(), folders / "gt" / "c.png")
    got = report(folders / "sr", gt=folders / "gt")
    assert got["unscored"] == ["c.png"]
    assert "originals without a result: c.png" in table(got)


def test_seams_are_measured_where_a_picture_is_larger_than_a_tile(tmp_path):
    small, large = (
        save(pixels(i, size=(64, width)), tmp_path / f"{i}.png") for i, width in enumerate((64, 160))
    )
    got = report(tmp_path, tiles=(64, 16))
    assert "seams" not in got["images"][0]
    borders = tile_borders(64, 160, tile=64, overlap=16)
    assert got["images"][1]["seams"] == evaluate(load(large), borders=borders)["seams"]
    assert got["no_mean"] == ["seams"]
    with pytest.raises(ValueError, match=r"64x64 px is one tile of 64 px"):
        report(small, tiles=(64, 16))


def test_an_extra_is_measured_and_explained_like_a_metric(folders, monkeypatch):
    monkeypatch.setitem(EXTRAS, "musiq", made_up(lambda sr: 10 * sr.mean(dim=(1, 2, 3))))
    got = report(folders / "sr", extras=["musiq"])
    assert got["images"][0]["musiq"] == pytest.approx(
        10 * load(folders / "sr" / "a.webp").mean().item(), rel=1e-5
    )
    assert got["challenge"]["score"] == pytest.approx(0.1 * got["mean"]["musiq"])
    assert "musiq" not in got["challenge"]["missing"]
    assert got["protocol"]["musiq"]["licence"] == "made up"
    json.dumps(json_safe(got), allow_nan=False)


def made_up(network):
    """An extra whose package is there."""
    return replace(EXTRAS["musiq"], load=lambda: network, package="torch", licence="made up")


def rows(*values, name="psnr_y"):
    return [{"name": str(index), name: value} for index, value in enumerate(values)]


def test_a_mean_is_over_all_pictures_or_over_none():
    scores = summary([{"name": "a", "psnr_y": 20.0, "own_niqe": 5.0}, {"name": "b", "psnr_y": 30.0}])
    assert scores["mean"] == {"psnr_y": 25.0}
    assert scores["no_mean"] == ["own_niqe"]
    assert scores["protocol"].keys() == {"psnr_y", "own_niqe"}


def test_the_challenge_is_the_sum_over_the_means():
    scores = summary(
        [{"name": "a", "psnr_y": 20.0, "ssim_y": 0.5}, {"name": "b", "psnr_y": 30.0, "ssim_y": 0.7}]
    )
    expected, missing = challenge_score({"psnr_y": 25.0, "ssim_y": 0.6})
    assert scores["challenge"] == {"score": pytest.approx(expected), "missing": list(missing)}


def test_an_infinite_value_leaves_an_infinite_mean_without_interval():
    scores = summary(rows(20.0, math.inf, 30.0))
    assert scores["mean"] == {"psnr_y": math.inf}
    assert scores["interval"] == {}
    assert json_safe(scores)["images"][1]["psnr_y"] == "inf"


def test_the_interval_is_the_same_every_time_and_holds_the_mean():
    values = torch.randn(30, dtype=torch.float64).tolist()
    low, high = interval(values)
    assert [low, high] == interval(values)
    assert low < sum(values) / 30 < high


def test_the_interval_is_that_of_scipy():
    values = torch.rand(25, dtype=torch.float64).exp().tolist()
    theirs = bootstrap((values,), np.mean, method="percentile").confidence_interval
    assert interval(values) == pytest.approx([theirs.low, theirs.high], rel=0.01)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.inf]])
def test_too_few_or_infinite_values_have_no_interval(values):
    assert interval(values) is None


def test_equal_values_have_an_interval_without_width():
    assert interval([2.5, 2.5, 2.5]) == [2.5, 2.5]


def test_a_table_of_many_has_a_line_a_picture_and_a_line_a_metric(folders):
    got = report(folders / "sr", gt=folders / "gt")
    per_picture, means, challenge = (block.splitlines() for block in table(got).split("\n\n"))
    assert [line.split()[0] for line in per_picture[1:]] == ["a.webp", "b.webp"]
    assert per_picture[0].split() == [line.split()[0] for line in means[1:]] == list(got["protocol"])
    assert means[0].startswith("mean of 2")
    for block in (per_picture, means):
        assert len({len(line) for line in block}) == 1
    low, high = got["interval"]["psnr_y"]
    assert means[1].split()[1:] == [
        *(f"{got['mean']['psnr_y']:.4f}", f"{low:.4f}", "to", f"{high:.4f}", "higher", "the", "original")
    ]
    assert challenge == [
        f"challenge score {got['challenge']['score']:.4f}, without lpips, musiq, maniqa, clipiqa; "
        "the command takes --gt and --extra"
    ]


def test_a_table_of_one_picture_has_a_line_a_metric_alone(folders):
    text = table(report(folders / "gt" / "a.png", gt=folders / "gt" / "a.png"))
    assert text.splitlines()[0].startswith("a.png ")
    assert text.splitlines()[1].split()[:3] == ["psnr_y", "inf", "-"]


def test_a_table_says_of_what_there_is_no_mean():
    text = table(summary([{"name": "a", "psnr_y": 20.0, "own_niqe": 5.0}, {"name": "b", "psnr_y": 30.0}]))
    assert re.search(r"^b +30\.0000 +-$", text, re.MULTILINE)
    assert re.search(r"^own_niqe +- +- +lower", text, re.MULTILINE)


def test_a_turned_picture_goes_with_an_upright_one(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    array = pixels()
    sr = save(array, tmp_path / "turned.png", exif=exif)
    gt = save(np.rot90(array, -1).copy(), tmp_path / "upright.png")
    assert report(sr, gt=gt)["mean"]["psnr_rgb"] == math.inf


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_fine_where_there_is_none_to_see(tmp_path, mode):
    picture = Image.fromarray(pixels()).convert("RGBA" if mode == "P" else mode)
    file = tmp_path / "opaque.png"
    picture.save(file)
    assert load(file).shape == (1, 3, 32, 40)
    picture.putpixel((3, 4), (*picture.getpixel((3, 4))[:-1], 254))
    (picture.quantize(256) if mode == "P" else picture).save(file)
    with pytest.raises(ValueError, match=r"opaque.png: partly transparent.*Flatten it"):
        load(file)


def test_more_than_eight_bits_are_rounded_by_the_metrics_and_not_clipped(tmp_path):
    deep = pixels(channels=1)[..., 0].astype(np.uint16) * 257
    sr = save(deep + (deep < 65000).astype(np.uint16), tmp_path / "deep.png")
    gt = save(pixels(channels=1)[..., 0], tmp_path / "plain.png")
    assert load(sr).max() == 1
    assert report(sr, gt=gt)["mean"]["psnr_rgb"] == math.inf


def test_only_headers_are_read_to_match(folders):
    file = folders / "gt" / "a.png"
    file.write_bytes(file.read_bytes()[:-100])
    assert len(matched(folders / "sr", gt=folders / "gt")) == 2
