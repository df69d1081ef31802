"""The fonts that draw all letters."""

import ast
import hashlib

import pytest
from PIL import Image, ImageDraw

from ugc_sr.fonts import FACES, font, font_for, missing, shortened
from ugc_sr.restore.server import CHECKOUT

# Of the files, so that a picture has the same pixels in every version.
SHA256 = {
    "Aileron-Regular": "69853909b940023570964e29cffe30da95aea8de3627736b5cd15ab30143169f",
    "DejaVuSans-Bold": "6f7e9540feabdfef32a3bc0fdb87bb77a8b65252ea02fe312bf36f9dabeb28a7",
    "DejaVuSans-Oblique": "f2d4c8d7e4114e450f3091553494af41f5bc8172262e81321497590cea1bcd77",
    "DejaVuSans": "727b175908388256992c7def6aea174e70e17cd3f9b950c813ebafe31cc1a7f7",
    "DejaVuSansMono": "8515b01d09e95d85780801961eadfbb56231095730cebec68401ad23aeddb5e0",
    "DejaVuSerif-Italic": "2b5b22e6f95f1a43b77a43495b5bb3006585e4a594ac72ef230e6e4f250f4bc3",
    "DejaVuSerif": "1e23c390dee76b46c8e00d542b6076a82f61fbb61e138cd01aa15238c312a35c",
}
ENGLISH = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?-+&%$#@()[]{}<>/'\"*=_"
SOURCES = [*CHECKOUT.glob("*.py"), *CHECKOUT.glob("[!.]*/**/*.py")]


@pytest.mark.parametrize("face", FACES)
def test_a_font_is_the_file_that_it_always_was(face):
    assert hashlib.sha256((CHECKOUT / "fonts" / f"{face}.ttf").read_bytes()).hexdigest() == SHA256[face]


@pytest.mark.parametrize("face", FACES)
def test_every_font_has_all_english_letters(face):
    assert missing(font(20, face), ENGLISH) == ""
    assert font(20, face).getlength("WWW") > font(20, face).getlength("i")


def test_letters_that_a_font_lacks_are_named_once():
    assert missing(font(20), "Größe, größer \n 日本 日") == "ßö日本"


def test_text_that_fits_stays_and_other_text_is_cut_to_the_width():
    usual = font_for("text", 20)
    assert shortened(" two\n words ", usual, 500) == "two words"
    for width in (40, 100, 200):
        line = shortened("a long text that goes on and on", usual, width)
        assert line.endswith("...")
        assert usual.getlength(line) <= width


def test_another_font_is_used_only_where_it_has_more_letters():
    texts = ("SR (nano)", "Größe", "ελληνικά", "Привет 日", "日")
    assert {text: font_for(text, 20).getname()[0] for text in texts} == {
        "SR (nano)": "Aileron",
        "Größe": "DejaVu Sans",
        "ελληνικά": "DejaVu Sans",
        "Привет 日": "DejaVu Sans",
        "日": "Aileron",
    }


@pytest.mark.parametrize("text", ["日本語", "عربي", "한국어"])
def test_letters_of_other_scripts_are_drawn_as_boxes(text):
    picture = Image.new("L", (120, 40))
    ImageDraw.Draw(picture).text((4, 4), text, 255, font_for(text, 24))
    left, top, right, bottom = picture.getbbox()
    assert right - left > 20
    assert bottom - top > 10


def test_fonts_are_opened_in_one_place():
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in ("truetype", "load_default"):
                found.add(path.relative_to(CHECKOUT).as_posix())
    assert found == {"fonts/__init__.py"}
