import copy
import json
import math
from collections import Counter
from dataclasses import asdict, replace

import pytest

from ugc_sr.restore.server import CHECKOUT
from ugc_sr.sample.presets import (
    NAMES,
    SHARPNESS,
    SHIPPED,
    TUNED,
    Comparison,
    FidelityCurve,
    Point,
    TunedPreset,
    apply,
    clean_tags,
    load,
)

GRAPH = {
    "1": {"class_type": "KSampler", "inputs": {"steps": 20, "cfg": 7.0, "model": ["2", 0]}},
    "2": {"class_type": "Load", "inputs": {"name": "a"}},
}
PRESET = TunedPreset(
    name="nano",
    objective={"psnr_y": 1.0},
    values={"KSampler.steps": 4, "KSampler.cfg": 1.5, "Load.name": "b"},
    tuned_on=Comparison(2, {"psnr_y": 30.0}, {"psnr_y": 31.0}, gain=1.0, interval=(0.5, 1.5)),
    held_out=Comparison(1, {"psnr_y": 30.0}, {"psnr_y": 29.0}, gain=-1.0, interval=None),
    made_with={"seed": 0, "host": "0.30.0"},
)
CURVE = FidelityCurve(
    name="nano",
    fidelity="psnr_y",
    perception="niqe",
    points=tuple(
        Point(position, {"KSampler.steps": steps}, {"psnr_y": 30 + position, "niqe": 5.0 + position})
        for position, steps in ((0.0, 30), (0.6, 10), (1.0, 1))
    ),
    made_with={"seed": 0},
)


@pytest.mark.parametrize("made", [PRESET, CURVE, load("wild")], ids=["preset", "curve", "shipped"])
def test_it_reads_back_from_its_json(made):
    assert type(made).from_json(json.dumps(asdict(made))) == made


def test_values_go_into_a_copy_of_the_graph():
    before = copy.deepcopy(GRAPH)
    changed = apply(PRESET.values, GRAPH)
    assert before == GRAPH
    assert changed["1"]["inputs"] == {"steps": 4, "cfg": 1.5, "model": ["2", 0]}
    assert changed["2"]["inputs"] == {"name": "b"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"Color.method": "lab"}, r"Color.method: the graph has 0 nodes Color; expected one"),
        (
            {"KSampler.denoise": 1.0},
            r"KSampler.denoise: the node has no such input; it has steps, cfg, model",
        ),
        ({"KSampler.model": 1}, r"KSampler.model: another node is linked to this input. Unlink it"),
        ({"KSampler": 1}, r"KSampler: the node has no such input"),
    ],
)
def test_values_that_the_graph_has_no_place_for_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        apply(values, GRAPH)


def test_a_node_that_stands_there_twice_is_refused():
    with pytest.raises(ValueError, match=r"KSampler.steps: the graph has 2 nodes KSampler; expected one"):
        apply({"KSampler.steps": 1}, GRAPH | {"3": GRAPH["1"]})


@pytest.mark.parametrize(
    ("fidelity", "steps"), [(0, 30), (0.29, 30), (0.3, 10), (0.79, 10), (0.8, 1), (1, 1)]
)
def test_the_curve_gives_the_nearest_point_that_was_measured(fidelity, steps):
    assert CURVE.at(fidelity) == {"KSampler.steps": steps}


def test_only_an_interval_above_nothing_beats_the_default():
    assert PRESET.tuned_on.beats_default
    assert not PRESET.held_out.beats_default
    assert not Comparison(9, {}, {}, gain=1.0, interval=(-0.1, 2.1)).beats_default
    assert not Comparison(9, {}, {}, gain=1.0, interval=(0.0, 2.0)).beats_default


def test_a_curve_starts_anywhere_but_rises_to_1():
    content = asdict(CURVE)
    for positions in ((0.0, 0.6, 0.9), (0.0, 0.6, 0.6), (0.6, 0.2, 1.0), (-1.0, 0.5, 1.0)):
        for point, position in zip(content["points"], positions, strict=True):
            point["position"] = position
        with pytest.raises(ValueError, match=r"points: expected rising positions from 0 on, the last 1; got"):
            FidelityCurve.from_json(json.dumps(content))
    with pytest.raises(ValueError, match="points: expected rising positions"):
        FidelityCurve.from_json(json.dumps(content | {"points": []}))


