"""Memory of Stable Diffusion 2's true shapes on a pretended card: the host is asked for what a run takes."""

import json
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.comfy

MIB = 2**20
WIDTHS = (320, 640, 1280, 1280)
NUMBERS_UP_TO = 20_000  # larger tensors hold no numbers
LATENTS = {"512x512": (64, 64), "1080x1920": (136, 240), "4096x4096": (512, 512)}


class Requested:
    """What the host was asked to keep free beside the weights."""

    bytes = 0.0


@pytest.fixture(scope="module")
def weights():
    """Half-precision weights of SeeSR's layout without numbers: UNet and ControlNet."""
    from benchmarks import networks

    with torch.device("meta"):
        built = networks.build(WIDTHS, 1024)
    return [{key: w.half() for key, w in network.state_dict().items()} for network in built]


@pytest.fixture
def requested(monkeypatch):
    """Watches what the host is asked to keep free when it loads the models of a run."""
    import comfy.sampler_helpers

    requested = Requested()
    load = comfy.model_management.load_models_gpu

    def watch(models, memory_required=0, **options):
        requested.bytes = max(requested.bytes, memory_required)
        return load(models, memory_required=memory_required, **options)

    monkeypatch.setattr(comfy.sampler_helpers.comfy.model_management, "load_models_gpu", watch)
    return requested


def restore(weights, latent, steps=2):
    """Sample a latent with guidance and ControlNet in tiles of 768 px; return the models, to keep them."""
    import comfy.sample

    from benchmarks.parity import base_model
    from ugc_sr.host.adapter import load_adapter
    from ugc_sr.host.controlnet import apply_controlnet, load_controlnet
    from ugc_sr.host.guidance import apply_guidance
    from ugc_sr.host.tiling import tile_diffusion
    from ugc_sr.models.semantics import Semantics

    height, width = latent
    semantics = Semantics(torch.zeros(1, 4096, 256), (64, 64), (height * 2, width * 2), "random")
    hint = torch.empty(1, 3, height * 8, width * 8, device="meta")
    unet, controlnet = weights
    model = apply_guidance(base_model(unet, torch.float16), load_adapter(unet), semantics)
    model = tile_diffusion(model, tile=96, overlap=24, batch=4)
    text = [[torch.zeros(1, 77, 1024), {}]]
    conds = apply_controlnet([text, text], load_controlnet(controlnet), hint, semantics)
    noise = torch.zeros(1, 4, height, width)
    with torch.inference_mode():
        comfy.sample.sample(
            model, noise, steps, 5.0, "euler", "normal", *conds, noise, disable_pbar=True, seed=0
        )
    return model, conds


@pytest.mark.parametrize("size", ["512x512", "1080x1920", pytest.param("4096x4096", marks=pytest.mark.deep)])
def test_the_host_is_asked_for_what_a_run_takes(size, card, weights, requested):
    import comfy.model_management as management

    active = card(total=64 * 2**30, numbers_up_to=NUMBERS_UP_TO)
    models = restore(weights, LATENTS[size])
    held = sum(loaded.model_loaded_memory() for loaded in management.current_loaded_models)
    took = active.peak - held
    del models
    assert took <= requested.bytes <= 1.5 * took, (
        f"took {took / MIB:.0f} MiB, requested {requested.bytes / MIB:.0f} MiB"
    )


def test_weights_of_a_float32_file_take_half_of_it_on_a_card_that_computes_in_half(card):
    import comfy.model_management

    from benchmarks.parity import random_weights
    from ugc_sr.host.controlnet import load_controlnet

    spec = json.loads(Path(__file__).parents[1].joinpath("data/seesr_parity/spec.json").read_text())
    active = card("dynamic")
    control = load_controlnet(random_weights(spec, "controlnet"))
    comfy.model_management.load_models_gpu(control.get_models())
    convolution = control.control_model.middle_block[0].in_layers[2]
    assert convolution.weight.dtype == torch.float32
    x = torch.zeros(1, convolution.in_channels, 2, 2, dtype=torch.float16).to("cuda:0")
    before = active.now
    with torch.inference_mode():
        convolution(x)
    numbers = convolution.weight.numel() + convolution.bias.numel()
    assert 2 * numbers <= active.now - before < 2.2 * numbers
