import pytest

from ugc_sr.degrade.edit import edit
from ugc_sr.degrade.recipe import Recipe
from ugc_sr.degrade.steps import choice, step, uniform


@pytest.fixture
def recipe():
    return Recipe(
        name="upload",
        scale=4,
        source="assumed",
        steps=[
            step("shrink", mode="area"),
            step("jpeg", 0.5, quality=uniform(60, 95), subsampling="4:2:0"),
        ],
    )


def test_no_changes_leave_the_recipe_as_it_is(recipe):
    assert edit(recipe, "\n  \n# nothing = 1\n") == recipe


def test_a_line_changes_one_field(recipe):
    edited = edit(recipe, 'steps[1].parameters.quality = {"uniform": [30, 60]}')
    assert edited.steps == [
        recipe.steps[0],
        step("jpeg", 0.5, quality=uniform(30, 60), subsampling="4:2:0"),
    ]
    assert recipe.steps[1]["parameters"]["quality"] == uniform(60, 95)


def test_lines_act_from_top_to_bottom(recipe):
    changes = """
        # drop the shrinking, then soften the JPEG
        steps[0] = null
        steps[0].parameters.subsampling = {"choice": ["4:4:4", "4:2:0"], "weights": [1, 3]}
        steps[0].probability = 1
        steps[1] = {"op": "shrink", "parameters": {"mode": "bicubic"}}
        scale = 2
    """
    edited = edit(recipe, changes)
    subsampling = choice(("4:4:4", "4:2:0"), (1, 3))
    assert edited.scale == 2
    assert edited.steps == [
        step("jpeg", quality=uniform(60, 95), subsampling=subsampling) | {"probability": 1},
        step("shrink", mode="bicubic"),
    ]


def test_a_changed_recipe_is_not_called_like_the_old_one(recipe):
    assert edit(recipe, "scale = 2").name == "upload (edited)"
    assert edit(recipe, "scale = 2", name="mine").name == "mine"
    assert edit(recipe, "", name="mine").name == "mine"
    assert edit(recipe, 'scale = 2\nname = "other"', name="mine").name == "other"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("steps[1].probability", r"line 2: expected 'path = JSON value', .*; got 'steps\[1\].probability'"),
        ("steps[-1].op = 1", r"line 2: expected 'path = JSON value'"),
        ("steps[1].op = jpeg", r"line 2: 'jpeg' is not a JSON value .* Put texts in double quotes"),
        ("steps[2].op = 1", r"line 2: 'steps\[2\].op' leads nowhere: no \[2\], the list has 2 entries"),
        ("steps[3] = 1", r"line 2: 'steps\[3\]' leads nowhere: no \[3\], the list has 2 entries"),
        ("steps.op = 1", r"no 'op', it is a list; give a number"),
        ("steps[0].parameter.mode = 1", r"no 'parameter', there is op, parameters"),
        ("steps[0].parameters.antialias = null", r"no 'antialias', there is mode"),
        ("scale[0] = 1", r"no \[0\], it is a plain value"),
        ("steps[0][1] = 1", r"no \[1\], it is no list but has names"),
        ("steps[1].parameters.quality = 0", r"steps\[1\].parameters.quality must be .* got 0"),
        ('steps[1].op = "melt"', r"steps\[1\].op: unknown step 'melt'"),
        ('colour = "red"', r"unknown field 'colour'"),
        ("steps = null", r"'steps' is missing"),
        ("name = null", r"'name' is missing"),
        ("scale = 0", r"scale must be a whole number in 1..16, got 0"),
    ],
)
def test_a_line_that_leads_nowhere_or_to_a_recipe_that_would_not_work_is_named(recipe, line, message):
    with pytest.raises(ValueError, match=f"^changes, {message}" if message.startswith("line") else message):
        edit(recipe, f"\n{line}")
