"""Load Recipe, Edit Recipe and Preview Degradation Grid, as the host calls them."""

import pytest
import torch

from ugc_sr.degrade.recipe import Recipe
from ugc_sr.degrade.recipes import RECIPES

pytestmark = pytest.mark.comfy


@pytest.fixture
def saved(folders):
    """Saves a recipe under a name."""
    from ugc_sr.host.folders import new_recipe

    return lambda name, text: new_recipe(name).write_text(text)


@pytest.fixture
def edit(simple, folders):
    """Edit Recipe, of the simple recipe if none is given."""
    from ugc_sr.nodes.recipe_nodes import EditRecipe

    return lambda recipe=simple, **inputs: (
        EditRecipe.execute(recipe, **({"changes": "", "save_as": ""} | inputs)).result
    )


def nodes():
    """Those that take a recipe."""
    from ugc_sr.nodes.degrade_nodes import DegradeImage
    from ugc_sr.nodes.recipe_nodes import EditRecipe, LoadRecipe, PreviewDegradation

    return DegradeImage, LoadRecipe, EditRecipe, PreviewDegradation


def test_recipes_are_chosen_by_name_or_over_a_link(simple, degrade, saved):
    from ugc_sr.nodes.recipe_nodes import LoadRecipe

    saved("mine", simple.to_json())
    (combo,) = LoadRecipe.define_schema().inputs
    assert combo.options == [*RECIPES, "mine.json"]
    recipe, text = LoadRecipe.execute("mine.json").result
    assert recipe == simple
    assert Recipe.from_json(text) == simple
    photo = torch.rand(1, 16, 16, 3)
    assert torch.equal(degrade(photo, recipe="mine.json")[0], degrade(photo, recipe=simple)[0])


def test_a_recipe_is_checked_before_the_graph_runs(simple, saved):
    saved("broken", simple.to_json().replace('"uniform": [\n            30', '"uniform": [\n            0'))
    for node in nodes():
        assert node.validate_inputs(recipe="ugc") is True
        assert node.validate_inputs(recipe=None) is True
        assert "There is no recipe 'gone.json'. Choose another" in node.validate_inputs(recipe="gone.json")
        for wrong in (7, [5], {}):
            assert "There is no recipe" in node.validate_inputs(recipe=wrong)
        problem = node.validate_inputs(recipe="broken.json")
        assert problem.startswith("'broken.json' in models/degradation_recipes: recipe 'simple': steps[2]")
        assert "quality" in problem


def test_nodes_run_again_when_the_file_of_their_recipe_changes(simple, saved):
    saved("mine", simple.to_json())
    for node in nodes():
        before = node.fingerprint_inputs(recipe="mine.json")
        saved("mine", simple.to_json() + " " * (len(before) + 1))
        assert node.fingerprint_inputs(recipe="mine.json") != before
        assert node.fingerprint_inputs(recipe="ugc") == node.fingerprint_inputs(recipe=None) == ""
        saved("mine", simple.to_json())


def test_an_edited_recipe_is_saved_to_be_chosen_by_name(edit):
    from ugc_sr.nodes.recipe_nodes import LoadRecipe

    recipe, text = edit(changes="steps[2].probability = 0.5", save_as="mine.json")
    assert recipe.name == "mine"
    assert recipe.steps[2]["probability"] == 0.5
    assert LoadRecipe.execute("mine.json").result == (recipe, text)


def test_an_edited_recipe_is_not_saved_without_a_name(edit, folders):
    recipe, _ = edit(RECIPES["ugc"], changes="scale = 2")
    assert (recipe.name, recipe.scale) == ("ugc (edited)", 2)
    assert not (folders / "models").exists()


@pytest.mark.parametrize(
    ("changes", "save_as", "message"),
    [
        ("steps[9].op = 1", "", r"changes, line 1: 'steps\[9\].op' leads nowhere"),
        (
            "steps[2].parameters.quality = 0",
            "x",
            r"recipe 'x': steps\[2\].parameters.quality must be .* got 0",
        ),
        ("", "../x", "'save_as' must be a plain name"),
        ("", "ugc", "'save_as' must not be 'ugc', which comes with the extension"),
    ],
)
def test_a_bad_edit_is_refused_and_nothing_is_saved(edit, folders, changes, save_as, message):
    with pytest.raises(ValueError, match=f"^Edit Recipe: {message}"):
        edit(changes=changes, save_as=save_as)
    assert not list(folders.rglob("*.json"))


def test_a_preview_shows_what_degrade_photo_makes(preview, degrade):
    photo = torch.rand(1, 24, 24, 3).mul(255).round() / 255
    sheet = preview(photo, seed=5, count=3, columns=4)
    expected = torch.nn.functional.interpolate(degrade(photo, seed=7)[0].movedim(-1, 1), scale_factor=64)[0]
    left = 12 + 3 * (384 + 12)
    assert torch.equal(sheet[0, 48 : 48 + 384, left : left + 384].movedim(-1, 0), expected)


def test_each_photo_of_a_batch_has_its_grid(preview):
    photos = torch.rand(2, 16, 16, 4)
    assert torch.equal(preview(photos)[1:], preview(photos[1:]))
