"""Names from prompts, manifests and command lines: nothing is written outside of their folder."""

import ast
import json
import os
import re
import tarfile
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from ugc_sr.degrade.__main__ import main as degrade
from ugc_sr.degrade.dataset.pair_folder import PairFolder
from ugc_sr.degrade.recipes import RECIPES
from ugc_sr.files import replace_file
from ugc_sr.models.__main__ import main as models
from ugc_sr.restore.__main__ import main as restore
from ugc_sr.restore.demo import main as demo
from ugc_sr.restore.server import CHECKOUT
from ugc_sr.restore.weights import checksums
from ugc_sr.score.__main__ import main as score
from ugc_sr.train.__main__ import main as train
from ugc_sr.train.config import Config
from ugc_sr.train.data import Data, Loader, Part
from ugc_sr.train.data.folders import pair_folder
from ugc_sr.train.pairs import main as train_pairs
from ugc_sr.train.stages import PRESETS
from ugc_sr.tune.__main__ import main as tune

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
PAIR, MADE = torch.rand(1, 16, 16, 3), (RECIPES["upload"].draw(1, 1),)


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
@pytest.mark.deep
def test_save_training_pairs_writes_below_the_data_sets_or_not_at_all(base, refusal, folder, name):
    from ugc_sr.nodes.pair_node import SaveTrainingPairs

    before, kept = everything(base.parent), everything(base / "datasets")
    refusal(SaveTrainingPairs.execute, PAIR, PAIR, MADE, folder, name, errors=(ValueError, RuntimeError))
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
    from ugc_sr.nodes.recipe_nodes import EditRecipe

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
    from ugc_sr.nodes.pair_node import SaveTrainingPairs

    outside, data = base.parent / "outside", base / "datasets" / "got"
    data.mkdir()
    (outside / ".old.part").write_text("kept")
    before = {path: path.read_text() for path in outside.iterdir()}
    (data / part).symlink_to(outside if part in ("hr", "lr") else outside / "secret.json")
    words = refusal(SaveTrainingPairs.execute, PAIR, PAIR, MADE, "got", "p", errors=(RuntimeError,))
    assert {path: path.read_text() for path in outside.iterdir()} == before
    assert words is None if part == "dataset.json" else "a symbolic link, which could lead" in words


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
def test_photos_of_any_name_stay_inside_of_the_data_set(tmp_path, run_command, name):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (16, 16), (9, 99, 199)).save(tmp_path / "in" / f"{name}.png")
    status, said = run_command(
        degrade, tmp_path / "in", tmp_path / "out", "--recipe", "upload", "--workers", 1
    )
    assert (status, said) == (0, "")
    assert {path.parent.name for path in (tmp_path / "out").rglob("*.png")} == {"hr", "lr"}
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


@same_file
@example("photo.png")
@example("../../secret.png")
@given(NAMES)
def test_training_reads_no_pair_outside_of_its_data_set(tmp_path, refusal, name):
    data = tmp_path / "set"
    for place in (tmp_path, data / "hr", data / "lr"):
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16)).save(place / "secret.png")
        Image.new("RGB", (16, 16)).save(place / "photo.png")
    (data / "manifest.jsonl").write_text(json.dumps({"name": name}) + "\n")
    read = []
    words = refusal(lambda: read.append(pair_folder(data, 1).files))
    inside = [Path(file).parent == data / side for files in read for side in files for file in files[side]]
    assert words is not None or inside == [True, True]
    assert words is None or str(data / "manifest.jsonl") in words
    if name == "photo.png":
        assert read


def test_shards_hold_nothing_but_the_data_set_and_are_not_written_through_a_link(tmp_path, run_command):
    data, out = tmp_path / "set", tmp_path / "out"
    for place in (data / "hr", data / "lr", out):
        place.mkdir(parents=True)
    Image.new("RGB", (16, 16)).save(data / "hr" / "a;b $(id).png")
    Image.new("RGB", (4, 4)).save(data / "lr" / "a;b $(id).png")
    (tmp_path / "victim").write_text("kept")
    (out / "000000.tar").symlink_to(tmp_path / "victim")
    assert run_command(train, "shards", data, out)[0] == 2
    assert (tmp_path / "victim").read_text() == "kept"
    (out / "000000.tar").unlink()
    assert run_command(train, "shards", data, out) == (0, "")
    assert [path.name for path in out.iterdir()] == ["000000.tar"]
    with tarfile.open(out / "000000.tar") as tar:
        assert sorted(tar.getnames()) == ["a;b $(id).hr.png", "a;b $(id).lr.png"]
    (data / "manifest.jsonl").write_text('{"name": "../../victim"}\n')
    status, said = run_command(train, "shards", data, tmp_path / "more")
    assert (status, said.count("\n"), "'../../victim'" in said) == (2, 1, True)
    assert not (tmp_path / "more").exists()


