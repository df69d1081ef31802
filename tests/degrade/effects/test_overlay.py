import random

import pytest
import torch

from ugc_sr.degrade.effects.lettering import STYLES
from ugc_sr.degrade.effects.overlay import caption, sticker
from ugc_sr.degrade.effects.phrases import KINDS, phrase
from ugc_sr.degrade.effects.shapes import SHAPES

GREY = torch.full((1, 3, 96, 64), 0.5)
each_style = pytest.mark.parametrize("style", STYLES)
each_kind = pytest.mark.parametrize("kind", SHAPES)


def touched(image, clean=GREY):
    """Rows and columns that changed: top, bottom, left, right, the last two excluded."""
    changed = (image != clean).any(1).any(0)
    rows, columns = (changed.any(dim).nonzero().flatten().tolist() for dim in (1, 0))
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


def lies_inside(image):
    top, bottom, left, right = touched(image)
    return top >= 2 and left >= 2 and bottom <= 94 and right <= 62


@pytest.mark.parametrize("place", [(0.0, 0.0), (1.0, 1.0), (0.5, 0.3)])
def test_captions_and_stickers_lie_wholly_inside_the_photo(place):
    for style in STYLES:
        assert lies_inside(caption(GREY, "two words", *place, size=0.12, style=style))
    for kind in SHAPES:
        for angle in (0.0, 0.7):
            image = sticker(GREY, kind, *place, size=0.6, angle=angle)
            assert lies_inside(image)
            assert (touched(image)[0] == 3, touched(image)[2] == 3) == (place == (0, 0),) * 2


@each_style
def test_a_long_caption_is_wrapped_and_made_smaller_until_it_fits(style):
    text = "every word of this long caption has to find its place " * 3
    image = caption(GREY, text, 0.5, 0.5, size=0.3, style=style)
    top, bottom, *_ = touched(image)
    assert lies_inside(image)
    assert bottom - top > 30


def test_a_caption_follows_its_place():
    boxes = [touched(caption(GREY, "hi", x, x, 0.1, "plain")) for x in (0.0, 0.5, 1.0)]
    assert boxes[0][0] < boxes[1][0] < boxes[2][0]
    assert boxes[0][2] < boxes[1][2] < boxes[2][2]


@each_style
def test_letters_are_white_with_smooth_edges_and_stand_out(style):
    photo = torch.full((1, 3, 128, 256), 0.6)
    out = caption(photo, "HELLO", 0.5, 0.5, 0.3, style, hue=0.3)
    assert out.max() == pytest.approx(1, abs=1e-5)
    assert out.unique().numel() > 20
    if style != "plain":
        assert out.min() < 0.35


@pytest.mark.parametrize(("hue", "background"), [(0.1, 1.0), (0.75, 0.5)])
def test_a_box_has_letters_that_can_be_read_on_it(hue, background):
    out = caption(torch.full((1, 3, 128, 256), 0.5), "HELLO", 0.5, 0.5, 0.3, "box", hue)
    box = out[..., 40:88, 60:190]
    assert box.mean(1).std() > 0.15
    assert box.amax() >= background


def test_colour_begins_at_half_the_hue():
    white, red = (caption(GREY, "hello", 0.5, 0.5, 0.2, "plain", hue) for hue in (0.49, 0.5))
    assert torch.equal(white[:, 0], white[:, 2])
    assert red[:, 0].max() > 0.9
    assert red[:, 2].min() < 0.35


def test_opacity_fades_a_caption():
    full, half = (caption(GREY, "hello", 0.5, 0.5, 0.2, "shadow", 0.0, alpha) - GREY for alpha in (1.0, 0.5))
    torch.testing.assert_close(half, full / 2)
    assert torch.equal(caption(GREY, "hello", 0.5, 0.5, 0.2, "shadow", 0.0, 0.0), GREY)


@pytest.mark.parametrize("text", ["", "  \n "])
def test_an_empty_caption_changes_nothing(text):
    assert torch.equal(caption(GREY, text, 0.5, 0.5, 0.1, "box"), GREY)


def test_what_is_beyond_white_stays_where_no_overlay_lies():
    out = sticker(GREY + 1, "star", 0.5, 0.5, 0.3)
    assert out[..., 0, 0].eq(1.5).all()
    assert out[..., 48, 32].max() <= 1


@each_kind
def test_a_larger_sticker_covers_more_and_a_turned_one_other_pixels(kind):
    small, large, turned = (
        sticker(GREY, kind, 0.5, 0.5, size, angle, 0.1)
        for size, angle in ((0.3, 0.0), (0.6, 0.0), (0.6, 0.5))
    )
    assert (large != GREY).any(1).sum() > 2.5 * (small != GREY).any(1).sum()
    assert (turned != large).any(1).sum() > 50


@pytest.mark.parametrize("kind", ["price", "badge", "bubble"])
def test_a_sticker_says_its_text(kind):
    one, other = (sticker(GREY, kind, 0.5, 0.5, 0.6, text=text) for text in ("$7", "$88.88"))
    assert not torch.equal(one, other)


def test_edges_of_stickers_have_no_bright_or_dark_fringe():
    """A white shape on white, and a ring of one colour on itself, must not show."""
    white = torch.ones(1, 3, 64, 64)
    assert sticker(white, "bubble", 0.5, 0.5, 0.6, 0.4, text=" ").sub(white).abs().max() < 2 / 255
    ring = sticker(white * 0, "circle", 0.5, 0.5, 0.6, 0.4, hue=0.0)
    colour = ring.amax((0, 2, 3))
    again = sticker(colour.view(1, 3, 1, 1).expand(1, 3, 64, 64), "circle", 0.5, 0.5, 0.6, 0.4, hue=0.0)
    assert (again.amax((0, 2, 3)) - again.amin((0, 2, 3))).max() < 3 / 255


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: caption(GREY, "5 €", 0.5, 0.5, 0.1, "box"), r"the built-in font has no '€' \(text '5 €'\)"),
        (lambda: sticker(GREY, "badge", 0.5, 0.5, 0.3, text="新品"), r"has no '品新' .* Use English letters"),
    ],
)
def test_what_can_not_be_drawn_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("kind", KINDS)
def test_words_replay_and_are_many(kind):
    lines = [phrase(kind, random.Random(seed)) for seed in range(400)]
    assert lines == [phrase(kind, random.Random(seed)) for seed in range(400)]
    assert len(set(lines)) > (300 if kind == "caption" else 60)


def test_words_fit_their_kind_and_the_font():
    rng = random.Random(1)
    lines = {kind: [phrase(kind, rng) for _ in range(300)] for kind in KINDS}
    assert all(line.startswith("#") for line in lines["hashtag"])
    assert all(any(sign.isdigit() for sign in line) for line in lines["price"])
    for line in (line for each in lines.values() for line in each):
        assert line.isascii()
        assert 0 < len(line) < 90
        assert not set("{}") & set(line)
