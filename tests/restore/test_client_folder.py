"""Names of results, and which of them are there already."""

import os
import shutil

import pytest
from PIL import Image

from ugc_sr.restore.folder import find_jobs, lacking
from ugc_sr.restore.photo import finish, read

SETTINGS = {"workflow": "quickstart", "scale": 4.0}


@pytest.fixture
def photos(tmp_path):
    """Makes small photos, each another, below one folder."""

    def make(*names):
        for number, name in enumerate(names):
            file = tmp_path / "in" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4), (number, 0, 0)).save(file)
        return tmp_path / "in"

    return make


def restored(job, settings=SETTINGS):
    """Puts a result there, as the client does; the pixels are the photo's."""
    photo = read(job.photo)
    job.result.parent.mkdir(parents=True, exist_ok=True)
    job.result.write_bytes(finish(photo.png, photo, {**settings, "photo_sha256": photo.sha256}))


def named(where, out):
    return {job.name: job.result.relative_to(out).as_posix() for job in find_jobs(where, out)[0]}


COMPOSED, OF_MACOS = "Caf\u00e9.jpg", "Cafe\u0301.jpg"


@pytest.mark.parametrize(
    "expected",
    [
        {"a.jpg": "a.png", "sub/b c.webp": "sub/b c.png", "sub/deeper/ü.PNG": "sub/deeper/ü.png"},
        # Not every disk tells A from a.
        {"A.png": "A.png.png", "a.jpg": "a.jpg.png", "b.jpg": "b.png", "sub/a.jpg": "sub/a.png"},
        {"b.jpg": "b.jpg.png", "b.png/c.jpg": "b.png/c.png"},  # 'b.png' is a folder
        {"a.jpg": "a.jpg.png", "a.jpg.png": "a.jpg.png.png", "a.webp": "a.webp.png"},
        {"D.jpg": "D.jpg.png", "d.jpg": "d.jpg.2.png"},
        # Names that differ in composition alone are one name to some disks.
        {OF_MACOS: f"{OF_MACOS}.png", COMPOSED: f"{COMPOSED}.2.png"},
    ],
    ids=lambda names: " ".join(names),
)
def test_every_photo_gets_a_result_of_its_name_and_place(photos, tmp_path, expected):
    assert named(photos(*expected, ".hidden/x.png", ".y.png"), tmp_path / "out") == expected


def test_results_below_the_photos_are_not_photos(photos):
    where = photos("a.jpg", "out/b.jpg")
    assert named(where, where / "out") == {"a.jpg": "a.png"}


def test_one_photo_goes_into_a_folder_or_a_file(photos, tmp_path):
    where = photos("a.jpg") / "a.jpg"
    assert find_jobs(where, tmp_path / "out")[0][0].result == tmp_path / "out" / "a.png"
    assert find_jobs(where, tmp_path / "b.png")[0][0].result == tmp_path / "b.png"


def test_a_photo_is_never_replaced_by_its_result(photos):
    where = photos("a.png", "b.jpg")
    with pytest.raises(ValueError, match=r"a.png: its result would replace it. Choose another OUT"):
        find_jobs(where, where)


def test_what_is_finished_is_done_again_only_if_the_photo_has_changed(photos, tmp_path):
    jobs, _ = find_jobs(photos("a.png", "b.png", "c.png"), tmp_path / "out")
    for job in jobs[1:]:
        restored(job)
    Image.new("RGB", (4, 4), (99, 99, 99)).save(jobs[2].photo)
    assert lacking(jobs, SETTINGS, resume=True) == [jobs[0], jobs[2]]
    with pytest.raises(ValueError, match=r"b.png is there already, and 1 more. Add --resume to go on"):
        lacking(jobs, SETTINGS, resume=False)
    words = r"b.png was made with another scale \(4.0, now 2.0\). Choose another"
    with pytest.raises(ValueError, match=words):
        lacking(jobs, SETTINGS | {"scale": 2.0}, resume=True)


def test_files_of_others_are_not_taken_for_results(photos, tmp_path):
    jobs, _ = find_jobs(photos("a.png"), tmp_path / "out")
    (tmp_path / "out").mkdir()
    shutil.copy(jobs[0].photo, jobs[0].result)
    with pytest.raises(ValueError, match=r"a.png was not made by this command. Choose another OUT"):
        lacking(jobs, SETTINGS, resume=True)


def test_a_name_that_would_be_too_long_is_cut_and_stays_its_own(photos, tmp_path):
    where = photos("é" * 125 + ".jpg", "é" * 125 + ".png", "x" * 251 + ".jpg")
    results = named(where, tmp_path / "out")
    assert results["x" * 251 + ".jpg"] == "x" * 251 + ".png"
    assert len(set(results.values())) == 3
    for name in results.values():
        assert len(name.encode()) <= 255
        assert name.endswith(".png")
        (tmp_path / name).touch()


def test_a_photo_whose_name_is_no_text_gets_its_result(tmp_path):
    (tmp_path / "in").mkdir()
    name = os.fsdecode(b"\xc4\xfa.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "in" / name)
    (job,) = find_jobs(tmp_path / "in", tmp_path / "out")[0]
    restored(job, SETTINGS | {"photo": job.name})
    assert job.result == tmp_path / "out" / name
    assert lacking([job], SETTINGS, resume=True) == []


def test_a_list_of_photos_keeps_their_folders(photos, tmp_path):
    photos("a/0.jpg", "b/0.jpg")
    (tmp_path / "mine.txt").write_text("in/a/0.jpg\nin/b/0.jpg\n")
    assert named(tmp_path / "mine.txt", tmp_path / "out") == {"a/0.jpg": "a/0.png", "b/0.jpg": "b/0.png"}