@pytest.fixture
def begun(tmp_path):
    """The folder of a run that has begun."""
    folder = tmp_path / "run"
    data = Data((Part("pairs", path=str(tmp_path / "gone")),))
    Config("regression", replace(PRESETS["regression"], data=data)).write(folder)
    return folder


@pytest.mark.parametrize("name", [name for name in HOSTILE if name != "-rf"])
def test_a_run_goes_on_in_its_own_folder_alone(begun, run_command, name):
    settings_of = json.loads((begun / "config.json").read_text())
    settings_of["preset"]["stages"][0]["name"] = name
    (begun / "config.json").write_text(json.dumps(settings_of))
    before = everything(begun.parent)
    status, said = run_command(train, "--resume", begun, "--cpu")
    assert (status, said.count("\n")) == (2, 1)
    assert said.startswith(f"'{begun / 'config.json'}' is not the configuration of a run. ")
    assert everything(begun.parent) == before


@pytest.mark.parametrize("content", ["[]", "{}", "[" * 100_000, "\0", '{"preset": {"stages": 5}}'])
def test_settings_of_a_run_that_are_none_are_told_of_in_one_line(begun, run_command, content):
    (begun / "config.json").write_text(content)
    status, said = run_command(train, "--resume", begun, "--cpu")
    assert (status, said.count("\n")) == (2, 1)
    assert said.startswith(f"'{begun / 'config.json'}' is not the configuration of a run. ")


@pytest.mark.parametrize(
    "link", ["metrics.csv", "skipped.txt", "tensorboard", "last", "tensorboard/regression"]
)
def test_links_in_the_folder_of_a_run_are_not_written_through(begun, run_command, link):
    (begun.parent / "outside").mkdir()
    (begun / link).parent.mkdir(exist_ok=True)
    (begun / link).symlink_to(begun.parent / "outside")
    status, said = run_command(train, "--resume", begun, "--cpu")
    assert (status, said) == (
        2,
        f"{begun / link}: a symbolic link, which could lead to another folder. Put the real one there.\n",
    )
    assert not everything(begun.parent / "outside")


def test_a_photos_name_makes_one_line_of_the_list_of_those_left_out(tmp_path):
    loader = object.__new__(Loader)
    loader.run, loader.skipped = tmp_path, {}
    loader._note({"a\n\tb": "broken\nat the end"})
    assert (tmp_path / "skipped.txt").read_text() == "a b\tbroken at the end\n"


@pytest.fixture
def hostile_host(web_server):
    """Answers as a ComfyUI that calls everything so; gives its address, and what it was asked."""

    def start(name):
        asked = []
        picture = {"filename": name, "subfolder": name, "type": "output"}
        job = {"status": "completed", "outputs": {"3": {"images": [picture]}}}
        answers = {
            "/system_stats": {"system": {"comfyui_version": name}},
            "/upload/image": {"name": name, "subfolder": name},
            "/prompt": {"prompt_id": name},
        }

        def answer(path, body):
            first = path.startswith("/api/jobs/") and path not in asked
            asked.append(path)
            if path.startswith("/view?"):
                return 200, (CHECKOUT / "demo" / "photo.png").read_bytes()
            return 404 if first else 200, json.dumps(answers.get(path, job)).encode()

        return web_server(answer), asked

    return start


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "C:\\x", "CON", "x\0y", "a" * 4096, "\ud800", "\uff0e\uff0e\uff0fx"]
)
def test_a_result_goes_where_the_photo_says_whatever_the_host_calls_it(tmp_path, hostile_host, name, capsys):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for file in ("..hidden..", "%2e%2e%2fx", "a\\..\\b", "$(id);", "sub/\u202egnp", "sub/con"):
        Image.new("RGB", (8, 8)).save(tmp_path / "in" / f"{file}.png")
    photos = {path.relative_to(tmp_path / "in") for path in everything(tmp_path / "in") if path.is_file()}
    before = everything(tmp_path.parent)
    address, asked = hostile_host(name)
    status = restore([str(tmp_path / "in"), str(tmp_path / "out"), "--server", address])
    new = everything(tmp_path.parent) - before
    said = capsys.readouterr().err
    assert {tmp_path / "out", *(path for path in new if tmp_path / "out" in path.parents)} == new
    results = {path.relative_to(tmp_path / "out") for path in new if path.is_file()}
    assert (status == 0) == (name != "\ud800")  # which no address can hold
    if status == 0:
        assert results == {photo for photo in photos if not photo.name.startswith(".")}
        assert any(path.startswith("/view?") for path in asked)
    else:
        assert "Traceback" not in said
        assert not results


