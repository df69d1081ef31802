"""Names from prompts, manifests and command lines: nothing is written outside of their folder."""

import json
import os
import unicodedata

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from ugc_sr.degrade.__main__ import main as degrade
from ugc_sr.degrade.dataset.pairs import PairFolder
from ugc_sr.files import replace_file
from ugc_sr.models.__main__ import main as models
from ugc_sr.score.__main__ import main as score

same_file = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

HOSTILE = [
    *("..", "../x", "a/../../x", "a/../b", "./x", "~", "~root/x", "/etc/x", "//host/share"),
    *("\\\\host\\share", "..\\x", "a\\..\\..\\x", "C:x", "C:\\x", "a:stream", "x.", "x "),
    *("x\0y", "x\ny", "\x7f", "", "*", "a?b", "<x>", 'a"b', "a|b", "-rf", "$HOME", "`id`", "{x}"),
    *("CON", "con.json", "NUL", "aux.txt", "COM1", "COM¹", "lpt9.x", "CONIN$", "PRN .a", "%2e%2e/x"),
    *("\uff2e\uff35\uff2c"),
    *("a" * 4096, "ä" * 200, "a/" * 2000 + "a", "\u202egnp.exe", "a\u200b", "\ud800"),
    *("\uff0e\uff0e", "\uff0e\uff0e\uff0fx", "a\uff0f..\uff0fx"),  # wide dots and slashes
]
NAMES = (
    st.sampled_from(HOSTILE)
    | st.text(max_size=40)
    | st.lists(st.sampled_from([*HOSTILE, "a"]), max_size=4).map("/".join)
)
PAIR = torch.rand(1, 16, 16, 3)


def everything(folder):
    return set(folder.rglob("*"))


@pytest.fixture
def base(tmp_path, monkeypatch):
    """A ComfyUI whose folders lie below one; what stands beside them must stay as it is."""
    import folder_paths

    root = tmp_path / "comfy"
    for folder in ("datasets", "models"):
        (root / folder).mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.json").write_text("{}")
    monkeypatch.setattr(folder_paths, "base_path", str(root))
    monkeypatch.setattr(folder_paths, "models_dir", str(root / "models"))
    kinds = ("detection", "sam2", "model_patches", "controlnet")
    places = {kind: ([str(root / "models" / kind)], {".safetensors"}) for kind in kinds}
    places["datasets"] = ([str(root / "datasets")], set())
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", places)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    monkeypatch.chdir(tmp_path)
    return root


def portable(name):
    plain = unicodedata.normalize("NFKC", name)
    return plain == plain.rstrip(". ") and plain.isprintable() and not set('<>:"|?*\\') & set(plain)


@pytest.mark.comfy
@same_file
@example("my_pairs", "photo")
@given(NAMES, NAMES)
def test_save_training_pairs_writes_below_the_data_sets_or_not_at_all(base, refusal, folder, name):
    from ugc_sr.degrade.recipes import RECIPES
    from ugc_sr.nodes.pairs import SaveTrainingPairs

    made = (RECIPES["upload"].draw(1, 1),)
    before, kept = everything(base.parent), everything(base / "datasets")
    refusal(SaveTrainingPairs.execute, PAIR, PAIR, made, folder, name, errors=(ValueError, RuntimeError))
    new = everything(base.parent) - before
    assert all((base / "datasets") in path.parents for path in new)
    for path in everything(base / "datasets") - kept:
        assert portable(path.name)
        assert len(os.fsencode(path.name)) <= 255
    if (folder, name) == ("my_pairs", "photo"):
        assert (base / "datasets" / "my_pairs" / "lr" / "photo_00001.png").is_file()


@pytest.mark.comfy
@same_file
@example("mine")
@given(NAMES)
def test_edit_recipe_saves_among_the_recipes_or_not_at_all(base, refusal, name):
    from ugc_sr.nodes.recipes import EditRecipe

    before = everything(base.parent)
    refusal(EditRecipe.execute, "upload", "scale = 2", name)
    new = everything(base.parent) - before - {base / "models" / "degradation_recipes"}
    assert all(path.parent == base / "models" / "degradation_recipes" and portable(path.name) for path in new)
    if name == "mine":
        assert new


@pytest.mark.comfy
@same_file
@example("../../../outside/secret.json")
@given(NAMES)
def test_no_name_of_a_recipe_or_of_weights_reads_a_file_elsewhere(base, refusal, name):
    from ugc_sr.host import folders, paths

    assert refusal(folders.find_recipe, name)
    for kind in paths.KINDS:
        assert refusal(paths.load_weights, kind, name)


