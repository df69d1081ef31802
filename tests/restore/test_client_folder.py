"""Names of results, and which of them are there already."""

import hashlib
import os

import pytest
from PIL import Image

from ugc_sr.restore.folder import check_writable, find_jobs, lacking
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


def test_folders_and_names_are_kept(photos, tmp_path):
    where = photos("a.jpg", "sub/b c.webp", "sub/deeper/ü.PNG", ".hidden/x.png", ".y.png")
    assert named(where, tmp_path / "out") == {
        "a.jpg": "a.png",
        "sub/b c.webp": "sub/b c.png",
        "sub/deeper/ü.PNG": "sub/deeper/ü.png",
    }


def test_photos_whose_names_differ_in_the_ending_alone_keep_it(photos, tmp_path):
    where = photos("a.jpg", "A.png", "b.jpg", "sub/a.jpg")  # not every disk tells A from a
    assert named(where, tmp_path / "out") == {
        "A.png": "A.png.png",
        "a.jpg": "a.jpg.png",
        "b.jpg": "b.png",
        "sub/a.jpg": "sub/a.png",
    }


def test_other_files_are_passed_over_and_named(photos, tmp_path):
    where = photos("a.jpg")
    (where / "notes.txt").write_text("milk")
    (where / "film.mp4").write_bytes(b"")
    jobs, skipped = find_jobs(where, tmp_path / "out")
    assert [job.name for job in jobs] == ["a.jpg"]
    assert skipped.passed_over() == ["passed over, no photos by their names: 2 (film.mp4, notes.txt)"]


def test_results_below_the_photos_are_not_photos(photos):
    where = photos("a.jpg", "out/b.jpg")
    assert named(where, where / "out") == {"a.jpg": "a.png"}


def test_one_photo_goes_into_a_folder_or_a_file(photos, tmp_path):
    where = photos("a.jpg") / "a.jpg"
    assert find_jobs(where, tmp_path / "out")[0][0].result == tmp_path / "out" / "a.png"
    assert find_jobs(where, tmp_path / "b.png")[0][0].result == tmp_path / "b.png"


def test_no_photos_are_told_of(photos, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone: there is no such photo, folder or list"):
        find_jobs(tmp_path / "gone", tmp_path / "out")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("milk")
    with pytest.raises(FileNotFoundError, match=r"there are no photos in it, only 1 \(notes.txt\)"):
        find_jobs(tmp_path / "in", tmp_path / "out")


def test_a_photo_is_never_replaced_by_its_result(photos):
    where = photos("a.png", "b.jpg")
    with pytest.raises(ValueError, match=r"a.png: its result would replace it. Choose another OUT"):
        find_jobs(where, where)


def test_what_is_finished_is_not_done_again(photos, tmp_path):
    jobs, _ = find_jobs(photos("a.png", "b.png", "c.png"), tmp_path / "out")
    restored(jobs[1])
    assert lacking(jobs, SETTINGS, resume=True) == [jobs[0], jobs[2]]


def test_a_photo_that_has_changed_is_done_again(photos, tmp_path):
    jobs, _ = find_jobs(photos("a.png", "b.png"), tmp_path / "out")
    for job in jobs:
        restored(job)
    Image.new("RGB", (4, 4), (99, 99, 99)).save(jobs[0].photo)
    assert lacking(jobs, SETTINGS, resume=True) == [jobs[0]]


def test_results_are_not_touched_without_resume(photos, tmp_path):
    jobs, _ = find_jobs(photos("a.png", "b.png"), tmp_path / "out")
    for job in jobs:
        restored(job)
    with pytest.raises(ValueError, match=r"a.png is there already, and 1 more. Add --resume to go on"):
        lacking(jobs, SETTINGS, resume=False)


def test_results_of_other_settings_are_not_mixed_with_these(photos, tmp_path):
    jobs, _ = find_jobs(photos("a.png"), tmp_path / "out")
    restored(jobs[0])
    with pytest.raises(
        ValueError, match=r"a.png was made with another scale \(4.0, now 2.0\). Choose another"
    ):
        lacking(jobs, SETTINGS | {"scale": 2.0}, resume=True)


def test_files_of_others_are_not_taken_for_results(photos, tmp_path):
    jobs, _ = find_jobs(photos("a.png"), tmp_path / "out")
    (tmp_path / "out").mkdir()
    jobs[0].result.write_bytes(jobs[0].photo.read_bytes())
    before = hashlib.sha256(jobs[0].result.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=r"a.png was not made by this command. Choose another OUT"):
        lacking(jobs, SETTINGS, resume=True)
    assert hashlib.sha256(jobs[0].result.read_bytes()).hexdigest() == before


def test_a_folder_that_cannot_be_written_to_is_told_of_and_one_that_can_stays_empty(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"OUT '.*file/out' can't be written to: Not a directory"):
        check_writable(tmp_path / "file" / "out")
    check_writable(tmp_path / "new" / "out")
    assert list((tmp_path / "new" / "out").iterdir()) == []


def test_no_two_photos_get_one_result(photos, tmp_path):
    where = photos("a.jpg", "a.webp", "a.jpg.png", "b.jpg", "b.png/c.jpg", "d.jpg", "D.jpg")
    assert named(where, tmp_path / "out") == {
        "D.jpg": "D.jpg.png",
        "a.jpg": "a.jpg.png",
        "a.jpg.png": "a.jpg.png.png",
        "a.webp": "a.webp.png",
        "b.jpg": "b.jpg.png",  # 'b.png' is a folder
        "b.png/c.jpg": "b.png/c.png",
        "d.jpg": "d.jpg.2.png",
    }


def test_names_that_differ_in_composition_alone_are_one_name_to_some_disks(photos, tmp_path):
    composed, of_macos = "Caf\u00e9.jpg", "Cafe\u0301.jpg"
    assert named(photos(composed, of_macos), tmp_path / "out") == {
        of_macos: f"{of_macos}.png",
        composed: f"{composed}.2.png",
    }


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
    where = tmp_path / "in"
    where.mkdir()
    name = os.fsdecode(b"\xc4\xfa.png")
    Image.new("RGB", (4, 4)).save(where / name)
    (job,) = find_jobs(where, tmp_path / "out")[0]
    restored(job, SETTINGS | {"photo": job.name})
    assert job.result == tmp_path / "out" / name
    assert lacking([job], SETTINGS, resume=True) == []


def test_a_list_of_photos_keeps_their_folders(photos, tmp_path):
    where = photos("a/0.jpg", "b/0.jpg")
    (tmp_path / "mine.txt").write_text("in/a/0.jpg\nin/b/0.jpg\n")
    assert named(tmp_path / "mine.txt", tmp_path / "out") == {"a/0.jpg": "a/0.png", "b/0.jpg": "b/0.png"}
    assert where.is_dir()
