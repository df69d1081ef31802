"""Folders of their own for the recipes and data sets of a test, and what its nodes make."""

import pytest

from ugc_sr.degrade.recipe import Recipe
from ugc_sr.degrade.steps import step, uniform


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """The host's folders, below the test's own."""
    import folder_paths

    monkeypatch.setattr(
        folder_paths, "folder_names_and_paths", {"datasets": ([str(tmp_path / "datasets")], set())}
    )
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path / "models"))
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    return tmp_path


@pytest.fixture(scope="module")
def nano():
    """The parts of the bundled model."""
    from ugc_sr.host.nano import load_nano

    return load_nano()


@pytest.fixture(scope="session")
def simple():
    """A recipe with a little of everything."""
    return Recipe(
        name="simple",
        scale=4,
        source="assumed",
        steps=[
            step("shrink", mode="area"),
            step("gaussian_noise", sigma=uniform(1, 20), grey=False),
            step("jpeg", quality=uniform(30, 90)),
        ],
        clean=[step("color_filter", brightness=uniform(0.05, 0.2))],
    )


@pytest.fixture
def degrade(simple):
    """Degrade Photo, by the simple recipe if none is given."""
    from ugc_sr.nodes.degrade_nodes import DegradeImage

    def run(image, recipe=simple, seed=0, scale=4, sharpen_target=False):
        return DegradeImage.execute(image, recipe, seed, scale, sharpen_target).result

    return run


@pytest.fixture
def preview(simple, folders):
    """Preview Degradation Grid."""
    from ugc_sr.nodes.recipe_nodes import PreviewDegradation

    def run(image, recipe=simple, seed=0, count=2, columns=2, scale=4, crop=0):
        return PreviewDegradation.execute(image, recipe, seed, count, columns, scale, crop).result[0]

    return run
