import folder_paths
import pytest

from ugc_sr.host import folders

pytestmark = pytest.mark.comfy


def test_a_new_recipe_is_found_by_its_name(models):
    assert folders.recipe_files() == []
    for name in ("mine", "mine.json", " mine.JSON "):
        file = folders.new_recipe(name)
        assert file == models / "degradation_recipes" / "mine.json"
    file.write_text("{}")
    (file.parent / "notes.txt").write_text("")
    assert folders.recipe_files() == ["mine.json"]
    assert folders.find_recipe("mine.json") == file


def test_a_folder_that_the_user_gave_that_name_stays_first(models):
    folder_paths.add_model_folder_path("degradation_recipes", str(models / "elsewhere"))
    for folder in (models / "elsewhere", models / "degradation_recipes"):
        folder.mkdir()
        (folder / "same.json").write_text(folder.name)
    assert folders.recipe_files() == ["same.json"]
    assert folders.find_recipe("same.json").read_text() == "elsewhere"
    assert folders.new_recipe("new").parent == models / "elsewhere"


@pytest.mark.parametrize("name", ["gone.json", "mine", "../secret.json", ""])
def test_a_recipe_that_is_not_there_is_named(models, name):
    (models / "secret.json").write_text("{}")
    folders.new_recipe("other").write_text("{}")
    with pytest.raises(FileNotFoundError, match=rf"There is no recipe '{name}'. .* into models/degradation_"):
        folders.find_recipe(name)


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", ".hidden", "trailing.", "x" * 101, "c:d", "a\nb"])
def test_a_name_that_is_no_file_name_is_refused(models, name):
    with pytest.raises(ValueError, match="'save_as' must be a plain name"):
        folders.new_recipe(name)


def test_data_sets_lie_in_the_hosts_folder_for_them(models):
    assert folders.dataset_folder("pets/first") == models / "datasets" / "pets" / "first"


@pytest.mark.parametrize("name", ["", " ", ".", "..", "../x", "/etc", "a/../../x", "a\0b"])
def test_a_data_set_elsewhere_is_refused(models, name):
    with pytest.raises(ValueError, match=r"'folder' must name a folder inside .*datasets"):
        folders.dataset_folder(name)


def test_a_link_out_of_the_data_sets_is_refused(models):
    (models / "datasets").mkdir()
    (models / "datasets" / "link").symlink_to(models)
    with pytest.raises(ValueError, match="must name a folder inside"):
        folders.dataset_folder("link/x")
