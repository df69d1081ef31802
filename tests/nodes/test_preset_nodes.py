"""Restoration Preset as the host calls it, and wired into the quick start."""

import json
from pathlib import Path

import pytest
import torch

from ugc_sr.sample.presets import NAMES, load

pytestmark = pytest.mark.comfy

SPEC = Path(__file__).parents[1] / "data" / "seesr_parity" / "spec.json"
ON_SD2 = [name for name in NAMES if load(name).base != "nano"]
PRESET = "20"
# node and socket of the quick start -> output of Restoration Preset
WIRED = {
    ("9", "model"): "model",
    ("9", "latent_image"): "latent",
    ("9", "steps"): "steps",
    ("9", "cfg"): "cfg",
    ("9", "sampler_name"): "sampler_name",
    ("9", "scheduler"): "scheduler",
    ("9", "denoise"): "denoise",
    ("5", "strength"): "guidance_strength",
    ("5", "start_percent"): "guidance_start",
    ("5", "end_percent"): "guidance_end",
    ("6", "strength"): "control_strength",
    ("6", "start_percent"): "control_start",
    ("6", "end_percent"): "control_end",
    ("11", "method"): "color_method",
}


def sd2(config=None, **overrides):
    """A MODEL shaped like Stable Diffusion 2, small."""
    from benchmarks.parity import base_model, random_weights

    model = base_model(random_weights(json.loads(SPEC.read_text()), "unet"))
    for name, value in overrides.items():
        model.add_object_patch(name, value)
    if config is not None:
        model.model.model_config = config
    return model


@pytest.fixture(scope="module")
def _model():
    return sd2()


@pytest.fixture
def model(_model):
    return _model.clone()


@pytest.fixture
def latent():
    return {"samples": torch.randn(1, 4, 8, 8), "noise_mask": torch.ones(1, 8, 8)}


@pytest.fixture
def run():
    from ugc_sr.nodes.preset_node import RestorationPreset

    def execute(model, latent, preset, tags="cat", **options):
        named = [output.id for output in RestorationPreset.GET_SCHEMA().outputs]
        return dict(
            zip(named, RestorationPreset.execute(model, latent, preset, tags, **options).result, strict=True)
        )

    return execute


@pytest.mark.parametrize("name", ON_SD2)
def test_a_sampler_takes_what_a_preset_gives_and_looks_once_a_step(run, model, latent, name):
    import comfy.sample

    given = run(model, latent, name)
    text = [[torch.randn(1, 7, 96), {}]]
    noise = torch.randn(1, 4, 8, 8)
    looks = []
    unet = model.get_model_object("diffusion_model")
    with unet.register_forward_pre_hook(lambda _, args: looks.append(len(args[0]))):
        out = comfy.sample.sample(
            given["model"],
            noise,
            given["steps"],
            given["cfg"],
            given["sampler_name"],
            given["scheduler"],
            text,
            text,
            given["latent"]["samples"],
            denoise=given["denoise"],
            disable_pbar=True,
            seed=0,
        )
    assert out.isfinite().all()
    assert given["model"] is not model
    assert looks == [2 if given["cfg"] > 1 else 1] * given["steps"]


@pytest.mark.parametrize(
    ("name", "timesteps"),
    [("turbo", [999, 499]), ("seesr", range(981, 0, -20)), ("balanced", range(951, 0, -50))],
)
def test_the_timesteps_are_those_of_the_reference(model, name, timesteps):
    import comfy.samplers

    values = load(name).values
    sampling = model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, values["KSampler.scheduler"], values["KSampler.steps"])
    assert sampling.timestep(sigmas[:-1]).tolist() == list(timesteps)


@pytest.mark.parametrize("name", ON_SD2)
def test_the_latent_is_the_photos_or_empty_by_the_start(run, model, latent, name):
    given = run(model, latent, name)["latent"]
    kept = torch.equal(given["samples"], latent["samples"])
    assert kept == (load(name).start == "photo")
    assert kept or not given["samples"].any()
    assert given["noise_mask"] is latent["noise_mask"]


def test_nano_keeps_its_weights_and_latent(run, nano, latent):
    given = run(nano.model, latent, "nano")
    assert given["model"].model is nano.model.model
    assert given["latent"] is latent


def test_prompts_are_tags_extra_words_and_the_presets_own(run, model, latent):
    given = run(model, latent, "seesr", "cat,  cat", extra_prompt="at night")
    assert given["positive"] == "cat, at night, clean, high-resolution, 8k"
    assert given["negative"] == load("seesr").negative


