"""What every part relies on: files that are whole, and JSON that comes from others."""

import pytest

from ugc_sr.files import parse_json


@pytest.mark.parametrize("text", ['{"a": "\\ud83d\\ude00 é"}', '["😀"]', b'"\xc3\xa9"'])
def test_whole_characters_are_read(text):
    assert parse_json(text)


@pytest.mark.parametrize("text", ['{"a": ["\\ud83d"]}', '{"\\ude00": 1}', '"\\ude00\\ud83d"'])
def test_half_a_character_is_refused(text):
    with pytest.raises(ValueError, match=r"^it holds half a character, '\\ud"):
        parse_json(text)


def test_deep_nesting_is_refused():
    with pytest.raises(ValueError, match=r"^it is nested too deeply"):
        parse_json("[" * 100_000)
