"""The comparison sheet."""

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageDraw

from ugc_sr.score.sheet import GAP_PX, LABEL_PX, PANEL_PX, PAPER, TALLEST_PX, TITLE_PX, compare, level

SIZE = (420, 210)  # shown at its own size
TOP = LABEL_PX + GAP_PX


@pytest.fixture
def textured():
    """A grey picture with stripes in two corners."""
    picture = Image.new("RGB", SIZE, "grey")
    draw = ImageDraw.Draw(picture)
    for left, top in ((8, 8), (300, 104)):
        for line in range(0, 100, 4):
            draw.line((left, top + line, left + 100, top + line), fill="white")
    return picture


def column(sheet, index, top, height):
    """A part of the sheet, as wide as a picture."""
    left = GAP_PX + index * (PANEL_PX + GAP_PX)
    return sheet.crop((left, top, left + PANEL_PX, top + height))


def crops(sheet, index):
    """Every crop of a column."""
    top = TOP + SIZE[1] + GAP_PX
    step = PANEL_PX + GAP_PX
    return [column(sheet, index, at, PANEL_PX) for at in range(top, sheet.height - step + 1, step)]


def shares(picture):
    """How much of it is white."""
    return (np.asarray(picture) == 255).mean()


def test_crops_hold_the_detail_and_do_not_overlap(textured):
    sheet = compare([("a", Image.new("RGB", SIZE)), ("b", textured)], crops=3, crop_px=100)
    (first, second, third) = crops(sheet, 1)
    assert shares(first) > 0.2
    assert shares(second) > 0.2
    assert shares(third) < 0.1
    assert all(not part.getbbox() for part in crops(sheet, 0))


def test_crops_can_be_taken_where_the_pictures_differ(textured):
    changed = textured.copy()
    changed.paste((200, 0, 0), (180, 20, 240, 80))
    sheet = compare([("a", changed), ("b", textured)], crops=1, crop_px=100, find="difference")
    (crop,) = crops(sheet, 0)
    assert (np.asarray(crop)[..., 0] == 200).mean() == pytest.approx(0.36, abs=0.01)


def test_a_small_picture_is_shown_as_squares_of_its_own_pixels():
    small = Image.frombytes("RGB", (4, 2), np.random.default_rng(0).bytes(24))
    sheet = compare([("lr", small), ("sr", small.resize(SIZE, Image.Resampling.BICUBIC))], crops=0)
    shown = column(sheet, 0, TOP, SIZE[1])
    assert shown.tobytes() == small.resize(SIZE, Image.Resampling.NEAREST).tobytes()


def test_crops_of_a_small_picture_show_the_same_place(textured):
    half = textured.resize((210, 105), Image.Resampling.BOX)
    sheet = compare([("lr", half), ("sr", textured)], crops=2, crop_px=100)
    for small, large in zip(crops(sheet, 0), crops(sheet, 1), strict=True):
        assert np.abs(np.asarray(small).mean((0, 1)) - np.asarray(large).mean((0, 1))).max() < 4


@pytest.mark.parametrize("count", range(1, 9))
def test_a_sheet_has_a_column_a_picture(count):
    small, large = Image.new("RGB", (30, 20)), Image.new("RGB", (120, 80), "white")
    sheet = compare([("same name", large)] * (count - 1) + [("LR", small)])
    assert sheet.width == count * (PANEL_PX + GAP_PX) + GAP_PX


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (2, 900), (900, 2), (97, 96)])
@pytest.mark.parametrize("crop_px", [0, 1, 5000])
def test_pictures_and_crops_of_any_size_have_a_sheet(size, crop_px):
    sheet = compare([("a", Image.new("RGB", size))], crops=4, crop_px=crop_px)
    assert sheet.width == PANEL_PX + 2 * GAP_PX
    assert sheet.height <= TOP + TALLEST_PX + 5 * GAP_PX + 4 * PANEL_PX


def test_without_crops_only_the_whole_pictures_are_shown(textured):
    assert compare([("a", textured)], crops=0).height == TOP + SIZE[1] + GAP_PX


def test_a_title_stands_above_and_moves_the_rest_down(textured):
    plain, titled = compare([("a", textured)]), compare([("a", textured)], title="Two\nlines")
    head = TITLE_PX + 2 * GAP_PX
    below = titled.crop((0, head, titled.width, titled.height))
    assert below.tobytes() == plain.tobytes()
    above = titled.crop((0, 0, titled.width, head))
    assert ImageChops.difference(above, Image.new("RGB", above.size, PAPER)).getbbox()


@pytest.mark.parametrize(
    "label",
    [
        "",
        "日本語 ελληνικά Привет عربي",
        "family 👨‍👩‍👧 e\u0301",
        "\x00\x1b\ud800\uffff\U0010ffff",
        "a\tb",
        "long " * 400,
    ],
)
def test_no_label_runs_into_the_next_column_or_fails(label):
    white = Image.new("RGB", SIZE, "white")
    sheet = compare([(label, white), ("", white)], title=label)
    head = TITLE_PX + 2 * GAP_PX if label.strip() else 0
    gap = sheet.crop((GAP_PX + PANEL_PX, head, 2 * GAP_PX + PANEL_PX, head + LABEL_PX))
    assert not ImageChops.difference(gap, Image.new("RGB", gap.size, PAPER)).getbbox()


def test_sheets_are_made_level_without_changing_what_they_show(textured):
    low, high = compare([("a", textured)], crops=0), compare([("a", textured)], crops=1)
    raised, same = level([low, high])
    assert same.tobytes() == high.tobytes()
    assert raised.size == high.size
    assert raised.crop((0, 0, *low.size)).tobytes() == low.tobytes()
    assert raised.getpixel((50, raised.height - 5)) == PAPER


@pytest.mark.parametrize("size", [(105, 53), (104, 53), (106, 52), (420, 211)])
def test_sizes_that_rounding_explains_are_one_shape(textured, size):
    assert compare([("lr", Image.new("RGB", size)), ("sr", textured)])


def test_another_shape_is_refused(textured):
    with pytest.raises(ValueError, match=r"'lr' is 105x60 px, which is another shape than 420x210 px"):
        compare([("lr", Image.new("RGB", (105, 60))), ("sr", textured)])


def test_one_picture_alone_has_no_difference(textured):
    with pytest.raises(ValueError, match=r"One picture alone has no difference. Give another one"):
        compare([("sr", textured)], find="difference")
