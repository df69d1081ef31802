"""Score Photo and Compare Sheet, as the host calls them."""

import json
import math

import pytest
import torch
from PIL import Image

from ugc_sr.score.extras import Extras
from ugc_sr.score.metrics import evaluate
from ugc_sr.score.seams import tile_borders
from ugc_sr.score.sheet import GAP_PX, PANEL_PX

pytestmark = pytest.mark.comfy


@pytest.fixture
def score(folders):
    """Score Photo; its table and what its JSON says."""
    from ugc_sr.nodes.score_nodes import ScoreImage

    def run(sr, tile_size=0, overlap=256, **references):
        output = ScoreImage.execute(sr, tile_size, overlap, **references)
        table, text, picture = output.result
        assert output.ui["text"] == (table,)
        (shown,) = output.ui["images"]
        with Image.open(folders / "temp" / shown["filename"]) as file:
            assert (file.height, file.width) == picture.shape[1:3]
        return table, json.loads(text, parse_constant=pytest.fail)

    return run


@pytest.fixture
def sheet():
    """Compare Sheet of some pictures."""
    from ugc_sr.nodes.score_nodes import CompareSheet

    def run(*pictures, labels="", crops=2, crop_size=0, find="detail", title=""):
        images = {f"image{number}": picture for number, picture in enumerate(pictures)}
        return CompareSheet.execute(images, labels, crops, crop_size, find, title).result[0]

    return run


def photos(count=1, height=32, width=40):
    """IMAGE of smooth photos, in the levels of a file."""
    coarse = torch.rand(count, 3, height // 8 + 2, width // 8 + 2)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    return (255 * smooth).round().movedim(1, -1) / 255


def small(image):
    """The photos averaged down to a quarter."""
    return torch.nn.functional.avg_pool2d(image.movedim(-1, 1), 4).movedim(1, -1)


def test_the_figures_are_those_of_the_files_that_save_image_writes(score):
    gt = photos()
    sr = (gt + 0.05 * torch.randn_like(gt)).clamp(0, 1)
    lr = small(gt)
    written = [torch.from_numpy((255.0 * image.numpy()).astype("uint8")) for image in (sr, gt, lr)]
    files = [image.movedim(-1, 1).double() / 255 for image in written]
    table, report = score(sr, gt=gt, lr=lr)
    expected = evaluate(files[0], gt=files[1], lr=files[2])
    assert report["mean"] == expected | Extras(["st_lpips"]).measure(files[0], files[1])
    assert {"psnr_y", "ssim_y", "lr_consistency"} <= expected.keys() <= report["protocol"].keys()
    assert f"{expected['psnr_y']:.4f}" in table


def test_a_batch_has_a_line_a_photo_and_one_reference_serves_all(score):
    gt = photos()
    sr = (gt + 0.05 * torch.randn(3, *gt.shape[1:])).clamp(0, 1)
    table, report = score(sr, gt=gt)
    assert [row["name"] for row in report["images"]] == ["photo 1", "photo 2", "photo 3"]
    assert all(name in table for name in ("photo 1", "photo 3", "mean of 3"))
    for index, row in enumerate(report["images"]):
        _, alone = score(sr[index : index + 1], gt=gt)
        assert {"name": row["name"], **alone["mean"]} == row
    values = [row["psnr_y"] for row in report["images"]]
    assert report["mean"]["psnr_y"] == pytest.approx(sum(values) / 3)
    low, high = report["interval"]["psnr_y"]
    assert min(values) <= low <= report["mean"]["psnr_y"] <= high <= max(values)


def test_each_photo_of_a_batch_meets_its_own_original(score):
    gt = photos(2)
    table, report = score(gt, gt=gt)
    assert [row["psnr_y"] for row in report["images"]] == ["inf", "inf"]
    assert report["mean"]["psnr_y"] == report["challenge"]["score"] == "inf"
    assert "inf" in table


def test_the_challenge_line_tells_what_is_missing_and_how_to_measure_it(score):
    gt = photos()
    table, report = score((gt * 0.9), gt=gt)
    assert report["challenge"]["missing"] == ["lpips", "musiq", "maniqa", "clipiqa"]
    assert math.isclose(
        report["challenge"]["score"], report["mean"]["psnr_y"] + 10 * report["mean"]["ssim_y"]
    )
    assert "lpips, musiq, maniqa, clipiqa" in table
    assert "--extra" in table


def test_seams_are_measured_where_the_tiles_of_the_widgets_meet(score):
    sr = photos(1, height=128, width=320)
    _, report = score(sr, tile_size=256, overlap=64)
    borders = tile_borders(128, 320, 256, 64)
    assert report["mean"]["seams"] == evaluate(sr.movedim(-1, 1), borders=borders)["seams"]
    for tile_size in (0, 320):
        assert "seams" not in score(sr, tile_size=tile_size, overlap=64)[1]["protocol"]
    with pytest.raises(ValueError, match=r"^Score Photo: The tiles are 256 px with an overlap of 256 px"):
        score(sr, tile_size=256, overlap=256)


def test_a_fully_opaque_photo_is_scored_as_its_colours(score):
    gt = photos()
    sr = gt * 0.9
    opaque = torch.cat([sr, torch.ones_like(sr[..., :1])], dim=-1)
    assert score(opaque, gt=gt) == score(sr, gt=gt)


@pytest.mark.parametrize("socket", ["sr", "gt", "lr"])
def test_a_partly_transparent_photo_is_refused(score, socket):
    alpha = torch.ones(1, 32, 40, 1)
    alpha[0, 3, 3] = 0.5
    images = {name: photos() for name in ("sr", "gt", "lr")}
    images[socket] = torch.cat([images[socket], alpha], dim=-1)
    message = f"^Score Photo: '{socket}' is partly transparent; .* Put Split Image with Alpha before it"
    with pytest.raises(ValueError, match=message):
        score(**images)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            {"sr": photos(), "gt": photos(1, 16, 20)},
            "'gt' is 20x16 px and 'sr' 40x32 px; expected equal sizes. Connect hr of Degrade Photo",
        ),
        ({"sr": photos(2), "gt": photos(3)}, "'gt' holds 3 photos and 'sr' 2; expected as many, or one for"),
        ({"sr": photos(1), "lr": photos(3)}, "'lr' holds 3 photos and 'sr' 1; expected as many, or one for"),
    ],
)
def test_photos_that_can_not_be_scored_are_refused_in_words_of_the_graph(score, images, message):
    with pytest.raises(ValueError, match=f"^Score Photo: {message}"):
        score(**images)


