"""`python -m ugc_sr.tune`: photos through the real host, and what is refused before it starts."""

import copy
import io
import json
import shutil

import pytest
from PIL import Image

from ugc_sr.restore.server import CHECKOUT
from ugc_sr.sample.presets import FidelityCurve, TunedPreset, apply
from ugc_sr.score.extras import Extras
from ugc_sr.score.metrics import evaluate
from ugc_sr.score.pil_image import from_picture
from ugc_sr.score.scoring import load
from ugc_sr.tune.__main__ import _client, main
from ugc_sr.tune.restorer import Pair, PairRestorer

pytestmark = pytest.mark.comfy

LONG_FORM = json.loads((CHECKOUT / "restore" / "anatomy.api.json").read_text())


@pytest.fixture
def pairs(tmp_path, photo):
    """Two small photos and what may be their originals."""
    for name, turned in (("a", False), ("b", True)):
        lr = Image.open(photo).rotate(180) if turned else Image.open(photo)
        for role, picture in (("lr", lr), ("gt", lr.resize((160, 96), Image.Resampling.BICUBIC))):
            (tmp_path / role).mkdir(exist_ok=True)
            picture.save(tmp_path / role / f"{name}.png")
    return tmp_path


@pytest.fixture
def tune(pairs, host_server, capsys):
    """Runs the command on the host that is there; the status and what it prints."""

    def run(*arguments, server=host_server.address):
        options = ["--out", pairs / "out", "--perception", "hf_ratio", "--server", server, *arguments]
        status = 0
        try:
            main([*map(str, [pairs / "lr", pairs / "gt", *options])])
        except SystemExit as end:
            status = end.code
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


@pytest.fixture
def refused(tune):
    """Runs the command, which must end with the status of a refusal and with these words."""

    def check(words, *arguments, **options):
        status, printed = tune(*arguments, **options)
        assert status == 2
        assert words in printed

    return check


def changed(pairs, change):
    """A file with the quick start, laid open, after `change`."""
    graph = copy.deepcopy(LONG_FORM)
    change(graph)
    (pairs / "changed.api.json").write_text(json.dumps(graph))
    return "--workflow", pairs / "changed.api.json"


@pytest.mark.slow
def test_three_trials_make_a_preset_a_curve_and_a_plot(tune, refused, pairs):
    shutil.copytree(pairs / "lr", pairs / "check-lr")
    shutil.copytree(pairs / "gt", pairs / "check-gt")
    for folder in ("check-lr", "check-gt"):
        (pairs / folder / "b.png").unlink()
        picture = Image.open(pairs / folder / "a.png")
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(pairs / folder / "a.png")
    search = ("--search", "steps", "color", "control", "--range", "steps=1:3")
    check = ("--check-lr", pairs / "check-lr", "--check-gt", pairs / "check-gt")
    status, printed = tune("--trials", 3, *search, *check)
    assert status == 0, printed
    assert "2 photos tuned on: objective" in printed
    assert "1 photos held out: objective" in printed
    preset = TunedPreset.from_json((pairs / "out" / "preset.json").read_text())
    curve = FidelityCurve.from_json((pairs / "out" / "curve.json").read_text())
    assert preset.values.keys() == {"KSampler.steps", "UGCSR_MatchColor.method", f"{CONTROL}.strength"}
    assert preset.tuned_on.gain >= 0
    assert preset.held_out.pairs == 1
    assert curve.points[-1].figures["psnr_y"] >= preset.tuned_on.default["psnr_y"]
    assert Image.open(pairs / "out" / "pareto.png").width > 600
    # Again: nothing is left to do but the check, and it says the same.
    assert tune("--trials", 3, *search, *check)[0] == 0
    assert TunedPreset.from_json((pairs / "out" / "preset.json").read_text()) == preset
    refused("holds a search with another choice of parameters or ranges.", "--trials", 3, *search[:2])


CONTROL = "UGCSR_ApplySemanticControlNet"


