"""`make demo` from its command line, through the real host."""

import json
import subprocess
import sys

import pytest
from PIL import Image

from ugc_sr.restore.demo import main, restore

pytestmark = [pytest.mark.comfy, pytest.mark.slow]


def test_it_writes_the_photo_the_comparison_and_the_report(tmp_path):
    """As `make demo` does, outside the checkout."""
    lying = Image.linear_gradient("L").resize((24, 40)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn right to see it upright
    lying.save(tmp_path / "phone photo.jpg", exif=exif)
    Image.linear_gradient("L").resize((160, 96)).convert("RGB").save(tmp_path / "gt.png")
    (tmp_path / "out").mkdir()
    for name in ("sr.png", "compare.png", "report.json"):
        (tmp_path / "out" / name).symlink_to(tmp_path / "kept")
    (tmp_path / "kept").write_text("not written through")
    command = [sys.executable, "-m", "ugc_sr.restore.demo", "--photo", tmp_path / "phone photo.jpg"]
    result = subprocess.run(
        [*command, "--gt", tmp_path / "gt.png", "--out", tmp_path / "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
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


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        ("auto", "is 10x10 px, but the result of this photo will be 40x40 px"),
        ("3", "the result of this photo will be 30x30 px"),
        ("0", "must be a number above 0, got 0; or auto"),
    ],
)
def test_an_original_of_another_size_is_refused_before_anything_starts(tmp_path, capsys, scale, message):
    Image.new("RGB", (10, 10)).save(tmp_path / "lr.png")
    with pytest.raises(SystemExit):
        main(f"--photo {tmp_path}/lr.png --gt {tmp_path}/lr.png --out {tmp_path}/out --scale {scale}".split())
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no picture", r"photo\.jpg: not a photo that can be read; expected one of"), (None, "no such file")],
)
def test_a_file_that_is_no_picture_is_refused(tmp_path, content, message):
    if content:
        (tmp_path / "photo.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        restore(tmp_path / "photo.jpg", tmp_path)