def test_a_sheet_has_a_column_a_picture_and_one_picture_serves_a_batch(sheet):
    batch, one = photos(2), small(photos())
    both = sheet(one, batch)
    assert both.shape[0] == 2
    assert both.shape[2] == GAP_PX + 2 * (PANEL_PX + GAP_PX)
    for index in range(2):
        alone = sheet(one, batch[index : index + 1])
        assert torch.equal(both[index : index + 1, : alone.shape[1]], alone)


def test_sheets_of_a_batch_are_level_when_one_has_fewer_crops(sheet):
    corner, middle = torch.zeros(2, 1, 64, 160, 3).unbind(0)
    corner[:, ::2, :64] = 1
    middle[:, ::2, 48:112] = 1
    heights = [sheet(picture, crop_size=64).shape[1] for picture in (corner, middle)]
    both = sheet(torch.cat([corner, middle]), crop_size=64)
    assert heights[0] != heights[1]
    assert both.shape[:2] == (2, max(heights))


def test_what_is_transparent_is_laid_on_white(sheet):
    photo = photos()
    faded = torch.cat([photo, torch.full_like(photo[..., :1], 0.5)], dim=-1)
    assert (sheet(faded) - sheet(0.5 * photo + 0.5)).abs().max() < 1.5 / 255


def test_labels_are_given_line_by_line(sheet):
    a, b = photos(), photos()
    assert torch.equal(sheet(a, b), sheet(a, b, labels="picture 1\npicture 2\n"))
    assert torch.equal(sheet(a, b, labels="\n second "), sheet(a, b, labels="picture 1\nsecond"))
    assert not torch.equal(sheet(a, b), sheet(a, b, labels="first"))


@pytest.mark.parametrize(
    ("pictures", "options", "message"),
    [
        ([photos()], {"labels": "a\nb"}, "'labels' has 2 lines for 1 pictures; expected one line a picture"),
        ([photos()], {"find": "difference"}, "One picture alone has no difference. Give another one"),
        ([photos(3), photos(2)], {}, "'image1' holds 2 photos and 'image0' 3; expected as many, or one"),
        ([photos(), photos(1, 40, 32)], {"labels": "a\nb"}, "'b' is 32x40 px, which is another shape than"),
        ([photos(), photos() * torch.nan], {}, "'image1' holds NaN or infinite values"),
    ],
)
def test_pictures_that_can_not_be_compared_are_refused(sheet, pictures, options, message):
    with pytest.raises(ValueError, match=f"^Compare Sheet: {message}"):
        sheet(*pictures, **options)