INTERVAL = {"tuned_on": asdict(PRESET)["tuned_on"] | {"interval": [1.0]}}


@pytest.mark.parametrize(
    ("made", "change", "message"),
    [
        (PRESET, {"name": 3}, r"preset.name: expected a text, got 3"),
        (PRESET, {"values": []}, r"preset.values: expected an object, got \[\]"),
        (
            PRESET,
            {"values": {"KSampler.steps": None}},
            r"preset.values.KSampler.steps: expected a text or a whole number",
        ),
        (
            PRESET,
            {"objective": {"niqe": "much"}},
            r"preset.objective.niqe: expected a number or a whole number, got 'much'",
        ),
        (PRESET, {"tuned_on": None}, r"preset.tuned_on: expected an object, got None"),
        (PRESET, INTERVAL, r"preset.tuned_on.interval: expected 2 entries, got 1"),
        (
            PRESET,
            {"extra": 1},
            r"preset: expected (name, objective, values, tuned_on, held_out, made_with); got \1, extra\.",
        ),
        (CURVE, {"points": {}}, r"curve.points: expected a list, got {}"),
        (load("wild"), {"curve": 1}, r"preset.curve: expected a text, got 1"),
        (load("wild"), {"base": "sdxl"}, r"preset.base: expected one of sd2, sd_turbo, nano; got 'sdxl'"),
        (load("wild"), {"start": "sdxl"}, r"preset.start: expected one of photo, noise, own; got 'sdxl'"),
    ],
)
def test_a_broken_file_is_refused_by_its_field(made, change, message):
    with pytest.raises(ValueError, match=message):
        type(made).from_json(json.dumps(asdict(made) | change))


def test_what_could_not_be_read_back_is_not_written():
    for broken in (
        replace(PRESET, objective={"niqe": float("nan")}),
        replace(CURVE, made_with={"x": math.inf}),
    ):
        with pytest.raises(ValueError, match="not JSON compliant"):
            broken.to_json()


@pytest.mark.parametrize(("kind", "name"), [(TunedPreset, "nano"), (FidelityCurve, "nano_curve")])
def test_a_tuned_file_is_as_it_was_written(kind, name):
    text = (TUNED / f"{name}.json").read_text()
    assert kind.from_json(text).to_json() == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"preset: this is no JSON"),
        ('{"name": NaN}', r"NaN is no number"),
        ("3", "object"),
        ("{}", r"preset: expected name, .*; got nothing"),
    ],
)
def test_what_is_no_json_object_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        TunedPreset.from_json(text)


def test_the_tuned_preset_and_curve_fit_the_quick_start(anatomy):
    graph = anatomy("photo.png")
    preset = TunedPreset.from_json((TUNED / "nano.json").read_text())
    curve = FidelityCurve.from_json((TUNED / "nano_curve.json").read_text())
    for values in (preset.values, *(point.values for point in curve.points)):
        assert apply(values, graph).keys() == graph.keys()
    assert preset.held_out is not None


def test_every_file_is_a_preset_of_its_name():
    assert {file.stem for file in SHIPPED.glob("*.json")} == set(NAMES)
    assert [load(name).name for name in NAMES] == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_sets_the_same_inputs_of_the_quick_start(name, anatomy):
    assert load(name).values.keys() == load("nano").values.keys()
    assert apply(load(name).values, anatomy("photo.png"))


@pytest.mark.parametrize("name", NAMES)
def test_every_value_has_one_source(name):
    preset = load(name)
    told = Counter(key for keys in preset.sources.values() for key in keys)
    assert told == Counter([*preset.values, "start", "prompt", "negative"])
    assert all(preset.sources)


def test_nano_is_the_quick_start(anatomy):
    assert apply(load("nano").values, anatomy("photo.png")) == anatomy("photo.png")
    tuned = TunedPreset.from_json((TUNED / "nano.json").read_text())
    default, preset = tuned.held_out.default, tuned.held_out.preset
    assert default["psnr_y"] > preset["psnr_y"]  # a trade: else nano should be the tuned one


