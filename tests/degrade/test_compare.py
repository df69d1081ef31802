import argparse
import json
import sys

import pytest
import torch
from PIL import Image

from ugc_sr.degrade.compare_command import add_arguments, compare, main
from ugc_sr.image import resize
from ugc_sr.score.damage import STATISTICS
from ugc_sr.score.pil_image import to_picture


def save(path, noise=0.0, side=48):
    path.parent.mkdir(parents=True, exist_ok=True)
    photo = resize(0.3 + 0.4 * torch.rand(1, 3, 4, 4), side, side)
    to_picture(photo + noise / 255 * torch.randn(1, 1, side, side)).save(path)


@pytest.fixture
def folders(tmp_path):
    for index in range(4):
        save(tmp_path / "a" / f"{index}.png", noise=2 + index)
        save(tmp_path / "b" / "deep" / f"{index}.png", noise=8 + index)
    return tmp_path


def run(*arguments):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return main(parser.parse_args([str(argument) for argument in arguments]))


def test_a_folder_is_at_no_distance_from_itself(folders, capsys):
    assert run(folders / "a", folders / "a", "--json", "-") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["statistics"].keys() == STATISTICS.keys()
    assert all(row["distance"] == 0 for row in report["statistics"].values())


def test_a_report_tells_how_much_noisier_one_folder_is(folders, capsys):
    assert run(folders / "a", folders / "b", "--json", "-") == 0
    report = json.loads(capsys.readouterr().out)
    noise = report["statistics"]["noise"]
    assert noise["a"]["median"] == pytest.approx(3.5, rel=0.2)
    assert noise["b"]["median"] == pytest.approx(9.5, rel=0.2)
    assert noise["distance"] == pytest.approx(6, rel=0.2)
    assert noise["over_iqr"] == pytest.approx(noise["distance"] / noise["b"]["iqr"])
    assert [row["name"] for row in report["photos"]["b"]] == [f"deep/{index}.png" for index in range(4)]


def test_a_table_has_a_line_for_every_statistic(folders, capsys):
    run(folders / "a", folders / "b")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"A: 4 photos of {folders / 'a'}", f"B: 4 photos of {folders / 'b'}"]
    assert [line.split()[0] for line in lines[3:]] == list(STATISTICS)


def test_a_statistic_that_never_varies_has_no_ratio():
    row = dict.fromkeys(STATISTICS, 1.0)
    report = compare([row], [row])
    assert all(statistic["over_iqr"] is None for statistic in report["statistics"].values())


def test_files_that_are_no_photos_are_named_and_the_rest_goes_on(folders, capsys):
    (folders / "a" / "broken.jpg").write_bytes(b"nothing")
    save(folders / "a" / "tiny.png", side=20)
    assert run(folders / "a", folders / "b") == 1
    said = capsys.readouterr()
    assert "A: 4 photos" in said.out
    broken, tiny = said.err.splitlines()
    assert "broken.jpg: not a photo that can be read" in broken
    assert "tiny.png: 20x20 px is too small to measure" in tiny


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("empty", "empty: there are no photos in it"),
        ("gone", "gone: there is no such photo"),
        ("broken", "broken: there is no photo that can be measured"),
    ],
)
def test_a_side_without_photos_is_refused(folders, capsys, folder, message):
    for name in ("empty", "broken"):
        (folders / name).mkdir()
    (folders / "broken" / "x.png").write_bytes(b"nothing")
    assert run(folders / "a", folders / folder) == 2
    assert message in capsys.readouterr().err


def test_a_plot_shows_both_sides(folders):
    pytest.importorskip("matplotlib")
    assert run(folders / "a", folders / "b", "--plot", folders / "plot.png") == 0
    assert Image.open(folders / "plot.png").size == (1600, 700)


def test_without_matplotlib_a_plot_says_what_to_install(folders, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run(folders / "a", folders / "b", "--plot", folders / "plot.png") == 2
    assert 'pip install "ugc-super-resolution[plots]"' in capsys.readouterr().err
