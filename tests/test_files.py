"""What every part relies on: files that are whole, and JSON that comes from others."""

import codecs
import re
from pathlib import Path

import pytest

from ugc_sr.files import parse_json, read_text


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


TEXT = '{"name": "Ölbild 写真 \U0001f4f7"}'


@pytest.mark.parametrize(
    ("mark", "coding"),
    [
        *((b"", coding) for coding in ("utf-8", "utf-8-sig", "utf-16", "utf-32")),
        *((codecs.BOM_UTF16_BE, "utf-16-be"), (codecs.BOM_UTF16_LE, "utf-16-le")),
    ],
)
def test_a_text_is_read_as_windows_writes_it_in_both_orders_of_bytes(tmp_path, mark, coding):
    (tmp_path / "a.json").write_bytes(mark + TEXT.encode(coding))
    assert read_text(tmp_path / "a.json") == TEXT


@pytest.mark.parametrize("content", ["Ölbild".encode("cp1252"), b"\xff\xfe\x00", "{}".encode("utf-16-le")])
def test_a_text_in_another_encoding_is_refused_with_what_to_do(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"^'a.json' is not UTF-8 text. Save it as UTF-8.$"):
        read_text(tmp_path / "a.json")


def test_names_of_files_may_be_no_text(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xff.jpg\n")
    assert read_text(tmp_path / "list.txt", errors="surrogateescape") == "\udcff.jpg\n"


WINDOWS = ("utf-8-sig", "utf-16")


@pytest.mark.parametrize("coding", WINDOWS)
def test_recipes_and_workflows_are_read_as_windows_writes_them(tmp_path, coding):
    from ugc_sr.degrade.pairs_command import find_recipe
    from ugc_sr.degrade.recipes import RECIPES
    from ugc_sr.restore.workflow import SHIPPED, read_graph

    file = tmp_path / "edited.json"
    file.write_text(RECIPES["upload"].to_json(), encoding=coding)
    assert find_recipe(str(file)) == RECIPES["upload"]
    file.write_text(SHIPPED["quickstart"].read_text(encoding="utf-8"), encoding=coding)
    assert read_graph(file)["1"]["class_type"] == "LoadImage"


@pytest.mark.parametrize("coding", WINDOWS)
def test_lists_and_captions_are_read_as_windows_writes_them(tmp_path, coding):
    from PIL import Image

    from ugc_sr.photos.listing import list_photos
    from ugc_sr.train.data.folders import photo_folder
    from ugc_sr.train.data.shards import list_tars

    for name in ("ä.png", "b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "c.tar").write_bytes(b"")
    (tmp_path / "list.txt").write_text("ä.png\r\nb.png\r\n", encoding=coding, newline="")
    assert sorted(list_photos(tmp_path / "list.txt").photos) == ["b.png", "ä.png"]
    (tmp_path / "list.txt").write_text("c.tar\r\n", encoding=coding, newline="")
    assert list_tars(tmp_path / "list.txt") == [tmp_path / "c.tar"]
    (tmp_path / "list.txt").unlink()
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "b.png", "text": "a Café"}', encoding=coding)
    (tmp_path / "ä.txt").write_text("eine Brücke\n", encoding=coding)
    files = photo_folder(tmp_path)
    assert {files.caption(i) for i in range(2)} == {"a Café", "eine Brücke"}


def test_every_text_is_read_in_a_stated_encoding():
    """Without one, Windows reads in its own."""
    root = Path(__file__).parents[1]
    folders = ("degrade", "host", "models", "nodes", "restore", "sample", "score", "train", "tune")
    silent = [
        f"{file.relative_to(root)}: {call}"
        for folder in folders
        for file in (root / folder).rglob("*.py")
        for call in re.findall(r"\.read_text\((?!.*(?:encoding|errors)).*", file.read_text(encoding="utf-8"))
    ]
    assert silent == []
