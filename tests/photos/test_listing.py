"""Which files of a folder are photos, what becomes of the others, and which names results get."""

import os
import sys
import unicodedata

import pytest
from PIL import Image

from ugc_sr.degrade.dataset.jobs import PairPlan, data_name, list_jobs
from ugc_sr.degrade.recipes import RECIPES
from ugc_sr.photos.listing import TakenNames, list_photos, partners

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")

CAFE, CAFE_OF_MACOS = "Caf\u00e9", "Cafe\u0301"


@pytest.fixture
def folder(tmp_path):
    """Makes small photos in a folder; files of other suffixes hold a word."""

    def make(*names):
        for name in names:
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix.lower() in (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".avif", ""):
                Image.new("RGB", (4, 4)).save(file, "PNG")
            else:
                file.write_text("word")
        return tmp_path

    return make


def found(where, **options):
    return list(list_photos(where, **options).photos)


def test_a_folder_is_searched_in_order_and_photos_are_known_by_their_paths(folder):
    where = folder("b.jpg", "a.png", "trip/day 1/c.webp")
    assert list_photos(where).photos == {
        "a.png": where / "a.png",
        "b.jpg": where / "b.jpg",
        "trip/day 1/c.webp": where / "trip/day 1/c.webp",
    }


def test_every_file_that_is_passed_over_is_counted_and_named(folder):
    where = folder(
        "A.JPG", "b.jfif", "sub/c.avif", ".DS_Store", "._A.JPG", "Thumbs.db", "notes.txt", ".git/x.png"
    )
    (where / "round").symlink_to(where)
    (where / "nowhere.jpg").symlink_to(where / "gone")
    (where / "self.png").symlink_to(where / "self.png")
    (where / "film.jpg").mkdir()
    os.mkfifo(where / "pipe.jpg")
    listing = list_photos(where)
    assert list(listing.photos) == ["A.JPG", "b.jfif", "sub/c.avif"]
    assert listing.passed_over() == [
        "passed over, hidden files and folders: 3 (.DS_Store, ._A.JPG, .git)",
        "passed over, links to folders, which are not followed: 1 (round)",
        "passed over, no files that can be read: 3 (nowhere.jpg, pipe.jpg, self.png)",
        "passed over, no photos by their names: 2 (Thumbs.db, notes.txt)",
    ]


def test_a_link_to_a_photo_is_a_photo(folder):
    where = folder("a.jpg")
    (where / "b.jpg").symlink_to(where / "a.jpg")
    assert found(where) == ["a.jpg", "b.jpg"]


def test_a_folder_with_the_name_of_a_photo_is_a_folder(folder):
    assert found(folder("a.jpg/b.png")) == ["a.jpg/b.png"]


def test_a_file_without_a_suffix_is_a_photo_if_it_holds_one(folder):
    where = folder("0f3a")
    (where / "LICENSE").write_text("Do what you like")
    listing = list_photos(where)
    assert (list(listing.photos), listing.reasons) == (["0f3a"], {"LICENSE": "no photos by their names"})


def test_results_below_the_photos_are_left_out(folder):
    assert found(folder("a.jpg", "out/hr/a.png"), without=folder() / "out") == ["a.jpg"]


def test_strange_names_are_told_of_in_one_line(folder):
    where = folder("a.jpg", "two\nlines.txt", "-rf.txt", "\u202egnp.exe")
    (where / os.fsdecode(b"\xc4\xfa.doc")).touch()
    (line,) = list_photos(where).passed_over()
    assert line.endswith(r": 4 (-rf.txt, two\nlines.txt, \u202egnp.exe, \xc4\xfa.doc)")


def test_dots_and_spaces_behind_a_suffix_do_not_hide_it(folder):
    assert found(folder("a.jpg .", "b.PNG")) == ["a.jpg .", "b.PNG"]


def test_what_is_named_is_taken_whatever_its_name(folder):
    assert list_photos(folder("a.dat") / "a.dat").photos == {"a.dat": folder() / "a.dat"}


def test_a_list_is_read_relative_to_itself(folder):
    where = folder("photos/b.jpg", "photos/a.jpg", "lists/mine.txt")
    where.joinpath("lists/mine.txt").write_text(
        f"../photos/b.jpg\n\n{where}/photos/a.jpg\n../gone.jpg\n../gone.jpg\n"
    )
    listing = list_photos(where / "lists/mine.txt")
    assert listing.photos == {
        "photos/b.jpg": where / "photos/b.jpg",
        "photos/a.jpg": where / "photos/a.jpg",
        "gone.jpg": where / "gone.jpg",
    }
    assert listing.reasons == {"gone.jpg": "listed twice"}