def test_ddpm_takes_the_timesteps_that_it_was_published_with():
    ddpm = [load(name).values for name in NAMES if load(name).values["KSampler.sampler_name"] == "ddpm"]
    assert len(ddpm) == 4
    for values in ddpm:
        assert 1000 % values["KSampler.steps"] == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_negative_prompt_is_there_where_it_is_used(name):
    preset = load(name)
    assert bool(preset.negative) == (preset.values["KSampler.cfg"] > 1)


def test_wild_and_synthetic_are_what_srlab_published():
    wild, synthetic = load("wild"), load("synthetic")
    assert (wild.values["KSampler.steps"], wild.values["KSampler.cfg"]) == (50, 8.5)
    assert wild.prompt == "clean, high-resolution, 8k, ultra-detailed, ultra-realistic"
    assert wild.negative == "dotted, noise, blur, lowres, smooth"
    assert {key for key in wild.values if wild.values[key] != synthetic.values[key]} == {"KSampler.cfg"}
    assert synthetic.values["KSampler.cfg"] == 1
    assert wild.start == synthetic.start == "noise"


def test_fidelity_moves_the_bundled_model_from_its_sharpest_to_its_truest_picture():
    nano, wild = load("nano"), load("wild")
    steps = (0.0, 0.25, 0.5, 0.75, 1.0)
    assert [nano.at(step)[SHARPNESS] for step in steps] == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert all(nano.at(step) == {**nano.values, SHARPNESS: nano.at(step)[SHARPNESS]} for step in steps)
    assert wild.at(0.0) == wild.at(1.0) == wild.values


def test_along_the_curve_truth_falls_as_the_looks_improve():
    curve = FidelityCurve.from_json((TUNED / "nano_curve.json").read_text())
    truth, distance = ([p.figures[name] for p in curve.points] for name in (curve.fidelity, curve.perception))
    assert curve.fidelity == "ssim_y"
    assert truth == sorted(truth)
    assert truth[-1] - truth[0] > 0.005
    assert distance == sorted(distance)


@pytest.mark.parametrize("name", ["wild", "nano"])
@pytest.mark.parametrize("fidelity", [-0.01, 1.01, float("nan")])
def test_a_fidelity_beside_the_range_is_refused(name, fidelity):
    with pytest.raises(ValueError, match="fidelity must lie from 0 to 1, got"):
        load(name).at(fidelity)


def test_a_preset_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="There is no preset 'wide'; there are wild, synthetic, seesr"):
        load("wide")


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("", []),
        (" ,, ;\n|", []),
        ("cat, sofa", ["cat", "sofa"]),
        ("  black   cat ,sofa,", ["black cat", "sofa"]),
        ("cat | sofa | Cat", ["cat", "sofa"]),
        ("Sofa\ncat; sofa, lamp", ["Sofa", "cat", "lamp"]),
        ("(cat:1.2), 猫", ["(cat:1.2)", "猫"]),
    ],
)
def test_tags_are_cleaned_and_keep_their_order(text, tags):
    assert clean_tags(text) == tags


def test_the_prompt_is_tags_then_extra_words_then_the_presets_own():
    synthetic = load("synthetic")
    assert synthetic.positive("cat,  sofa", " at night, cat ") == (
        "cat, sofa, at night, cat, clean, high-resolution, 8k"
    )
    assert synthetic.positive("") == "clean, high-resolution, 8k"
    assert load("nano").positive("") == ""


def table(preset):
    """The row of a preset in docs/presets.md."""
    steps, cfg, sampler, scheduler = (
        preset.values[f"KSampler.{name}"] for name in ("steps", "cfg", "sampler_name", "scheduler")
    )
    tile, overlap = (preset.values[f"UGCSR_TileDiffusion.{name}"] for name in ("tile_size", "overlap"))
    color = preset.values["UGCSR_MatchColor.method"]
    cells = [
        preset.name,
        preset.purpose,
        preset.base,
        preset.start,
        steps,
        f"{cfg:g}",
        f"{sampler} {scheduler}",
    ]
    cells += [f"{tile} / {overlap}", color, preset.prompt or "-", preset.negative or "-"]
    return f"| {' | '.join(map(str, cells))} |"


@pytest.mark.parametrize("name", NAMES)
def test_the_document_says_what_the_data_say(name):
    document = (CHECKOUT / "docs" / "presets.md").read_text()
    assert table(load(name)) in document
    for source in load(name).sources:
        assert source in document
