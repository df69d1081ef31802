"""Our networks in the host against the originals: recorded outputs, and the diffusers twins."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.parity import base_model, fill, predict
from ugc_sr.host.adapter import load_adapter
from ugc_sr.host.controlnet import load_controlnet
from ugc_sr.models import twins
from ugc_sr.models.nano import CONTROLNET, TEXT_DIM, TOKEN_DIM, UNET

pytestmark = pytest.mark.comfy

ROOT = Path(__file__).parents[2]
FIXTURE = ROOT / "tests" / "data" / "seesr_parity"


@pytest.mark.deep
def test_the_command_prints_a_difference_below_1e_5_for_each_original_network():
    command = [sys.executable, "-m", "benchmarks", "parity", "--fixture", str(FIXTURE)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = {result["name"]: result for result in map(json.loads, done.stdout.splitlines())}
    assert results.keys() == {"unet", "controlnet"}
    assert results["unet"]["compared"] == 12
    assert results["controlnet"]["compared"] == 18
    assert all(result["max_abs_diff"] < 1e-5 for result in results.values()), results


def perturbed(network):
    """The state dict of a network after filling it, its zero convolutions too, with random numbers."""
    state_dict = {key: fill(key, tuple(weight.shape)) for key, weight in network.state_dict().items()}
    network.load_state_dict(state_dict)
    return state_dict


@pytest.mark.parametrize("layers", [1, 2])
def test_networks_of_the_bundled_models_shape_agree_with_their_diffusers_twins(layers):
    sizes = {
        "block_out_channels": (64, 64, 128, 192),
        "attention_head_dim": (1, 1, 2, 3),
        "layers_per_block": layers,
    }
    unet = twins.SemanticUNet(**UNET | sizes).add_image_attentions(TOKEN_DIM).eval()
    controlnet = twins.SemanticControlNet(**CONTROLNET | sizes).add_image_attentions(TOKEN_DIM).eval()
    unet_weights, controlnet_weights = perturbed(unet), perturbed(controlnet)
    control = load_controlnet(controlnet_weights)
    assert control.compression_ratio == 4

    g = torch.Generator().manual_seed(0)
    case = {
        "x": torch.randn(2, UNET["in_channels"], 8, 12, generator=g),
        "text": torch.randn(2, 4, TEXT_DIM, generator=g),
        "features": torch.randn(2, 16, TOKEN_DIM, generator=g),
        "hint": torch.rand(2, 3, 32, 48, generator=g),
    }
    timestep = torch.tensor(500)
    with torch.inference_mode():
        latent = case["x"][:, :48]
        down, middle = controlnet.control(latent, timestep, case["text"], case["features"], case["hint"])
        expected = unet.restore(case["x"], timestep, case["text"], case["features"], (down, middle))
    ours = predict(base_model(unet_weights), load_adapter(unet_weights), control, case, 500, 1.0)
    for name, value in {"control_last": down[-1], "control_mid": middle, "eps": expected}.items():
        assert (ours[name] - value).abs().max() < 1e-5, name