def test_every_measured_value_has_an_output():
    from ugc_sr.nodes.preset_node import OUTPUTS

    tiles = {"UGCSR_TileDiffusion.tile_size", "UGCSR_TileDiffusion.overlap"}
    assert {target for target, _, _ in OUTPUTS.values()} == load("nano").values.keys() - tiles


def test_fidelity_sets_the_sharpness_of_the_bundled_model(run, nano, latent):
    from ugc_sr.host.nano import sharpened

    for fidelity, sharpness in ((0.0, 1.0), (0.25, 0.75), (1.0, 0.0)):
        given = run(sharpened(nano.model, 0.6), latent, "nano", fidelity=fidelity)["model"]
        named = given.model_options["transformer_options"].pop("ugcsr_preset")
        assert named == f"nano with fidelity {fidelity:g}"
        expected = sharpened(nano.model, sharpness).model_options
        del expected["transformer_options"]["ugcsr_preset"]
        assert given.model_options == expected
    assert nano.model.model_options != given.model_options  # the one that was given stays as it is


def test_another_model_is_refused_for_nano(run, model, latent):
    with pytest.raises(ValueError, match=r"made for the bundled model, but 'model' is a SD20\. Connect"):
        run(model, latent, "nano")


def test_a_model_of_another_family_is_refused(run, latent):
    import comfy.supported_models

    other = sd2(comfy.supported_models.SD15({}))
    with pytest.raises(ValueError, match=r"made for Stable Diffusion 2-base, but 'model' is a SD15\. Load"):
        run(other, latent, "wild")


@pytest.mark.parametrize(("kind", "refused"), [("V_PREDICTION", False), ("X0", True)])
def test_a_model_that_predicts_the_picture_is_refused_but_not_one_that_predicts_v(
    run, model, latent, kind, refused
):
    import comfy.model_sampling

    class Sampling(comfy.model_sampling.ModelSamplingDiscrete, getattr(comfy.model_sampling, kind)):
        pass

    model.add_object_patch("model_sampling", Sampling(model.model.model_config))
    if not refused:
        assert run(model, latent, "wild")
        return
    with pytest.raises(ValueError, match=r"preset wild is made for .* but 'model' no longer predicts"):
        run(model, latent, "wild")


@pytest.fixture
def wired(anatomy, client, photo):
    """The quick start with all that it can take from Restoration Preset."""
    outputs = client.node_definitions()["UGCSR_RestorationPreset"]["output_name"]
    graph = anatomy(client.upload(photo))
    inputs = {"model": ["2", 0], "latent": ["8", 0], "preset": "nano", "tags": "", "fidelity": 0.25}
    graph[PRESET] = {"class_type": "UGCSR_RestorationPreset", "inputs": inputs, "_meta": {"title": "Preset"}}
    graph["5"]["inputs"]["model"] = [PRESET, outputs.index("model")]
    for (node, socket), output in WIRED.items():
        if (node, socket) != ("9", "model"):
            graph[node]["inputs"][socket] = [PRESET, outputs.index(output)]
    return graph


def test_the_host_runs_the_quick_start_by_links_to_the_same_picture(wired, client, photo, anatomy, pictures):
    (linked,), (plain,) = (
        pictures(client.run(graph)["13"]) for graph in (wired, anatomy(client.upload(photo)))
    )
    assert linked.tobytes() == plain.tobytes()


def test_a_wrong_base_is_told_at_the_graph(wired, client):
    wired[PRESET]["inputs"]["preset"] = "wild"
    with pytest.raises(RuntimeError, match="made for Stable Diffusion 2-base, but 'model' is the bundled"):
        client.run(wired)


@pytest.mark.slow
def test_the_front_end_lets_every_output_be_connected(browser, host_server, wired):
    ready = "() => Boolean(window.app?.graph && window.LiteGraph?.registered_node_types?.UGCSR_FinishImage)"
    connect = """async (pairs) => {
        const failed = [], preset = LiteGraph.createNode('UGCSR_RestorationPreset')
        app.graph.add(preset)
        for (const [type, socket, output] of pairs) {
            const node = LiteGraph.createNode(type)
            app.graph.add(node)
            const from = preset.outputs.findIndex((slot) => slot.name === output)
            const to = node.inputs.findIndex((slot) => slot.name === socket)
            if (from < 0 || to < 0 || !preset.connect(from, node, to)) failed.push(`${type}.${socket}`)
        }
        return failed
    }"""
    pairs = [(wired[node]["class_type"], socket, output) for (node, socket), output in WIRED.items()]
    with browser() as running:
        page = running.new_page()
        page.goto(host_server.address)
        page.wait_for_function(ready, timeout=60_000)
        wrong = ("KSampler", "steps", "positive")
        assert page.evaluate(connect, [*pairs, wrong]) == ["KSampler.steps"]
