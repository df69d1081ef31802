"""Whole sampling loops on the host against the plain loop of SeeSR and SRlab on the diffusers twins."""

import comfy.sample
import pytest
import torch
from comfy.samplers import calculate_sigmas

from benchmarks.parity import base_model, fill
from benchmarks.reference import Inputs, ddpm, restore
from ugc_sr.host.adapter import load_adapter
from ugc_sr.host.controlnet import apply_controlnet, load_controlnet
from ugc_sr.host.guidance import apply_guidance
from ugc_sr.host.lr_start import lr_start
from ugc_sr.host.tiling import tile_diffusion
from ugc_sr.models import twins
from ugc_sr.models.semantics import Semantics
from ugc_sr.nodes.sampling_nodes import LRStart

pytestmark = pytest.mark.comfy

SIZES = {"block_out_channels": (64, 128), "attention_head_dim": (1, 2), "norm_num_groups": 32}
UNET = {
    **SIZES,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "cross_attention_dim": 96,
    "layers_per_block": 1,
    "use_linear_projection": True,
}
CONTROLNET = {key: value for key, value in UNET.items() if key not in ("out_channels", "up_block_types")}
SEED = 7


@pytest.fixture(scope="module")
def networks():
    """The twins, and the same weights in the host: unet, controlnet, model, adapter, control."""
    unet = twins.SemanticUNet(**UNET).add_image_attentions(512).eval()
    controlnet = twins.SemanticControlNet(**CONTROLNET).add_image_attentions(512).eval()
    for network in (unet, controlnet):
        network.load_state_dict({key: fill(key, list(w.shape)) for key, w in network.state_dict().items()})
    state = unet.state_dict()
    return unet, controlnet, base_model(state), load_adapter(state), load_controlnet(controlnet.state_dict())


def inputs(start, size):
    """What both loops restore: a photo of `size` latent cells; the latent as the denoiser wants it."""
    features = torch.randn(1, 16, 256)
    return Inputs(
        noise=torch.randn(1, 4, *size),
        hint=torch.rand(1, 3, *(8 * side for side in size)),
        text=torch.randn(1, 7, 96),
        negative=torch.randn(1, 7, 96),
        tokens=torch.cat([features, features], dim=2),
        latent=torch.randn(1, 4, *size) if start == "lr" else None,
    )


def ours(networks, given, steps=10, cfg=5.5, **tiles):
    """The restored latent from the host's KSampler, with our nodes before it."""
    _, _, model, adapter, control = networks
    photo = tuple(side // 4 for side in given.hint.shape[-2:])
    semantics = Semantics(given.tokens[..., :256], grid=(4, 4), image_size=photo, encoder="random")
    conds = [[[text, {}]] for text in (given.text, given.negative)]
    model = lr_start(apply_guidance(model, adapter, semantics))
    if tiles:
        model = tile_diffusion(model, batch=3, grid="seesr", **tiles)
    scale = model.get_model_object("latent_format").scale_factor
    latent = torch.zeros_like(given.noise) if given.latent is None else given.latent / scale
    with torch.inference_mode():
        out = comfy.sample.sample(
            model,
            given.noise,
            steps,
            cfg,
            "ddpm",
            "ddim_uniform",
            *apply_controlnet(conds, control, given.hint, semantics),
            latent,
            disable_pbar=True,
            seed=SEED,
        )
    return out * scale


def theirs(networks, given, steps=10, cfg=5.5, **tiles):
    generator = torch.Generator().manual_seed(SEED + 1)  # where the host's ddpm draws from
    return restore(*networks[:2], given, steps=steps, cfg=cfg, generator=generator, **tiles)


def difference(out, expected):
    return ((out - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize(
    ("start", "cfg"),
    [
        ("lr", 5.5),
        ("noise", 1.0),
        *(pytest.param(*one, marks=pytest.mark.deep) for one in (("lr", 1.0), ("noise", 5.5))),
    ],
)
def test_ten_steps_end_where_seesrs_do(networks, start, cfg):
    given = inputs(start, (16, 12))
    assert difference(ours(networks, given, cfg=cfg), theirs(networks, given, cfg=cfg)) < 1e-4


@pytest.mark.parametrize(
    "size", [(10, 14), *(pytest.param(size, marks=pytest.mark.deep) for size in ((18, 20), (12, 26)))]
)
def test_ten_steps_in_the_tiles_of_seesr_end_where_seesrs_do(networks, size):
    given, tiles = inputs("lr", size), {"tile": 12, "overlap": 4}
    assert difference(ours(networks, given, **tiles), theirs(networks, given, **tiles)) < 1e-4


def test_the_start_and_the_tiles_are_what_makes_them_agree(networks):
    """The same loops with any other start or tiles lie far above the limit."""
    photo, tiles = inputs("lr", (18, 20)), {"tile": 12, "overlap": 4}
    expected = theirs(networks, photo, steps=2, **tiles)
    assert difference(ours(networks, photo, steps=2, **tiles), expected) < 1e-4
    assert difference(ours(networks, photo, steps=2), expected) > 1e-3
    assert difference(ours(networks, photo, steps=2, tile=12, overlap=6), expected) > 1e-3


@pytest.mark.parametrize(("cfg", "halves"), [(5.5, 2), (1.0, 1)])
def test_without_guidance_the_network_sees_half_as_much(networks, cfg, halves):
    seen = []
    unet = networks[2].get_model_object("diffusion_model")
    with unet.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[0])):
        ours(networks, inputs("lr", (8, 8)), steps=2, cfg=cfg)
    assert sum(seen) == 2 * halves


@pytest.mark.parametrize("steps", [4, 10, 20, 25, 40, 50])
def test_numbers_of_steps_that_divide_1000_are_taken_at_seesrs_timesteps(tiny_model, steps):
    sampling = tiny_model.get_model_object("model_sampling")
    sigmas = calculate_sigmas(sampling, "ddim_uniform", steps)
    assert torch.equal(sampling.timestep(sigmas[:-1]), ddpm(steps).timesteps)


@pytest.mark.parametrize(("steps", "taken"), [(30, 31), (15, 16)])
def test_others_are_taken_as_more_and_smaller_ones_which_the_node_says(tiny_model, steps, taken):
    sampling = tiny_model.get_model_object("model_sampling")
    assert len(calculate_sigmas(sampling, "ddim_uniform", steps)) - 1 == taken
    assert "31 for 30" in LRStart.define_schema().description
