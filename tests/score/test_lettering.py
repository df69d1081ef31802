"""Fonts for any text."""

from pathlib import Path

import matplotlib
from PIL import ImageFont

from ugc_sr.score import lettering
from ugc_sr.score.lettering import font_for, shortened


def test_text_that_fits_stays_and_other_text_is_cut_to_the_width():
    font = font_for("text", 20)
    assert shortened(" two\n words ", font, 500) == "two words"
    for width in (40, 100, 200):
        line = shortened("a long text that goes on and on", font, width)
        assert line.endswith("...")
        assert font.getlength(line) <= width


def test_another_font_is_used_only_where_it_has_more_letters(monkeypatch):
    dejavu = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    monkeypatch.setattr(lettering, "INSTALLED", ("there is no such font.ttf", str(dejavu)))
    own = ImageFont.load_default(size=20).getname()
    fonts = {text: font_for(text, 20).getname() for text in ("SR (nano)", "Größe", "Привет 日", "日")}
    assert fonts == {
        "SR (nano)": own,
        "Größe": ("DejaVu Sans", "Book"),
        "Привет 日": ("DejaVu Sans", "Book"),
        "日": own,
    }


def test_without_other_fonts_pillows_own_draws_what_it_can(monkeypatch):
    monkeypatch.setattr(lettering, "INSTALLED", ())
    assert font_for("Größe", 20).getlength("Größe") > 0
