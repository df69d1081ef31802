import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ugc_sr.degrade.__main__ import main


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for k in range(6):
        Image.fromarray(rng.integers(0, 256, (40, 44, 3), dtype=np.uint8)).save(tmp_path / f"photos/{k}.png")
    return tmp_path / "photos"


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.deep
def test_a_local_ray_writes_the_same_files_and_names_bad_ones(photos, tmp_path):
    (photos / "notes.txt").write_text("buy milk")
    options = ("--recipe", "mild", "--crop", "32", "--per-image", "3", "--workers", "2")
    command = [sys.executable, "-m", "ugc_sr.degrade", photos, tmp_path / "ray", *options, "--engine", "ray"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1), ended.stderr
    assert f"{photos}/notes.txt: not a photo that can be read" in ended.stderr
    assert main([str(photos), str(tmp_path / "local"), *options, "--workers", "1"]) == 1
    assert content(tmp_path / "ray") == content(tmp_path / "local")


def test_ray_that_is_missing_is_named_with_what_installs_it(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)  # as Python notes a module that isn't there
    assert main([str(photos), str(tmp_path / "out"), "--engine", "ray"]) == 2
    assert capsys.readouterr().err == (
        '--engine ray needs Ray Data. Install it with  pip install "ugc-super-resolution[cluster]"\n'
    )
    assert not (tmp_path / "out").exists()
