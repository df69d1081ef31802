"""Hostile JSON of recipes, manifests, presets and workflows: used or refused in words, in bounds."""

import copy
import json

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ugc_sr.degrade.dataset.pair_folder import PairFolder
from ugc_sr.degrade.degradation import Degradation, apply
from ugc_sr.degrade.edit import edit
from ugc_sr.degrade.recipe import Recipe
from ugc_sr.degrade.recipes import RECIPES
from ugc_sr.restore.workflow import read_graph
from ugc_sr.sample.presets import TunedPreset

same_file = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

LEAVES = st.sampled_from(
    [
        *(
            None,
            True,
            False,
            0,
            1,
            -1,
            2,
            0.5,
            1e308,
            -1e308,
            10**400,
            2**64,
            10**12,
            float("nan"),
            float("inf"),
        ),
        *("", "x", "x" * 5000, "\ud800", "../../x", "\x00", "ugc", "jpeg", "rescale", "uniform", "area"),
        *([], {}, [1, 0], [[]], {"uniform": [1, 2]}, {"uniform": [2, 9], "power": 10**12}, {"words": []}),
        *({"choice": [1, 2], "weights": [10**400, 0.5]}, {"choice": [], "weights": []}),
        {"choice": [{"choice": [1]}]},
    ]
).map(copy.deepcopy)
DEEP = [
    "[" * 100_000,
    '{"a":' * 50_000,
    "9" * 10_000,
    '"' + "x" * 100_000,
    "\x00",
    "",
    "NaN",
    "{",
    '{"name": []}',
]
PHOTO = torch.linspace(0, 1, 3 * 24 * 32).view(1, 3, 24, 32)


def places(data, path=()):
    """The path of every value inside of what JSON holds."""
    yield path
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in entries:
        yield from places(value, (*path, key))


@st.composite
def harmed(draw, sources):
    """One of `sources` with a few values replaced, removed or given twice."""
    data = {"": copy.deepcopy(draw(st.sampled_from(sources)))}
    for _ in range(draw(st.integers(1, 3))):
        *parents, last = ("", *draw(st.sampled_from(list(places(data[""])))))
        place = data
        for key in parents:
            place = place[key]
        match draw(st.sampled_from(["replace", "replace", "remove", "repeat"])):
            case "remove" if parents:
                del place[last]
            case "repeat" if isinstance(place, list):
                place.extend([place[last]] * 3)
            case _:
                place[last] = draw(LEAVES)
    return json.dumps(data[""])


def degrade(text):
    recipe = Recipe.from_json(text)
    for seed in range(3):
        made = recipe.draw(seed)
        assert Degradation.from_json(made.to_json()) == made
        apply(made, PHOTO)
    recipe.to_json()


NOISE = {"op": "gaussian_noise", "parameters": {"sigma": 20.0, "grey": True}, "seed": True}


def replay(text):
    apply(Degradation.from_json(text), PHOTO)


@same_file
@given(harmed([recipe.to_data() for recipe in RECIPES.values()]))
def test_a_recipe_with_anything_in_it_works_or_is_refused(refusal, text):
    refusal(degrade, text)


@same_file
@example(json.dumps({"recipe": "x", "seed": 1, "scale": 4, "draws": [NOISE]}))
@given(
    harmed(
        [json.loads(RECIPES[name].draw(seed).to_json()) for name in ("ugc", "bsrgan_x4") for seed in range(4)]
    )
)
def test_a_degradation_with_anything_in_it_is_replayed_or_refused(refusal, text):
    refusal(replay, text)


@pytest.mark.parametrize(
    "parse", [degrade, replay, lambda text: TunedPreset.from_json(text)], ids=["recipe", "replay", "preset"]
)
@pytest.mark.parametrize("text", DEEP, ids=range(len(DEEP)))
def test_text_that_no_parser_likes_is_refused(refusal, parse, text):
    assert refusal(parse, text)


@same_file
@given(
    st.sampled_from(
        ["steps[0]", "steps[0].op", "steps[1].parameters", "scale", "name", "steps[99999999999]", "a" * 5000]
    ),
    LEAVES,
)
def test_any_change_of_a_recipe_works_or_is_refused(refusal, path, value):
    refusal(edit, RECIPES["ugc"], f"{path} = {json.dumps(value)}")


@pytest.mark.parametrize("text", DEEP[:4], ids=range(4))
def test_a_change_that_no_parser_likes_names_its_line(refusal, text):
    assert "changes, line 2" in refusal(edit, RECIPES["ugc"], f"# a note\nscale = {text}")


def test_steps_that_enlarge_without_end_are_refused_before_memory_runs_out(refusal):
    steps = [{"op": "rescale", "parameters": {"factor": n, "mode": "nearest"}} for n in (2, *[8] * 12)]
    data = {"name": "bomb", "scale": 1, "source": "", "steps": steps}
    assert "more than 256 megapixels can't be held" in refusal(degrade, json.dumps(data))


@pytest.mark.parametrize("letters", ["a " * 200_000, "a" * 400_000, "\ue000" * 2000])
def test_a_caption_of_any_length_takes_no_time(refusal, letters):
    parameters = {"text": letters, "x": 0.5, "y": 0.5, "size": 0.1, "style": "plain"}
    data = {"name": "long", "scale": 1, "source": "", "steps": [{"op": "caption", "parameters": parameters}]}
    assert "letters; it may have 1000" in refusal(degrade, json.dumps(data))


LINE = {
    "name": "a.png",
    "source": "a",
    "origin": "recipe",
    "crop": None,
    "recipe": "ugc",
    "seed": 1,
    "degradation": None,
}


def open_folder(folder):
    with PairFolder(folder, {"recipe": 1}):
        pass


@same_file
@example(json.dumps(LINE), '{"recipe": {"uniform": [1, 2]}}')
@example(json.dumps(LINE), json.dumps({"recipe": "x" * 5000}))
@given(harmed([LINE]), harmed([{"recipe": 1, "scale": 4, "mix": {"recipe": 1}}]))
def test_any_manifest_is_used_or_refused(tmp_path, refusal, line, settings_text):
    for side in ("hr", "lr"):
        (tmp_path / side).mkdir(exist_ok=True)
        (tmp_path / side / "a.png").touch()
    (tmp_path / "manifest.jsonl").write_text(line + "\n")
    (tmp_path / "dataset.json").write_text(settings_text)
    refusal(open_folder, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"hr", "lr", "manifest.jsonl", "dataset.json"}


@pytest.mark.parametrize("text", DEEP, ids=range(len(DEEP)))
def test_a_manifest_that_no_parser_likes_is_refused_by_its_line(tmp_path, refusal, text):
    (tmp_path / "manifest.jsonl").write_text(text + "\n")
    words = refusal(open_folder, tmp_path)
    assert "manifest.jsonl, line 1: expected a pair in JSON" in words


@pytest.mark.parametrize("text", DEEP, ids=range(len(DEEP)))
def test_settings_that_no_parser_likes_are_refused(tmp_path, refusal, text):
    (tmp_path / "dataset.json").write_text(text)
    words = refusal(open_folder, tmp_path)
    assert "dataset.json: expected settings in JSON" in words if words else text.startswith("{")


SAVE_IMAGE = {"class_type": "SaveImage", "inputs": {}}


@same_file
@given(harmed([{"1": {"class_type": "LoadImage", "inputs": {"image": "x"}}, "2": SAVE_IMAGE}]))
def test_any_workflow_is_read_or_refused(tmp_path, refusal, text):
    (tmp_path / "w.json").write_text(text)
    refusal(read_graph, tmp_path / "w.json")
