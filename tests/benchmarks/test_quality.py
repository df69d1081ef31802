"""The table of versions: what it measures on a folder of pairs."""

import pytest
import torch
from PIL import Image
from skimage import data

pytestmark = pytest.mark.comfy

COLUMNS = {"psnr_y", "ssim_y", "st_lpips", "hf_ratio", "grid", "seconds"}


@pytest.fixture
def pairs(tmp_path):
    """Two pairs at scale 2, whose small photos are of another format than their originals."""
    for name, left in (("a", 0), ("b", 200)):
        hr = Image.fromarray(data.astronaut()[100:228, left : left + 160].copy())
        for part, picture, suffix in (("hr", hr, "png"), ("lr", hr.reduce(2), "webp")):
            (tmp_path / part).mkdir(exist_ok=True)
            picture.save(tmp_path / part / f"{name}.{suffix}")
    return tmp_path


def test_every_version_has_a_row_of_medians_over_the_pairs(pairs, tmp_path):
    from benchmarks import quality

    rows = list(quality.run(pairs=[str(pairs)], pictures=str(tmp_path / "sheets")))
    *versions, gained = rows
    assert [row["name"] for row in versions] == [
        "bicubic",
        "nano, true end",
        "nano, as shipped",
        "nano, sharp end",
    ]
    for row in versions:
        assert row.keys() == {"name", "set", "photos", *COLUMNS}
        assert (row["set"], row["photos"]) == (pairs.name, 2)
        assert row["psnr_y"] > 20
    assert rows[2]["hf_ratio"] > rows[0]["hf_ratio"]
    assert (gained["name"], gained["set"]) == ("nano, true end, less: bicubic", pairs.name)
    with Image.open(tmp_path / "sheets" / f"{pairs.name}_worst.jpg") as sheet:
        assert sheet.width > 4 * 400


def test_a_version_equal_to_the_original_has_the_best_of_every_column():
    from benchmarks.quality import medians, scored
    from benchmarks.samples import Sample
    from ugc_sr.score.extras import Extras

    hr = torch.from_numpy(data.coffee()[:160, :160].copy()).movedim(-1, 0)[None].float() / 255
    found = scored(hr, Sample("coffee", hr[..., ::2, ::2], hr), Extras(["st_lpips"]))
    assert found["st_lpips"] == 0
    assert (found["ssim_y"], found["hf_ratio"]) == (pytest.approx(1), 1)
    assert medians([{"st_lpips": 0.1}, {"st_lpips": 0.5}, {"st_lpips": 0.2, "grid": 1.0}]) == {
        "photos": 3,
        "st_lpips": 0.2,
        "grid": 1.0,
    }


def test_the_interval_of_a_gain_holds_what_every_photo_gained():
    from benchmarks.quality import COLUMNS, gains

    def row(value):
        return dict.fromkeys(COLUMNS, value)

    scores = {
        ("ugc", "ours"): {"a": row(3.0), "b": row(5.0)},
        ("ugc", "theirs"): {"a": row(1.0), "b": row(2.0)},
    }
    assert gains(scores, ["ugc"], "theirs", "ours")["psnr_y"] == "2.5000 [2.0000, 3.0000]"


def test_a_photo_that_was_not_damaged_counts_as_50_db():
    from benchmarks.quality import COLUMNS, gains

    scores = {
        ("upload x1", "ours"): {"a": dict.fromkeys(COLUMNS, 46.0)},
        ("upload x1", "theirs"): {"a": dict.fromkeys(COLUMNS, float("inf"))},
    }
    assert gains(scores, ["upload x1"], "theirs", "ours")["psnr_y"] == "-4.0000 [-4.0000, -4.0000]"


@pytest.mark.parametrize(
    ("ours", "gain"),
    [
        ({"st_lpips": 0.35, "psnr_y": 23.5}, 0.5),  # half of each: 23.0 dB
        ({"st_lpips": 0.23, "psnr_y": 22.1}, -0.1),  # nine parts of x4plus: 22.2 dB
        ({"st_lpips": 0.19, "psnr_y": 23.5}, None),  # sharper than x4plus
        ({"st_lpips": 0.51, "psnr_y": 23.5}, None),  # softer than bicubic
        ({"psnr_y": 23.5}, None),  # too small for ST-LPIPS
    ],
)
def test_x4plus_is_softened_until_it_is_as_sharp_as_ours(ours, gain):
    from benchmarks.quality import SHARP, gain_at_equal

    theirs = {"x4plus 0.1": (0.47, 23.8), "x4plus 0.2": (0.44, 23.6), "x4plus 0.3": (0.41, 23.4)}
    theirs |= {"x4plus 0.4": (0.38, 23.2), "x4plus 0.5": (0.35, 23.0), "x4plus 0.6": (0.32, 22.8)}
    theirs |= {"x4plus 0.7": (0.29, 22.6), "x4plus 0.8": (0.26, 22.4), "x4plus 0.9": (0.23, 22.2)}
    theirs |= {"bicubic": (0.5, 24.0), "x4plus": (0.2, 22.0)}
    scores = {("ugc", v): {"a": {"st_lpips": s, "psnr_y": p}} for v, (s, p) in theirs.items()}
    scores["ugc", SHARP] = {"a": ours}
    assert gain_at_equal(scores, "ugc") == {"psnr_y": gain}


def test_pairs_of_other_shapes_are_refused_by_name(pairs):
    from benchmarks import quality

    Image.new("RGB", (80, 50)).save(pairs / "lr" / "a.webp")
    with pytest.raises(ValueError, match=r"a\.webp' enlarged .* is 160x100 px, and the original 160x128"):
        list(quality.run(pairs=[str(pairs)]))


def test_nothing_to_measure_on_is_refused():
    from benchmarks import quality

    with pytest.raises(ValueError, match="Give --photos, --pairs or both"):
        next(quality.run())


def test_each_scale_of_a_recipe_is_a_set(tmp_path, monkeypatch):
    from benchmarks import quality, samples
    from ugc_sr.train.photos import HeldOut

    Image.fromarray(data.astronaut()).save(tmp_path / "astronaut.png")
    monkeypatch.setattr(samples, "SIDE_PX", 192)
    monkeypatch.setattr(samples, "HELD_OUT", {"astronaut": HeldOut("astronaut.png", 1.0)})
    bicubic = {"bicubic": quality.versions(None, peers=False, tokens=False)["bicubic"]}
    monkeypatch.setattr(quality, "load_nano", lambda: None)
    monkeypatch.setattr(quality, "versions", lambda nano, **_: {**bicubic, quality.SHARP: bicubic["bicubic"]})
    rows = list(quality.run(photos=str(tmp_path), recipes=["messenger"], scales=[4, 2, 1]))
    psnr = {row["set"]: row["psnr_y"] for row in rows}
    assert list(psnr) == ["messenger", "messenger x2", "messenger x1"]
    assert psnr["messenger"] < psnr["messenger x2"] < psnr["messenger x1"]
