import hashlib
import json

import pytest
import torch

from ugc_sr.degrade.dataset.pair_folder import PairFolder
from ugc_sr.degrade.dataset.whole_photo import load_photo
from ugc_sr.degrade.degradation import Degradation, Pair
from ugc_sr.files import replace_file

PAIR = Pair(torch.rand(1, 3, 8, 8).mul(255).round() / 255, torch.rand(1, 3, 2, 2).mul(255).round() / 255)
DEGRADATION = Degradation("mine", seed=7, scale=4, draws=())


def lines(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_a_pair_comes_back_and_its_line_tells_the_hashes_of_its_files(tmp_path):
    with PairFolder(tmp_path / "new") as data:
        data.add("a.png", PAIR, "a.jpg", crop=(1, 2, 8, 8), degradation=DEGRADATION)
    [line] = lines(tmp_path / "new")
    for side, photo in PAIR._asdict().items():
        file = tmp_path / "new" / side / "a.png"
        assert torch.equal(load_photo(file), photo)
        assert line.pop(f"{side}_sha256") == hashlib.sha256(file.read_bytes()).hexdigest()
    assert line.pop("degradation") == json.loads(DEGRADATION.to_json())
    expected = {"name": "a.png", "source": "a.jpg", "origin": "recipe", "recipe": "mine", "seed": 7}
    assert line == {**expected, "crop": [1, 2, 8, 8]}


def test_the_mix_of_origins_is_noted(tmp_path):
    with PairFolder(tmp_path, {"seed": 3}) as data:
        data.add("a.png", PAIR, "a.jpg", degradation=DEGRADATION)
        data.add("b.png", PAIR, "b.jpg", origin="joined")
    with PairFolder(tmp_path) as data:
        data.add("c.png", PAIR, "c.jpg", origin="joined")
    assert json.loads((tmp_path / "dataset.json").read_text()) == {
        "seed": 3,
        "mix": {"joined": 2, "recipe": 1},
    }
    assert [line["name"] for line in lines(tmp_path)] == ["a.png", "b.png", "c.png"]


def test_what_a_killed_run_left_is_cleared_away(tmp_path):
    with PairFolder(tmp_path) as data:
        for name in ("a", "b", "c"):
            data.add(f"{name}.png", PAIR, "x.jpg")
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-9])
    (tmp_path / "hr" / ".d.png.123.part").write_bytes(b"half")
    (tmp_path / "lr" / "a.png").unlink()
    with PairFolder(tmp_path) as data:
        assert list(data.pairs) == ["b.png"]
    assert [line["name"] for line in lines(tmp_path)] == ["b.png"]
    assert not list(tmp_path.glob("**/*.part"))


def test_a_data_set_of_other_settings_is_refused_by_the_name_of_the_setting(tmp_path):
    recipe = {"name": "mine", "steps": []}
    with PairFolder(tmp_path, {"seed": 3, "recipe": recipe}) as data:
        data.add("a.png", PAIR, "a.jpg")
    with pytest.raises(ValueError, match=r"were made with seed 3, these would be with 4\. Use the same"):
        PairFolder(tmp_path, {"seed": 4, "recipe": recipe})
    with pytest.raises(ValueError, match=r"were made with recipe 'mine', .* a changed one of that name"):
        PairFolder(tmp_path, {"seed": 3, "recipe": {**recipe, "steps": [1]}})


def test_a_data_set_has_one_writer(tmp_path):
    with PairFolder(tmp_path), pytest.raises(RuntimeError, match=r"another run is writing there"):
        PairFolder(tmp_path)
    PairFolder(tmp_path).close()


@pytest.mark.parametrize("line", ["no JSON", "[]", '{"nome": "a.png"}', "7"])
def test_a_manifest_that_is_not_ours_is_refused_and_left_as_it_is(tmp_path, line):
    (tmp_path / "manifest.jsonl").write_text(f"{line}\nhalf a line")
    with pytest.raises(ValueError, match=r"manifest\.jsonl, line 1: expected a pair in JSON\. Fix or delete"):
        PairFolder(tmp_path)
    assert (tmp_path / "manifest.jsonl").read_text() == f"{line}\nhalf a line"


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_settings_that_are_not_json_are_refused(tmp_path, content):
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(ValueError, match=r"dataset\.json: expected settings in JSON\. Fix or delete it"):
        PairFolder(tmp_path)


def test_a_file_that_can_not_be_replaced_stays_whole(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match=r"taken"):
        replace_file(tmp_path / "taken", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
