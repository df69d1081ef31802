import pytest

from ugc_sr.sample.presets import apply
from ugc_sr.tune.space import PARAMETERS, Choice, Range, as_inputs, own_values, searched


@pytest.fixture
def graph(anatomy):
    return anatomy("photo.png")


def test_all_parameters_of_the_quick_start_are_searched_but_the_tiles(graph):
    on_request = ("tile_semantics", "tile_size", "overlap")
    assert list(searched(graph)) == [name for name in PARAMETERS if name not in on_request]
    assert list(searched(graph, ["overlap", "steps"])) == ["steps", "overlap"]


def test_parameters_whose_node_is_not_there_are_left_out(graph):
    del graph["5"], graph["11"]
    assert not {"semantics", "semantics_start", "semantics_end", "color"} & searched(graph).keys()


def test_own_values_put_back_change_nothing(graph):
    space = searched(graph, tuple(PARAMETERS))
    own = own_values(space, graph)
    assert own["sampler"] == "euler simple"
    assert apply(as_inputs(space, own), graph) == graph


def test_the_sampler_sets_two_inputs(graph):
    changed = apply(as_inputs(searched(graph), {"sampler": "dpmpp_2m karras"}), graph)
    assert changed["9"]["inputs"]["sampler_name"] == "dpmpp_2m"
    assert changed["9"]["inputs"]["scheduler"] == "karras"
    assert graph["9"]["inputs"]["scheduler"] == "simple"


def test_ranges_can_be_given(graph):
    ranges = ["steps=1:8", "cfg=1:3:0.25", "color=wavelet, lab", "sampler=euler simple,lcm simple"]
    space = searched(graph, ranges=ranges)
    assert space["steps"].space == Range(1, 8, step=1, log=True)
    assert space["cfg"].space == Range(1.0, 3.0, step=0.25)
    assert space["color"].space == Choice(("wavelet", "lab"))
    assert space["sampler"].space == Choice(("euler simple", "lcm simple"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps=8:1", r"--range steps=8:1: expected LOW:HIGH or LOW:HIGH:STEP, the step smaller"),
        ("steps=1:8:20", r"expected LOW:HIGH or LOW:HIGH:STEP"),
        ("cfg=3", r"expected LOW:HIGH"),
        ("cfg=nan:3", r"expected LOW:HIGH"),
        ("steps=1:2.5", r"--range steps=1:2.5: invalid literal for int"),
        ("color=lab", r"expected options between commas, such as wavelet, adain"),
        ("sampler=euler,lcm", r"expected options between commas, such as euler simple, euler karras"),
        ("speed=1:2", r"There is no parameter 'speed'; known are steps, cfg, sampler"),
        ("overlap=64:128", r"overlap is not searched; searched are steps"),
    ],
)
def test_a_broken_range_is_refused(graph, text, message):
    with pytest.raises(ValueError, match=message):
        searched(graph, ranges=[text])


def test_a_start_that_could_lie_behind_its_end_is_refused(graph):
    with pytest.raises(
        ValueError, match=r"control_start can be as large as 0.9 and control_end as small as 0.5"
    ):
        searched(graph, ranges=["control_start=0:0.9"])
    graph["6"]["inputs"]["end_percent"] = 0.3  # not searched, so it stays
    with pytest.raises(ValueError, match=r"as large as 0.45 and control_end as small as 0.3"):
        searched(graph, ["control_start"])


@pytest.mark.parametrize(
    ("change", "names", "message"),
    [
        (
            lambda graph: graph | {"11": graph["1"]},
            ["color"],
            r"color: UGCSR_MatchColor.method: the graph has 0 nodes",
        ),
        (
            lambda graph: graph | {"20": graph["9"]},
            [],
            r"steps: .* the graph has 2 nodes KSampler; expected one. Or leave it",
        ),
        (
            lambda graph: apply({"KSampler.cfg": ["20", 0]}, graph),
            [],
            r"cfg: KSampler.cfg: another node is linked to this input",
        ),
        (lambda graph: {"1": graph["1"]}, [], "No node of the graph has a parameter that can be searched"),
    ],
    ids=["no node", "two nodes", "a link", "nothing"],
)
def test_a_graph_without_one_place_for_each_parameter_is_refused(graph, change, names, message):
    with pytest.raises(ValueError, match=message):
        searched(change(graph), names)
