import pytest

from ugc_sr.degrade.dataset.listing import find_photos, unused


@pytest.fixture
def folder(tmp_path):
    """Makes empty files in a folder."""

    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make


def test_a_folder_is_searched_in_order_and_sub_folders_go_into_the_names(folder):
    where = folder("b.jpg", "a.png", "trip/day 1/c.webp")
    assert list(find_photos(where)) == ["a", "b", "trip_day 1_c"]
    assert find_photos(where)["trip_day 1_c"] == where / "trip/day 1/c.webp"


def test_hidden_files_system_files_notes_and_results_are_left_out(folder):
    names = (".hidden.jpg", ".cache/x.jpg", "Thumbs.db", "a.jpg", "a.txt", "a.json", "out/hr/a.png")
    assert list(find_photos(folder(*names), without=folder("out") / "out")) == ["a"]


def test_what_is_no_note_of_a_photo_stays_to_be_reported(folder):
    assert list(find_photos(folder("a.jpg", "notes.txt"))) == ["a", "notes"]


def test_names_are_unique_on_disks_that_ignore_case(folder):
    assert list(find_photos(folder("A.jpg", "a.png", "a/b.jpg", "a_b.jpg"))) == ["A", "a_b", "a_2", "a_b_2"]


def test_a_list_is_read_relative_to_itself(folder):
    where = folder("photos/b.jpg", "photos/a.jpg", "lists/mine.txt")
    where.joinpath("lists/mine.txt").write_text(f"../photos/b.jpg\n\n{where}/photos/a.jpg\n../gone.jpg\n")
    assert find_photos(where / "lists/mine.txt") == {
        "photos_b": where / "photos/b.jpg",
        "photos_a": where / "photos/a.jpg",
        "gone": where / "gone.jpg",
    }


def test_one_photo_is_enough(folder):
    assert find_photos(folder("a.jpg") / "a.jpg") == {"a": folder() / "a.jpg"}


def test_nothing_is_said_so(folder):
    with pytest.raises(FileNotFoundError, match=r"gone: there is no such photo, folder or list"):
        find_photos(folder() / "gone")
    with pytest.raises(FileNotFoundError, match=r"there are no photos in it"):
        find_photos(folder())


def test_names_too_long_for_a_file_give_way_to_their_hash():
    taken = set()
    first, second = unused("x" * 300, taken), unused("x" * 300, taken)
    assert len(first) == 32
    assert second == f"{first}_2"