def test_nothing_is_said_so(folder):
    with pytest.raises(FileNotFoundError, match=r"gone: there is no such photo, folder or list"):
        list_photos(folder() / "gone")
    with pytest.raises(FileNotFoundError, match=r"there are no photos in it"):
        list_photos(folder("notes.txt"))


def test_names_are_taken_as_file_systems_compare_them():
    taken = TakenNames(["folder"])
    assert taken.take(iter(["Folder", "a"])) == "a"
    assert taken.take(iter(["A", "b"])) == "b"
    assert taken.take(iter([CAFE])) == CAFE
    assert taken.take(iter([CAFE_OF_MACOS.upper(), "c"])) == "c"
    assert taken.take(iter(["stra\u00dfe"])) == "stra\u00dfe"
    assert taken.take(iter(["STRASSE", "d"])) == "d"


@pytest.mark.parametrize(
    ("name", "others", "expected"),
    [
        ("a.png", ["a.png", "a.jpg"], ["a.png"]),
        ("a.png", ["b.png", "a.jpg"], ["a.jpg"]),
        ("a.png", ["a.jpg", "a.webp"], ["a.jpg", "a.webp"]),
        ("a.jpg.png", ["a.jpg", "a.webp"], ["a.jpg"]),
        ("a.jpg.2.png", ["a.jpg", "A.jpg"], ["a.jpg"]),
        ("cats/0.png", ["dogs/0.jpg", "cats/0.jpg"], ["cats/0.jpg"]),
        ("0.png", ["dogs/0.jpg"], []),
        ("a.1.png", ["a.2.png"], []),
        (f"{CAFE}.png", [f"{CAFE_OF_MACOS}.png"], [f"{CAFE_OF_MACOS}.png"]),
        (f"{CAFE}.png", [f"{CAFE_OF_MACOS}.png", f"{CAFE}.png"], [f"{CAFE}.png"]),
        (f"{CAFE}.jpg.png", [f"{CAFE_OF_MACOS}.jpg", f"{CAFE}.webp"], [f"{CAFE_OF_MACOS}.jpg"]),
        (f"{CAFE}.png", [f"{CAFE_OF_MACOS}.jpg"], [f"{CAFE_OF_MACOS}.jpg"]),
        ("0001x4.png", ["0001.png"], ["0001.png"]),
        ("0001x4.png", ["0001.png", "0001x4.png"], ["0001x4.png"]),
    ],
)
def test_partners_are_found_by_path_by_what_restore_made_of_it_or_by_stem(name, others, expected):
    assert partners([name], others, ending="x4") == {name: expected}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("b.jpg", "b"),
        ("trip/day 1/c.webp", "trip_day 1_c"),
        ("a:b?.jpg", "a_b_"),
        ("two\nlines.jpg", "two_lines"),
        (os.fsdecode(b"\xc4\xfa.jpg"), "__"),
        ("CON.jpg", "d33210acfa3719a502bcbb4ced285ea6"),
        ("end..jpg", "end"),
    ],
)
def test_names_in_a_data_set_are_those_that_every_system_takes(path, name):
    assert data_name(path) == name


def test_names_too_long_for_a_file_give_way_to_their_hash():
    assert len(data_name("x" * 300 + ".jpg")) == 32


def test_pairs_of_one_name_are_numbered_and_know_their_photos_by_path(folder, tmp_path):
    where = folder("A.jpg", "a.png", "a/b.jpg", "a_b.jpg", f"{CAFE}.jpg", f"{CAFE_OF_MACOS}.jpg")
    plan = PairPlan(tmp_path / "out", RECIPES["mild"], scale=2)
    jobs = {job.samples[0][0]: job.source for job in list_jobs(plan, list_photos(where).photos)}
    assert unicodedata.is_normalized("NFC", CAFE)
    assert jobs == {
        "A.png": "A.jpg",
        f"{CAFE_OF_MACOS}.png": f"{CAFE_OF_MACOS}.jpg",
        f"{CAFE}_2.png": f"{CAFE}.jpg",
        "a_b.png": "a/b.jpg",
        "a_2.png": "a.png",
        "a_b_2.png": "a_b.jpg",
    }
