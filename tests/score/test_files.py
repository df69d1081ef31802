import json
import re

import numpy as np
import pytest
from PIL import Image

from ugc_sr.score.__main__ import main
from ugc_sr.score.files import load, report
from ugc_sr.score.metrics import METRICS, evaluate


def picture(seed=0, size=(32, 40), channels=3):
    return np.random.default_rng(seed).integers(0, 256, (*size, channels), dtype=np.uint8)


def save(pixels, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def folders(tmp_path):
    for i, name in enumerate(("a", "b")):
        gt = picture(i, size=(32, 40 + 8 * i))
        save(gt, tmp_path / "gt" / f"{name}.png")
        save(np.roll(gt, 1 + i, axis=0), tmp_path / "sr" / f"{name}.webp", lossless=True)
        save(gt[::4, ::4].copy(), tmp_path / "lr" / f"{name}.png")
    return tmp_path


def scores(capsys, *arguments):
    main([*map(str, arguments), "--json", "-"])
    return json.loads(capsys.readouterr().out)


def test_the_command_prints_what_evaluate_returns(folders, capsys):
    sr, gt, lr = (folders / x for x in ("sr/a.webp", "gt/a.png", "lr/a.png"))
    got = scores(capsys, sr, "--gt", gt, "--lr", lr)
    expected = evaluate(load(sr), load(gt), load(lr))
    assert got["images"] == [{"name": "a.webp", **expected}]
    assert got["mean"] == expected
    assert got["protocol"].keys() == METRICS.keys() - {"ms_ssim_y", "seams"}  # too small, not in tiles
    assert got["protocol"]["psnr_y"]["crop"] == 4


def test_folders_are_matched_by_name_whatever_the_format(folders, capsys):
    got = scores(capsys, folders / "sr", "--gt", folders / "gt", "--lr", folders / "lr")
    assert [row["name"] for row in got["images"]] == ["a.webp", "b.webp"]
    for name in got["protocol"]:
        values = [row[name] for row in got["images"]]
        assert got["mean"][name] == pytest.approx(sum(values) / 2)
    assert got["unscored"] == []


def test_originals_without_a_result_are_named(folders):
    save(picture(), folders / "gt" / "c.png")
    assert report(folders / "sr", gt=folders / "gt")["unscored"] == ["c.png"]


def test_without_an_original_only_the_small_photo_is_compared(folders, capsys):
    assert list(scores(capsys, folders / "sr", "--lr", folders / "lr")["mean"]) == ["lr_consistency"]


def test_equal_files_give_json_that_every_parser_reads(folders, capsys):
    got = scores(capsys, folders / "gt", "--gt", folders / "gt")
    assert got["mean"]["psnr_y"] == got["images"][1]["psnr_rgb"] == "inf"


def test_an_infinite_mean_is_said_in_the_table(folders, capsys):
    main([str(folders / "gt"), "--gt", str(folders / "gt")])
    assert capsys.readouterr().out.splitlines()[-1].split()[3:5] == ["inf", "1.0000"]


def test_a_metric_that_some_are_too_small_for_has_no_mean(folders, capsys):
    for role in ("sr", "gt"):
        save(picture(size=(180, 180)), folders / role / "large.png")
    got = scores(capsys, folders / "sr", "--gt", folders / "gt")
    assert ["ms_ssim_y" in row for row in got["images"]] == [False, False, True]
    assert "ms_ssim_y" not in got["mean"]
    assert got["no_mean"] == ["ms_ssim_y"]
    assert "ms_ssim_y" in got["protocol"]


def test_a_table_has_a_line_for_each_picture_and_the_mean(folders, capsys):
    main([str(folders / "sr"), "--gt", str(folders / "gt")])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["psnr_y", "a.webp", "b.webp", "mean"]
    assert len({len(line) for line in lines}) == 1


def test_json_may_go_to_a_file(folders, capsys):
    target = folders / "scores.json"
    main([str(folders / "sr"), "--gt", str(folders / "gt"), "--json", str(target)])
    assert capsys.readouterr().out == ""
    assert json.loads(target.read_text(encoding="utf-8"))["mean"].keys() >= {"psnr_y", "ssim_y"}


def test_pictures_are_read_upright_and_without_transparency(tmp_path):
    pixels = picture(channels=4)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    turned = load(save(pixels[..., :3], tmp_path / "turned.png", exif=exif))
    assert turned.shape == (1, 3, 40, 32)
    assert np.array_equal(turned[0, 0].numpy() * 255, np.rot90(pixels[..., 0], -1))
    assert np.array_equal(load(save(pixels, tmp_path / "rgba.png"))[0, 2].numpy() * 255, pixels[..., 2])


def test_sixteen_bits_are_refused_rather_than_clipped(tmp_path):
    file = save(np.full((32, 32), 40000, dtype=np.uint16), tmp_path / "deep.png")
    with pytest.raises(ValueError, match=r"deep.png' is stored as I;16; expected 8 bits a channel"):
        load(file)


@pytest.mark.parametrize(
    ("prepare", "arguments", "message"),
    [
        (lambda d: None, ("sr", "--gt", "nowhere"), "no file or folder '.*nowhere'"),
        (lambda d: (d / "none").mkdir(), ("sr", "--gt", "none"), "No pictures in '.*none'; expected .bmp"),
        (lambda d: (d / "gt/b.png").unlink(), ("sr", "--gt", "gt"), "'b.webp' has 0 partners named 'b'"),
        (
            lambda d: save(picture(), d / "gt/a.jpg"),
            ("sr", "--gt", "gt"),
            "has 2 partners named 'a'",
        ),
        (
            lambda d: save(picture(size=(9, 9)), d / "gt/a.png"),
            ("sr", "--gt", "gt"),
            "'a.webp' against .*9x9",
        ),
        (lambda d: (d / "gt/a.png").write_bytes(b"text"), ("sr", "--gt", "gt"), "cannot identify image file"),
        (lambda d: None, ("sr",), "give --gt, --lr or both"),
    ],
)
def test_the_command_says_what_is_wrong_and_fails(folders, capsys, prepare, arguments, message):
    prepare(folders)
    paths = [a if a.startswith("--") else str(folders / a) for a in arguments]
    with pytest.raises(SystemExit) as stop:
        main(paths)
    assert stop.value.code == 2
    assert re.search(message, capsys.readouterr().err)
