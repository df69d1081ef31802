"""`make demo` from its command line, through the real host."""

import json
import subprocess
import sys

import pytest
from PIL import Image

from ugc_sr.restore.demo import WORKFLOW, main, restore, scaled

pytestmark = [pytest.mark.comfy, pytest.mark.slow]


@pytest.fixture
def demo(tmp_path):
    """Runs the command, as `make demo` does, outside the checkout."""

    def run(*arguments):
        command = [sys.executable, "-m", "ugc_sr.restore.demo", *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    return run


def test_it_writes_the_photo_the_comparison_and_the_report(demo, tmp_path):
    lying = Image.linear_gradient("L").resize((24, 40)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn right to see it upright
    lying.save(tmp_path / "phone photo.jpg", exif=exif)
    Image.linear_gradient("L").resize((160, 96)).convert("RGB").save(tmp_path / "gt.png")
    (tmp_path / "out").mkdir()
    for name in ("sr.png", "compare.png", "report.json"):
        (tmp_path / "out" / name).symlink_to(tmp_path / "kept")
    (tmp_path / "kept").write_text("not written through")
    result = demo(
        "--photo", tmp_path / "phone photo.jpg", "--gt", tmp_path / "gt.png", "--out", tmp_path / "out"
    )
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["size"] == {"lr": [40, 24], "gt": [160, 96], "sr": [160, 96]}
    assert report["preset"] == "nano"
    assert report["scale"] == 4
    said = result.stdout.index("40x24 -> 160x96 px, scale 4; about ")
    assert said < result.stdout.index("starting ComfyUI")  # before the work
    assert report["metrics"]["sr"].keys() == report["metrics"]["bicubic"].keys()
    assert report["metrics"]["sr"].keys() == {"lr_consistency", "psnr_y", "ssim_y"}
    assert Image.open(tmp_path / "out" / "sr.png").size == (160, 96)
    assert (tmp_path / "out" / "compare.png").is_file()
    assert (tmp_path / "kept").read_text() == "not written through"


@pytest.fixture
def refused(capsys):
    """Runs the command in this process; gives what it says to an input that it refuses."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments)])
        assert ended.value.code
        return f"{capsys.readouterr().err}{ended.value.code}"

    return run


def test_an_original_of_another_size_is_refused_before_anything_starts(refused, tmp_path):
    Image.new("RGB", (10, 10)).save(tmp_path / "lr.png")
    said = refused("--photo", tmp_path / "lr.png", "--gt", tmp_path / "lr.png", "--out", tmp_path / "out")
    assert "is 10x10 px, but the result of this photo will be 40x40 px" in said
    assert not (tmp_path / "out").exists()


def test_a_scale_that_was_asked_for_is_that_of_the_result(refused, tmp_path):
    Image.new("RGB", (10, 10)).save(tmp_path / "lr.png")
    wrong = ("--photo", tmp_path / "lr.png", "--gt", tmp_path / "lr.png", "--out", tmp_path / "out")
    for scale, message in (
        ("3", "the result of this photo will be 30x30 px"),
        ("auto", "the result of this photo will be 40x40 px"),
        ("0", "must be a number above 0, got 0; or auto"),
    ):
        assert message in refused(*wrong, "--scale", scale)


def test_a_photo_of_a_phone_keeps_its_size():
    graph = json.loads(WORKFLOW.read_text())
    assert scaled(graph, (4000, 3000), None) == (4000, 3000)
    assert scaled(graph, (4000, 3000), 2.0) == (8000, 6000)


def test_a_file_that_is_no_picture_is_refused(tmp_path):
    (tmp_path / "photo.jpg").write_text("no picture")
    with pytest.raises(ValueError, match=r"photo\.jpg: not a photo that can be read; expected one of JPEG"):
        restore(tmp_path / "photo.jpg", tmp_path)


def test_a_photo_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.jpg: there is no such file"):
        restore(tmp_path / "gone.jpg", tmp_path)
