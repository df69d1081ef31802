"""300 files as people have them: restore, degrade and score account for each in their last lines."""

import json
import os
import re
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from ugc_sr.degrade.__main__ import main as degrade
from ugc_sr.restore import __main__ as restoring
from ugc_sr.score.__main__ import main as score

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")

SIDE_PX = 32
CAFE, CAFE_OF_MACOS = "Caf\u00e9", "Cafe\u0301"
NOT_UTF8 = os.fsdecode(b"\xc4\xfa.png")
PHOTOS = [
    *(f"{folder}/{number:02}.{suffix}" for folder in ("cats", "dogs/old", "2024") for number in range(20)
      for suffix in ("jpg", "png", "webp")),
    *(f"more/IMG_{number:04}.JPG" for number in range(75)),
    *("a.jpg", "A.jpg", "a.webp", "a.jpg.png", "b.jpg/c.jfif", "b.png", "0f3a", "-rf.jpg", "two\nlines.jpg"),
    *(f"{CAFE}.jpg", f"{CAFE_OF_MACOS}.jpg", "CON.jpg", "end..jpg", "dot.jpg.", "x" * 251 + ".jpg", NOT_UTF8),
    *("d.gif", "e.tif", "f.bmp", "g.avif", "h.jp2", "i.ppm", "j.tga", "k.apng", "c.png/d.jpg", "c.jpg"),
]  # fmt: skip
BROKEN = ["cut.jpg", "empty.png", "text.webp", "half.tif"]
HIDDEN = [".DS_Store", "cats/._00.jpg", ".thumbs"]
OTHERS = ["Thumbs.db", "notes.txt", "dogs/film.mp4", "raw.dng", "cats/00.txt", "LICENSE", "metadata.jsonl"]
LINKS = ["cats/round", "elsewhere"]
NO_FILES = ["pipe.jpg", "gone.png", "self.jpg"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder; every photo another one, so that a mix-up would be seen."""
    where = tmp_path_factory.mktemp("photos") / "mixed"
    rng = np.random.default_rng(0)
    for name in PHOTOS:
        file = where / name
        file.parent.mkdir(parents=True, exist_ok=True)
        suffix = re.sub(r"[^a-z]", "", name.lower().rpartition(".")[2]) or "jpg"
        kind = Image.registered_extensions().get(f".{suffix}", "JPEG")
        Image.fromarray(rng.integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)).save(file, kind)
    (where / "cut.jpg").write_bytes((where / "a.jpg").read_bytes()[:-300])
    (where / "empty.png").touch()
    (where / "text.webp").write_text("no photo")
    (where / "half.tif").write_bytes((where / "e.tif").read_bytes()[:200])
    for name in HIDDEN[:2] + OTHERS:
        (where / name).write_text("word")
    (where / ".thumbs").mkdir()
    (where / ".thumbs" / "a.png").touch()
    (where / "cats/round").symlink_to(where)
    (where / "elsewhere").symlink_to(where / "dogs")
    os.mkfifo(where / "pipe.jpg")
    (where / "gone.png").symlink_to(where / "nowhere")
    (where / "self.jpg").symlink_to(where / "self.jpg")
    return where


def echo(name, png, workflow):
    """Restores nothing: the result is the photo."""
    return png


@pytest.fixture
def restored(folder, tmp_path, monkeypatch, capsys):
    @contextmanager
    def engine(*_):
        yield [echo], "0"

    monkeypatch.setattr(restoring, "_engine", engine)

    def run(*options):
        status = restoring.main(
            [str(folder), str(tmp_path / "out"), "--server", "http://127.0.0.1:9", *options]
        )
        return (status, *capsys.readouterr())

    return run


def named(line):
    """How many files a line counts, and which it names."""
    count, names = re.fullmatch(r".*: (\d+) \((.*)\)", line).groups()
    return int(count), sorted(names.split(", "))


def assert_passed(lines):
    assert [line.partition(":")[0] for line in lines] == [
        "passed over, hidden files and folders",
        "passed over, links to folders, which are not followed",
        "passed over, no files that can be read",
        "passed over, no photos by their names",
    ]
    for line, names in zip(lines, (HIDDEN, LINKS, NO_FILES, OTHERS), strict=True):
        assert named(line) == (len(names), sorted(names))


def test_restore_accounts_for_every_file_and_gives_each_photo_its_own_result(folder, restored, tmp_path):
    status, said, warned = restored()
    first, failed, *passed = said.splitlines()
    assert (status, first) == (
        1,
        f"{len(PHOTOS)} restored; {len(BROKEN)} failed. Results are in {tmp_path / 'out'}",
    )
    assert named(failed) == (len(BROKEN), sorted(BROKEN))
    assert_passed(passed)
    assert len(warned.splitlines()) == len(BROKEN)
    results = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert len(results) == len(PHOTOS)
    assert {os.fsencode(file.name)[-4:] for file in results} == {b".png"}
    again, said, _ = restored("--resume")
    assert (again, said.splitlines()[0][:40]) == (
        1,
        f"0 restored; {len(PHOTOS)} were there; 4 failed. Res"[:40],
    )

    # Each result belongs to the very photo that it was made of, whatever they are called.
    scores = tmp_path / "scores.json"
    score([str(tmp_path / "out"), "--gt", str(folder), "--json", str(scores)])
    report = json.loads(scores.read_text())
    assert [row["psnr_rgb"] for row in report["images"]] == ["inf"] * len(PHOTOS)
    assert report["unscored"] == sorted(BROKEN)


def test_degrade_accounts_for_every_file(folder, tmp_path, capsys):
    out = tmp_path / "pairs"
    assert degrade([str(folder), str(out), "--recipe", "mild", "--workers", "1"]) == 1
    first, lost, *passed = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{len(PHOTOS)} new pairs; {len(BROKEN)} could not be used; {len(PHOTOS)} in all")
    assert named(lost) == (len(BROKEN), sorted(BROKEN))
    assert_passed(passed)
    assert len(list((out / "hr").iterdir())) == len(PHOTOS)
    assert degrade([str(folder), str(out), "--recipe", "mild", "--workers", "1", "--resume"]) == 1
    assert capsys.readouterr().out.startswith(f"0 new pairs; {len(BROKEN)} could not be used")


def test_score_accounts_for_every_file(folder, capsys):
    with pytest.raises(SystemExit) as stop:
        score([str(folder)])
    assert stop.value.code == 1
    said, warned = capsys.readouterr()
    *table, failed = (line for line in said.splitlines() if not line.startswith("sr: "))
    assert f"mean of {len(PHOTOS)}" in said
    assert named(failed) == (len(BROKEN), sorted(BROKEN))
    assert_passed([line.removeprefix("sr: ") for line in said.splitlines() if line.startswith("sr: ")])
    assert len(warned.splitlines()) == len(BROKEN)
    assert len([line for line in table if re.match(r"cats/\d\d\.(jpg|png|webp) ", line)]) == 60