def test_the_scores_are_those_of_the_picture_that_the_graph_saves(client, pairs, anatomy):
    pair = Pair(pairs / "lr" / "a.png", pairs / "gt" / "a.png")
    values = {"KSampler.steps": 2, "UGCSR_MatchColor.method": "lab"}
    (scores,) = PairRestorer(client, anatomy("photo.png"), Extras(())).measure(values, [pair])
    graph = apply(values, anatomy(client.upload(pair.lr)))
    (saved,) = client.run(graph)["13"]["images"]
    sr = from_picture(Image.open(io.BytesIO(client.fetch(saved))))
    assert scores == evaluate(sr, gt=load(pair.gt), lr=load(pair.lr))


def test_nothing_is_left_in_the_output_folder_of_the_host(client, host_server, pairs, anatomy):
    output = host_server.log.parent / "output"
    before = set(output.glob("**/*"))
    PairRestorer(client, anatomy("photo.png"), Extras(())).measure(
        {}, [Pair(pairs / "lr" / "b.png", pairs / "gt" / "b.png")]
    )
    assert set(output.glob("**/*")) == before


def test_a_node_that_fails_ends_the_search_in_its_words(refused, pairs):
    options = changed(pairs, lambda graph: graph["7"]["inputs"].update(tile_size=256, overlap=256))
    words = "Tile Diffusion: 'overlap' must be smaller than 'tile_size', 256 px; got 256 px"
    refused(words, *options, "--trials", 1)


def test_a_result_of_another_size_is_refused_with_its_name(refused, pairs):
    options = changed(pairs, lambda graph: graph["3"]["inputs"].update(scale=2.0))
    refused("'a.png', restored, against", *options, "--trials", 1)


def test_an_axis_that_the_photos_are_too_small_for_is_refused(refused):
    words = "ms_ssim_y has no finite value for every photo: a result is too small"
    refused(words, "--trials", 1, "--perception", "ms_ssim_y")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--trials", 0), "--trials must be at least 1, got 0"),
        (("--search", "speed"), "There is no parameter 'speed'; known are steps, cfg"),
        (("--objective", "psnr=1"), "No metric 'psnr' is measured here. Measured are psnr_y"),
        (("--fidelity", "sharp"), "No metric 'sharp' is measured here"),
        (("--check-lr", "somewhere"), "--check-lr and --check-gt belong together; give both or neither"),
        (("--workflow", "gone.json"), "There is no workflow 'gone.json'"),
    ],
)
def test_what_can_be_refused_is_refused_before_a_host_is_asked(refused, options, message):
    refused(message, *options, server="http://127.0.0.1:9")


def test_folders_without_pairs_are_refused(refused, pairs):
    for file in (pairs / "gt").iterdir():
        file.rename(file.with_name(f"x{file.name}"))
    refused("is named like one of")


def test_photos_to_check_on_must_be_others(refused, pairs):
    words = "a.png, b.png: among the photos to tune on and among those to check on"
    refused(words, "--check-lr", pairs / "lr", "--check-gt", pairs / "gt")


def test_a_workflow_that_cannot_be_tuned_is_refused(refused, pairs):
    options = changed(pairs, lambda graph: graph.update({"20": graph["1"]}))
    refused("has 2 Load Image nodes where one is wanted", *options, "--trials", 1)


@pytest.mark.parametrize("package", ["optuna", "matplotlib"])
def test_a_missing_package_is_named_with_what_installs_it(refused, monkeypatch, package):
    monkeypatch.setattr("ugc_sr.tune.__main__.find_spec", lambda name: name != package or None)
    words = f'Tuning needs {package}: pip install "ugc-super-resolution[tune]"'
    refused(words, server="http://127.0.0.1:9")


@pytest.mark.deep
def test_a_host_of_our_own_keeps_results_and_ends_with_us():
    with _client(None, results=7) as client:
        told = client._connection.json("/system_stats")["system"]["argv"]
        assert told[told.index("--cache-lru") + 1] == "7"
    with pytest.raises(OSError, match="refused"):
        client.version()


def test_a_server_that_is_not_there_is_named(refused):
    refused("No ComfyUI answers at http://127.0.0.1:9", "--trials", 1, server="http://127.0.0.1:9")
