import json
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ugc_sr.degrade.degradation import Degradation, Draw, apply
from ugc_sr.degrade.recipe import Recipe
from ugc_sr.degrade.recipes import RECIPES
from ugc_sr.degrade.steps import choice, effects_in, either, shuffle, step, uniform, words

NOISE = step("gaussian_noise", sigma=uniform(1, 8), grey=False)


def recipe(*steps, **parts):
    return Recipe("test", 2, list(steps), "assumed", **parts)


def bytes_of(pair):
    return [side.mul(255).round().byte().numpy().tobytes() for side in pair]


@pytest.fixture(scope="module")
def photo():
    """Smooth shapes and fine stripes, 48x40."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 40), torch.linspace(0, 1, 48), indexing="ij")
    channels = [x, y, ((x * 40).sin() * 0.5 + 0.5) * (y > 0.5)]
    return torch.stack(channels)[None].mul(255).round().div(255)


@pytest.mark.parametrize("seeds", [range(50), pytest.param(range(50, 200), marks=pytest.mark.deep)])
@pytest.mark.parametrize("name", RECIPES)
def test_200_degradations_replay_to_the_same_bytes_from_their_json(name, seeds, photo):
    for seed in seeds:
        drawn = RECIPES[name].draw(seed)
        replayed = Degradation.from_json(drawn.to_json())
        assert replayed == drawn
        assert bytes_of(apply(replayed, photo)) == bytes_of(apply(drawn, photo)), seed


@pytest.mark.parametrize("name", RECIPES)
def test_a_photo_comes_out_the_same_alone_and_anywhere_in_a_batch(name, photo):
    others = torch.rand(2, *photo.shape[1:])
    for seed in range(12):
        drawn = RECIPES[name].draw(seed)
        alone = apply(drawn, photo)
        for batch, place in ((torch.cat([photo, others]), 0), (torch.cat([others, photo]), 2)):
            together = apply(drawn, batch)
            for side in (0, 1):
                assert torch.equal(together[side][place], alone[side][0])


@pytest.mark.parametrize("name", RECIPES)
def test_a_photo_comes_out_the_same_from_any_memory_layout(name, photo):
    other = photo.movedim(1, -1).contiguous().movedim(-1, 1)
    for seed in range(6):
        assert bytes_of(apply(RECIPES[name].draw(seed), other)) == bytes_of(
            apply(RECIPES[name].draw(seed), photo)
        )


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", RECIPES)
def test_the_number_of_threads_changes_nothing(name, photo, threads):
    large = photo.repeat(1, 1, 6, 6)  # enough for torch to share out
    for seed in range(6):
        results = []
        for number in (1, 2, 3):
            threads(number)
            results.append(bytes_of(apply(RECIPES[name].draw(seed), large)))
        assert results[0] == results[1] == results[2], seed


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("scale", [None, 1, 3])
def test_both_sides_have_their_exact_size_in_8_bit_steps(name, scale, photo):
    for seed in range(4):
        drawn = RECIPES[name].draw(seed, scale)
        pair = apply(drawn, photo[..., :38, :47])
        used = scale or RECIPES[name].scale
        assert pair.lr.shape == (1, 3, 38 // used, 47 // used)
        assert pair.hr.shape == (1, 3, 38 // used * used, 47 // used * used)
        for side in pair:
            assert side.min() >= 0
            assert side.max() <= 1
            torch.testing.assert_close(side * 255, (side * 255).round(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_its_json_and_draws_the_same(name):
    again = Recipe.from_json(RECIPES[name].to_json())
    assert again == RECIPES[name] or again.to_json() == RECIPES[name].to_json()
    assert [again.draw(seed) for seed in range(30)] == [RECIPES[name].draw(seed) for seed in range(30)]


@pytest.mark.parametrize("name", RECIPES)
def test_other_seeds_damage_in_other_ways(name, photo):
    results = {bytes_of(apply(RECIPES[name].draw(seed), photo))[1] for seed in range(20)}
    assert len(results) >= 7


def test_the_scale_changes_no_draw():
    for name in RECIPES:
        assert RECIPES[name].draw(5, scale=2).draws == RECIPES[name].draw(5).draws


def test_steps_happen_as_often_as_their_probability_says():
    often = recipe(step("jpeg", 0.3, quality=50))
    assert sum(len(often.draw(seed).draws) for seed in range(2000)) / 2000 == pytest.approx(0.3, abs=0.03)


def test_uniform_numbers_fill_their_range_and_stay_whole_where_they_must():
    both = recipe(step("jpeg", quality=uniform(60, 64)), NOISE)
    draws = [both.draw(seed).draws for seed in range(400)]
    assert {draw[0].parameters["quality"] for draw in draws} == {60, 61, 62, 63, 64}
    sigmas = [draw[1].parameters["sigma"] for draw in draws]
    assert 1 <= min(sigmas) < 1.2
    assert 7.8 < max(sigmas) <= 8


def test_a_power_makes_the_reciprocal_or_the_square_uniform():
    rescaled = recipe(step("rescale", factor=uniform(1, 8, power=-1), mode="area"))
    values = [rescaled.draw(seed).draws[0].parameters["factor"] for seed in range(2000)]
    assert sum(1 / value for value in values) / 2000 == pytest.approx(4.5, rel=0.03)
    assert min(values) >= 1 / 8
    assert max(values) <= 1


def test_choices_follow_their_weights_and_may_be_distributions():
    rescale = step("rescale", factor=choice((uniform(2, 3), 1.0), (0.2, 0.8)), mode="area")
    factors = [recipe(rescale).draw(seed).draws[0].parameters["factor"] for seed in range(2000)]
    assert sum(factor == 1 for factor in factors) / 2000 == pytest.approx(0.8, abs=0.03)
    assert all(factor == 1 or 2 <= factor <= 3 for factor in factors)


def test_just_one_branch_happens_as_often_as_it_weighs():
    branched = recipe(either((3, [NOISE]), (1, [step("jpeg", quality=50), NOISE])))
    counts = Counter(tuple(draw.op for draw in branched.draw(seed).draws) for seed in range(2000))
    assert set(counts) == {("gaussian_noise",), ("jpeg", "gaussian_noise")}
    assert counts[("gaussian_noise",)] / 2000 == pytest.approx(0.75, abs=0.03)


def test_shuffled_groups_take_every_order_that_keeps_the_ordered_ones():
    groups = tuple([step("jpeg", quality=quality)] for quality in (10, 20, 30))
    orders = Counter(
        tuple(draw.parameters["quality"] for draw in recipe(shuffle(groups, ordered=(0, 2))).draw(seed).draws)
        for seed in range(1200)
    )
    assert set(orders) == {(10, 20, 30), (10, 30, 20), (20, 10, 30)}
    assert all(count / 1200 == pytest.approx(1 / 3, abs=0.05) for count in orders.values())


def test_defaults_are_recorded_too():
    (draw,) = recipe(step("jpeg", quality=50)).draw(0).draws
    assert dict(draw.parameters) == {"quality": 50, "subsampling": "4:2:0", "codec": "libjpeg"}


def test_what_is_burned_in_belongs_to_both_sides_and_the_target_is_sharpened_alone(photo):
    burned = recipe(clean=[step("color_filter", brightness=0.3)])
    assert apply(burned.draw(0), photo).hr.mean() > photo.mean() + 0.05
    plain, sharp = apply(recipe(NOISE).draw(0), photo), apply(recipe(NOISE).sharpened().draw(0), photo)
    assert torch.equal(plain.lr, sharp.lr)
    assert not torch.equal(plain.hr, sharp.hr)


def test_the_saved_target_makes_the_same_damaged_photo_again(photo):
    drawn = recipe(NOISE, clean=[step("color_filter", brightness=0.3)]).draw(0)
    pair = apply(drawn, photo)
    assert torch.equal(apply(Degradation("x", 0, 2, drawn.draws), pair.hr).lr, pair.lr)


@pytest.mark.parametrize("op", ["webp", "avif", "video", "caption", "sticker"])
def test_a_step_that_pytorch_can_not_compute_is_named(op):
    entry = next(e for e in effects_in([*RECIPES["ugc"].clean, *RECIPES["ugc"].steps]) if e["op"] == op)
    for made in (recipe(NOISE, entry), recipe(clean=[entry]), recipe(target=[entry])):
        with pytest.raises(ValueError, match=f"recipe 'test' uses {op}, which PyTorch can't compute"):
            made.differentiable()


def test_a_photo_smaller_than_the_scale_is_refused():
    with pytest.raises(ValueError, match=r"a photo of 3x40 px can't be shrunk by 4; use a larger photo"):
        apply(RECIPES["mild"].draw(0), torch.rand(1, 3, 40, 3))


@pytest.mark.parametrize(
    ("degradation", "message"),
    [
        (Degradation("x", 0, 4, (Draw("melt", {}, 0),)), r"draws\[0\]: unknown op 'melt'; known are"),
        (Degradation("x", 0, 4, (), (Draw("jpeg", {"quality": 0}, 0),)), r"clean\[0\]: jpeg: quality must"),
        (Degradation("x", 0, 0, ()), r"scale must be a whole number from 1 on, got 0"),
    ],
)
def test_an_edited_degradation_that_can_not_be_applied_is_refused(degradation, message, photo):
    with pytest.raises(ValueError, match=message):
        apply(degradation, photo)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "degradation: not JSON"),
        ("[]", "expected a JSON object, got list"),
        ('{"recipe": "x"}', "missing 2 required positional arguments.*expected a degradation as JSON"),
        ('{"recipe": "x", "seed": 0, "scale": 4, "draws": [3]}', "expected a degradation as JSON"),
    ],
)
def test_a_text_that_is_no_degradation_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Degradation.from_json(text)


STEP = {"op": "jpeg", "parameters": {"quality": 50}}


def data(*steps, **fields):
    return {"name": "mine", "scale": 4, "source": "assumed", "steps": list(steps)} | fields


def quality(value):
    return data({"op": "jpeg", "parameters": {"quality": value}})


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ([], r"recipe must be a JSON object"),
        (3, r"recipe must be a JSON object"),
        ("name", r"recipe must be a JSON object"),
        (data() | {"stpes": []}, r"recipe 'mine': unknown field 'stpes'"),
        ({"name": "mine"}, r"recipe 'mine': 'scale' is missing"),
        (data(scale=0), r"scale must be a whole number in 1..16, got 0"),
        (data(scale=17), r"scale must be a whole number in 1..16, got 17"),
        (data(scale=True), r"scale must be a whole number in 1..16, got True"),
        (data(name=" "), r"name must be a text"),
        (data(name=3), r"recipe 3 name must be a text, got 3"),
        (data(source=3), r"recipe 'mine' source must be a text, got 3"),
        (data(STEP, {"op": "melt"}), r"recipe 'mine': steps\[1\].op: unknown step 'melt'"),
        (data({"op": ["jpeg"]}), r"steps\[0\].op must be the name of a step"),
        (data({"op": "jpeg"}), r"steps\[0\].parameters.quality: jpeg needs it and it is missing"),
        (quality(0), r"must be a whole number in 1..100, got 0"),
        (quality({"uniform": [0, 90]}), r"steps\[0\].parameters.quality must be a whole number .*, got 0"),
        (quality({"uniform": [90, 30]}), r"quality must be a range \[low, high\], .*, got \[90, 30\]"),
        (quality([1, 2]), r"quality must be a value, \{\"uniform\""),
        (quality({"uniform": [1]}), r"uniform must be a range \[low"),
        (quality({"choice": []}), r"must offer something to choose"),
        (quality({"choice": [50, 0]}), r"quality.choice\[1\] must be a whole number in 1..100, got 0"),
        (quality({"choice": [50, 60], "weights": [1]}), r"needs 2 weights >= 0, not all 0, got \[1\]"),
        (data(STEP | {"probability": 1.5}), r"steps\[0\].probability must be in 0..1, got 1.5"),
        (data({"op": "jpeg", "parameters": {"qulity": 50}}), r"jpeg has no such parameter; it has quality"),
        (data({"either": []}), r"steps\[0\].either must offer something"),
        (data({"either": [{"weight": -1, "steps": []}]}), r"needs 1 weights >= 0"),
        (data({"shuffle": [[STEP], [{"op": "melt"}]]}), r"steps\[0\].shuffle\[1\]\[0\].op: unknown step"),
        (data({"shuffle": [[STEP]], "ordered": [1]}), r"ordered must be numbers of groups, got \[1\]"),
        (data({"shuffle": [[STEP]], "ordered": [0.0]}), r"ordered must be numbers of groups, got \[0.0\]"),
        (
            data({"op": "rescale", "parameters": {"factor": {"uniform": [0, 1], "power": -1}}}),
            r"factor.power must be a number, of a range of positive numbers",
        ),
        (quality({"words": "caption"}), r"quality takes no words"),
        (data({"op": "caption", "parameters": {"text": {"words": "poem"}}}), r"words must be one of caption"),
    ],
)
def test_a_broken_recipe_is_refused_by_the_name_of_the_field(broken, message):
    with pytest.raises(ValueError, match=message):
        Recipe.from_json(json.dumps(broken))


@pytest.mark.parametrize("scale", [1, 16])
def test_the_smallest_and_the_largest_scale_are_taken(scale):
    assert Recipe.from_json(json.dumps(data(scale=scale))).draw(0).scale == scale


def test_every_part_is_read_back_and_what_is_written_can_be_read_by_a_person():
    made = Recipe("猫", 2, [NOISE], "assumed", clean=[step("color_filter")]).sharpened()
    assert Recipe.from_json(made.to_json()) == made
    assert '"name": "猫"' in made.to_json().splitlines()[1]


def test_text_that_is_not_json_is_refused():
    with pytest.raises(ValueError, match="recipe: not JSON"):
        Recipe.from_json("{")


FIELDS = (
    *("op", "parameters", "probability", "quality", "uniform", "power", "choice", "weights", "words"),
    *("either", "weight", "steps", "shuffle", "ordered"),
)
WORDS = ("jpeg", "area", "caption", "")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 100) | st.floats() | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(JSON, max_size=3), JSON)
def test_whatever_stands_in_the_file_it_is_a_recipe_or_a_clear_error(steps, scale):
    said = "recipe"
    try:
        Recipe.from_json(json.dumps(data(*steps, scale=4 if scale is None else scale))).draw(0).to_json()
    except ValueError as error:
        said = str(error)
    assert said.startswith("recipe")


def test_words_are_drawn_and_recorded():
    price = step("caption", text=words("price"), x=0.5, y=0.5, size=0.1, style="plain")
    texts = {recipe(clean=[price]).draw(seed).clean[0].parameters["text"] for seed in range(20)}
    assert len(texts) > 5
    assert all(texts)