@pytest.mark.comfy
@pytest.mark.parametrize("part", ["hr", "lr", "manifest.jsonl", "dataset.json"])
def test_links_inside_a_data_set_are_not_written_through(base, refusal, part):
    from ugc_sr.degrade.recipes import RECIPES
    from ugc_sr.nodes.pairs import SaveTrainingPairs

    outside, data = base.parent / "outside", base / "datasets" / "got"
    data.mkdir()
    (outside / ".old.part").write_text("kept")
    before = {path: path.read_text() for path in outside.iterdir()}
    (data / part).symlink_to(outside if part in ("hr", "lr") else outside / "secret.json")
    made = (RECIPES["upload"].draw(1, 1),)
    words = refusal(SaveTrainingPairs.execute, PAIR, PAIR, made, "got", "p", errors=(RuntimeError,))
    assert {path: path.read_text() for path in outside.iterdir()} == before
    assert words is None if part == "dataset.json" else "a link, which could lead anywhere" in words


def test_a_file_is_replaced_and_never_written_through_a_link(tmp_path):
    (tmp_path / "real").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    replace_file(tmp_path / "link", b"new")
    assert (tmp_path / "real").read_text() == "kept"
    assert (tmp_path / "link").read_bytes() == b"new"
    assert not (tmp_path / "link").is_symlink()


def test_the_longest_name_that_a_disk_takes_can_be_replaced(tmp_path):
    replace_file(tmp_path / ("a" * 255), b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["a" * 255]


@same_file
@given(st.sampled_from([name for name in HOSTILE if "\0" not in name]))
def test_a_manifests_names_lead_nowhere(tmp_path, refusal, name):
    line = {"name": name, "source": name, "origin": "recipe", "seed": 1}
    (tmp_path / "set").mkdir(exist_ok=True)
    (tmp_path / "set" / "manifest.jsonl").write_text(json.dumps(line) + "\n")
    (tmp_path / "victim").touch()
    before = everything(tmp_path.parent)

    def open_folder():
        with PairFolder(tmp_path / "set"):
            pass

    refusal(open_folder)
    assert all(tmp_path / "set" in path.parents for path in everything(tmp_path.parent) ^ before)


@pytest.mark.parametrize(
    "name", ["%2e%2e%2fx", "con", "a\u202eb", "ä" * 60, "x" * 200, " lead", "a;b", "$(id)", "-n"]
)
def test_photos_of_any_name_stay_inside_of_the_data_set(tmp_path, told, name):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (16, 16), (9, 99, 199)).save(tmp_path / "in" / f"{name}.png")
    status, said = told(degrade, tmp_path / "in", tmp_path / "out", "--recipe", "upload", "--workers", 1)
    assert (status, said) == (0, "")
    assert {path.parent.name for path in (tmp_path / "out").rglob("*.png")} == {"hr", "lr"}
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


# command -> its arguments for a target that can't be written
TARGETS = {
    "score --json": (score, lambda photo, target: [photo, "--json", target]),
    "score --html": (score, lambda photo, target: [photo, "--html", target]),
    "degrade": (degrade, lambda photo, target: [photo, target, "--workers", 1]),
    "degrade grid": (degrade, lambda photo, target: ["grid", photo, f"{target}.png", "--count", 1]),
    "degrade compare": (degrade, lambda photo, target: ["compare", photo, photo, "--json", target]),
    "models convert": (models, lambda photo, target: ["convert", photo, f"{target}.safetensors"]),
}


@pytest.mark.parametrize("command", TARGETS)
@pytest.mark.parametrize(
    "target",
    ["x" * 4096, "gone/there/x", "\0", "file/x"],
    ids=["long", "gone", "null", "file"],
)
def test_a_command_refuses_a_place_that_it_cant_write_in_one_line(tmp_path, told, command, target):
    Image.effect_noise((64, 64), 60).convert("RGB").save(tmp_path / "photo.png")
    (tmp_path / "file").touch()
    main, arguments = TARGETS[command]
    before = everything(tmp_path)
    status, said = told(main, *arguments(tmp_path / "photo.png", f"{tmp_path}/{target}"))
    if status == 0 or "new pairs" in said:  # a data set's folders are made for it
        assert command == "degrade"
        return
    assert status in (1, 2)
    assert said.count("\n") == 1
    assert everything(tmp_path) == before
