"""The comparison picture."""

from PIL import Image, ImageDraw

from ugc_sr.score.sheet import GAP_PX, PANEL_PX, _detailed_boxes, compare


def test_the_zoomed_boxes_hold_the_detail_and_do_not_overlap():
    picture = Image.new("RGB", (800, 600), "grey")
    draw = ImageDraw.Draw(picture)
    for left, top in ((40, 50), (600, 400)):
        for line in range(0, 100, 4):
            draw.line((left, top + line, left + 100, top + line), fill="white")
    (a, b) = _detailed_boxes(picture)
    assert {(box[0] < 0.5, box[1] < 0.5) for box in (a, b)} == {(True, True), (False, False)}


def test_a_sheet_has_a_column_a_version_whatever_their_sizes():
    small, large = Image.new("RGB", (30, 20)), Image.new("RGB", (120, 80), "white")
    sheet = compare({"LR": small, "Bicubic": large, "SR": large}, detail_of="SR")
    assert sheet.width == 3 * (PANEL_PX + GAP_PX) + GAP_PX


def test_a_photo_of_one_pixel_has_a_sheet_too():
    pixel = Image.new("RGB", (1, 1))
    assert compare({"LR": pixel, "SR": pixel}, detail_of="SR").width == 2 * (PANEL_PX + GAP_PX) + GAP_PX