@pytest.mark.parametrize("place", ["..", "../..", "x/../../.."])
def test_a_workflow_has_no_file_read_outside_of_the_models(tmp_path, place):
    (tmp_path / "models" / "checkpoints" / "x").mkdir(parents=True)
    (tmp_path / "secret.safetensors").write_text("secret")
    (tmp_path / "models" / "secret.safetensors").write_text("secret")
    name = f"{place}/secret.safetensors"
    graph = {"1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": name}}}
    assert checksums(graph, tmp_path / "models") == {name: None}


# command -> its arguments for a file that can't be written
FILES = {
    "score --json": (score, lambda photo, target: [photo, "--json", target]),
    "score --html": (score, lambda photo, target: [photo, "--html", target]),
    "degrade grid": (degrade, lambda photo, target: ["grid", photo, f"{target}.png", "--count", 1]),
    "degrade compare --json": (degrade, lambda photo, target: ["compare", photo, photo, "--json", target]),
    "degrade compare --plot": (degrade, lambda photo, target: ["compare", photo, photo, "--plot", target]),
    "models convert": (models, lambda photo, target: ["convert", photo, f"{target}.safetensors"]),
}
# The same for a folder, which is made where there is none.
FOLDERS = {
    "degrade": (degrade, lambda photo, target: [photo, target, "--workers", 1]),
    "restore": (restore, lambda photo, target: [photo, target, "--server", "127.0.0.1:9"]),
    "restore.demo": (demo, lambda photo, target: ["--photo", photo, "--out", target]),
    "train": (
        train,
        lambda photo, target: ["regression", "--out", target, "--data", f"pairs={photo}", "--cpu"],
    ),
    "train.pairs": (train_pairs, lambda photo, target: [photo.parent, target]),
    "train shards": (train, lambda photo, target: ["shards", photo.parent, target]),
    "tune": (tune, lambda photo, target: [photo, photo, "--out", target, "--server", "http://127.0.0.1:9"]),
}
PLACES = {"long": "x" * 4096, "null": "\0", "file": "file/x", "gone": "gone/there/x"}


REFUSED = [(command, place) for command in FILES for place in PLACES]
REFUSED += [(command, place) for command in FOLDERS for place in PLACES if place != "gone"]


@pytest.mark.parametrize(
    ("command", "place"),
    [pytest.param(*one, marks=() if one[1] == "file" else pytest.mark.deep) for one in REFUSED],
)
def test_a_command_refuses_a_place_that_it_cant_write_in_one_line(tmp_path, run_command, command, place):
    Image.effect_noise((64, 64), 60).convert("RGB").save(tmp_path / "photo.png")
    (tmp_path / "file").touch()
    main, arguments = (FILES | FOLDERS)[command]
    before = everything(tmp_path)
    status, said = run_command(main, *arguments(tmp_path / "photo.png", f"{tmp_path}/{PLACES[place]}"))
    assert status in (1, 2)
    refusals = [line for line in said.splitlines() if not line.startswith("passed over")]
    assert len(refusals) == 1, "one line beside that of files that are no photos"
    assert everything(tmp_path) == before


# They write into a temporary folder, or rename the file when it is whole.
WRITE_THEMSELVES = {"doctor/run.py", "fetch/http.py", "files.py", "models/repack.py"}
WRITE_THEMSELVES |= {"restore/server.py", "train/data/shards.py"}
WRITING = re.compile(r"""\.write_(text|bytes)\(|\bopen\([^)]*["'][wx]b?\+?["']""")


def product_sources():
    """Path -> text of every source file that a user runs."""
    found = (*CHECKOUT.glob("*.py"), *CHECKOUT.glob("[!.]*/**/*.py"))
    paths = {file.relative_to(CHECKOUT).as_posix(): file for file in found}
    return {
        name: file.read_text(encoding="utf-8")
        for name, file in paths.items()
        if name.split("/")[0] not in ("tests", "tools", "typings")
    }


def test_every_file_is_replaced_whole():
    """By `files.replace_file` or `files.atomic_write`."""
    assert {name for name, source in product_sources().items() if WRITING.search(source)} == WRITE_THEMSELVES


def test_pictures_are_opened_in_one_place():
    """Pillow would start Ghostscript for PostScript of any name, and each reader would have its own rules."""
    opening = [
        name
        for name, source in product_sources().items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Image.open")
    ]
    assert opening == []
