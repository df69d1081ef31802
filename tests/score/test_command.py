"""python -m ugc_sr.score: what it writes where, and how it fails."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ugc_sr.score import scoring
from ugc_sr.score.__main__ import main
from ugc_sr.score.scoring import json_safe, report, table


def picture(seed=0, size=(32, 40), channels=3):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, channels), dtype=np.uint8))


@pytest.fixture
def folders(tmp_path, monkeypatch):
    for role in ("sr", "gt", "lr"):
        (tmp_path / role).mkdir()
    for i, name in enumerate(("a", "b")):
        gt = picture(i)
        gt.save(tmp_path / "gt" / f"{name}.png")
        gt.rotate(180).save(tmp_path / "sr" / f"{name}.webp", lossless=True)
        gt.resize((10, 8)).save(tmp_path / "lr" / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_prints_the_table_of_the_report(folders, capsys):
    main(["sr", "--gt", "gt", "--lr", "lr"])
    expected = table(report(folders / "sr", folders / "gt", folders / "lr", extras=["st_lpips"]))
    assert capsys.readouterr().out == expected


def test_it_prints_clean_json(folders):
    found = subprocess.run(
        [sys.executable, "-m", "ugc_sr.score", "sr", "--gt", "gt", "--json", "-"],
        capture_output=True,
        check=True,
        cwd=folders,
    )
    got = json.loads(found.stdout)
    assert got == json_safe(report(folders / "sr", folders / "gt", extras=["st_lpips"]))
    assert "st_lpips" in got["mean"]


def test_without_its_package_the_table_says_how_to_get_st_lpips(folders, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "stlpips_pytorch", None)
    main(["sr", "--gt", "gt"])
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == 'st_lpips was not measured: pip install "ugc-super-resolution[perceptual]"'


def test_json_may_go_to_a_file(folders, capsys):
    main(["sr", "--json", "scores.json"])
    assert capsys.readouterr().out == ""
    assert json.loads((folders / "scores.json").read_text())["mean"]["blockiness"] > 0


def test_equal_files_give_json_that_every_parser_reads(folders, capsys):
    main(["gt", "--gt", "gt", "--json", "-"])
    got = json.loads(capsys.readouterr().out)
    assert got["mean"]["psnr_y"] == got["images"][1]["psnr_rgb"] == "inf"


def test_seams_need_the_plan_of_the_tiles(folders, capsys):
    picture(size=(64, 200)).save("wide.png")
    main(["wide.png", "--tile", "64", "--overlap", "16", "--json", "-"])
    assert json.loads(capsys.readouterr().out)["mean"]["seams"] > 0


def replaced(file, image):
    return lambda: image.save(file)


BROKEN = {
    "nowhere": (None, "sr --gt nowhere", "nowhere: there is no such photo, folder or list"),
    "empty": (lambda: _folder("none"), "sr --gt none", "none: there are no photos in it"),
    "no pairs": (
        lambda: _folder("others", "x.png", "y.png"),
        "sr --gt others",
        "No picture of 'sr' is named like one of 'others'; expected pairs",
    ),
    "no partner": (
        lambda: _folder("others", "a.png", "y.png"),
        "sr --gt others",
        "'b.webp' has 0 partners of that name in 'others'",
    ),
    "no small photo": (
        lambda: _folder("others", "a.png", "y.png"),
        "sr --gt gt --lr others",
        "'b.webp' has 0 partners of that name in 'others'",
    ),
    "two partners": (
        replaced("gt/a.jpg", picture()),
        "sr --gt gt",
        "has 2 partners of that name in 'gt': a.jpg, a.png",
    ),
    "size": (
        replaced("gt/b.png", picture(size=(9, 9))),
        "sr --gt gt",
        r"'b.webp' is 40x32 px and 'gt/b.png' 9x9; expected equal sizes",
    ),
    "small": (replaced("tiny.png", picture(size=(8, 8))), "tiny.png", "'tiny.png': .*8x8 px"),
    "tile alone": (None, "sr --tile 512", "--tile and --overlap go together"),
    "one tile": (None, "sr --tile 512 --overlap 64", "40x32 px is one tile of 512 px"),
    "overlap": (None, "sr --tile 64 --overlap 64", "an overlap of 64 px"),
    "extra": (None, "sr --extra psnr", "invalid choice: 'psnr'"),
    "extra without original": (None, "sr --extra lpips", "lpips compares with the original"),
    "output folder": (None, "sr --json nowhere/x.json", "no folder 'nowhere' to write 'x.json' into"),
    "output is a folder": (None, "sr --html gt", "'gt' is a folder; give the name of a file"),
}


def _folder(name, *names):
    Path(name).mkdir()
    for file in names:
        picture().save(Path(name, file))


def _write(name, content):
    Path(name).write_bytes(content)


@pytest.mark.parametrize(("prepare", "arguments", "message"), BROKEN.values(), ids=BROKEN)
def test_it_says_what_is_wrong_in_a_line_and_fails(folders, capsys, prepare, arguments, message):
    if prepare:
        prepare()
    with pytest.raises(SystemExit) as stop:
        main(arguments.split())
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(message, err)
    assert err.count("\n") == 1 or err.startswith("usage")


@pytest.mark.parametrize(
    ("prepare", "arguments", "why"),
    [
        (
            replaced("lr/a.png", picture(size=(9, 40))),
            "sr --lr lr",
            r"'a.webp' against 'lr/a.png': .*not an enlargement of a photo of 40x9 px",
        ),
        (
            lambda: _write("gt/a.png", b"text"),
            "sr --gt gt",
            "'a.webp' against .*gt/a.png: not a photo that can",
        ),
        (
            replaced("sr/a.webp", picture(channels=4)),
            "sr --gt gt",
            "sr/a.webp: partly transparent; .*Flatten it",
        ),
    ],
    ids=["shape", "no picture", "transparent"],
)
def test_one_of_several_that_cannot_be_scored_is_named_and_the_rest_goes_on(
    folders, capsys, prepare, arguments, why
):
    prepare()
    with pytest.raises(SystemExit) as stop:
        main(arguments.split())
    assert stop.value.code == 1
    out, err = capsys.readouterr()
    assert re.search(why, err)
    assert err.count("\n") == 1
    assert out.splitlines()[0].startswith("b.webp ")
    assert out.splitlines()[-1] == "not scored: 1 (a.webp)"
    shutil.rmtree("sr")
    Path("sr").mkdir()
    _write("sr/a.webp", b"")
    with pytest.raises(SystemExit) as stop:
        main(["sr"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "'a.webp': sr/a.webp: the file is empty.\n"


def test_what_is_passed_over_is_named_and_leaves_json_alone(folders, capsys):
    _write("sr/notes.txt", b"milk")
    _write("gt/Thumbs.db", b"")
    lines = [
        "sr: passed over, no photos by their names: 1 (notes.txt)",
        "gt: passed over, no photos by their names: 1 (Thumbs.db)",
    ]
    main(["sr", "--gt", "gt"])
    assert capsys.readouterr().out.splitlines()[-2:] == lines
    main(["sr", "--gt", "gt", "--json", "-"])
    out, err = capsys.readouterr()
    assert (json.loads(out)["passed_over"], err.splitlines()) == (lines, lines)
    picture().save("lr/c.png")
    main(["sr", "--lr", "lr"])
    assert capsys.readouterr().out.splitlines()[-2:] == [lines[0], "lr: without a result: 1 (c.png)"]


def test_nothing_is_scored_before_all_is_known_to_fit(folders, monkeypatch):
    monkeypatch.setattr(scoring, "evaluate", lambda *a, **k: pytest.fail("scored"))
    picture(size=(9, 9)).save("gt/b.png")
    for arguments in (["sr", "--gt", "gt"], ["sr", "--html", "nowhere/x.html"], ["sr", "--extra", "lpips"]):
        with pytest.raises(SystemExit):
            main(arguments)


def test_a_folder_without_permission_is_found_out_first(folders, capsys, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    with pytest.raises(SystemExit):
        main(["sr", "--json", "x.json"])
    assert "'x.json' can't be written: no permission in '.'" in capsys.readouterr().err


def test_of_an_animation_the_first_frame_is_scored_and_a_line_says_so(folders, capsys):
    frames = [picture(0), picture(1)]
    frames[0].save("sr/a.webp", save_all=True, append_images=frames[1:], lossless=True)
    main(["sr", "--gt", "gt", "--json", "-"])
    out, err = capsys.readouterr()
    assert err == "sr/a.webp: is animated; the first frame is used.\n"
    assert json.loads(out)["images"][0]["psnr_rgb"] == "inf"
