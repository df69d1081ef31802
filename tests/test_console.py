"""What commands print, to consoles of few letters and to pipes that nobody reads."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from ugc_sr.score.__main__ import main

ROOT = Path(__file__).parents[1]
COMMANDS = [
    file
    for file in ROOT.glob("[!.]*/**/*.py")
    if "__main__" in file.read_text(encoding="utf-8").rpartition("\nif __name__")[2]
    and file.relative_to(ROOT).parts[0] in {"degrade", "models", "restore", "score", "train", "tune"}
]
SHUT = """
import os, subprocess, sys
reading, writing = os.pipe()
os.close(reading)
sys.exit(subprocess.run([sys.executable, "-m", *sys.argv[1:]], stdout=writing).returncode)
"""


@pytest.fixture
def run(tmp_path):
    """Runs one of our modules as a process, outside of the checkout."""

    def process(*arguments, through=("-m",), stdout=subprocess.PIPE, **variables):
        command = [sys.executable, *through, *map(str, arguments)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
        return subprocess.run(command, cwd=tmp_path, env=environment, stdout=stdout, stderr=subprocess.PIPE)

    return process


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("写真 \U0001f4f7.png", "b.png"):
        Image.effect_noise((64, 64), 50).convert("RGB").save(folder / name)
    return folder


@pytest.mark.parametrize("file", COMMANDS, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_command_begins_by_seeing_to_what_it_prints(file):
    source = file.read_text(encoding="utf-8")
    assert re.search(
        r'^def main\([^)]*\)[^:]*:\n    """(?:[^"]|"(?!""))*"""\n    keep_printing\(\)$', source, re.M
    )


@pytest.mark.parametrize("encoding", ["cp1252", pytest.param("ascii:strict", marks=pytest.mark.deep)])
def test_a_console_without_the_letters_of_a_name_shows_escapes(run, photos, encoding):
    done = run("ugc_sr.score", photos, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"\U0001f4f7.png" in done.stdout
    assert b"b.png" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "unbuffered"),
    [(("ugc_sr.degrade", "recipes", "ugc"), "1"), (("ugc_sr.models", "list"), "")],
)
def test_a_pipe_that_nobody_reads_is_no_failure(run, arguments, unbuffered):
    done = run(SHUT, *arguments, through=("-c",), PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_status_of_a_failure_is_kept_when_nobody_reads_it(run):
    shut = SHUT.replace("stdout=writing", "stdout=writing, stderr=writing")
    assert run(shut, "ugc_sr.score", "gone", through=("-c",)).returncode == 2


def test_a_full_disk_is_still_told_of(run, photos):
    with Path("/dev/full").open("wb") as full:
        done = run("ugc_sr.score", photos, "--json", "-", stdout=full)
    assert done.returncode != 0
    assert b"No space left on device" in done.stderr


def test_main_itself_prints_any_name(photos, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "cp1252"))
    main([str(photos)])
    sys.stdout.flush()
    assert rb"\u5199\u771f \U0001f4f7.png" in written.getvalue()
