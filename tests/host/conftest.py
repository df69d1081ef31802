"""Small networks of the host's own classes, with the shapes and weights of the parity fixture."""

import json
import sys
from pathlib import Path

import pytest
import torch

from ugc_sr.restore.server import find_host

try:  # the modules of this folder import the host, so it comes before they are collected
    sys.path.insert(0, str(find_host()))
except FileNotFoundError as error:
    pytest.exit(str(error), returncode=3)
import comfy.cli_args

comfy.cli_args.args.cpu = True

SPEC = Path(__file__).parents[1] / "data" / "seesr_parity" / "spec.json"


@pytest.fixture(scope="session")
def unet_weights():
    """A UNet with image attentions in SeeSR's layout: 64 to 128 channels, text 96 wide, tokens 512."""
    from benchmarks.parity import random_weights

    return random_weights(json.loads(SPEC.read_text()), "unet")


@pytest.fixture(scope="session")
def controlnet_weights():
    """The ControlNet that goes with `unet_weights`."""
    from benchmarks.parity import random_weights

    return random_weights(json.loads(SPEC.read_text()), "controlnet")


@pytest.fixture(scope="session")
def _base_model(unet_weights):
    from benchmarks.parity import base_model

    return base_model(unet_weights)


@pytest.fixture
def tiny_model(_base_model):
    """A MODEL shaped like Stable Diffusion 2: 4 latent channels, 8 pixels a cell, text 96 wide."""
    return _base_model.clone()


@pytest.fixture(scope="session")
def tiny_adapter(unet_weights):
    from ugc_sr.host.adapter import load_adapter

    return load_adapter(unet_weights, "tiny")


@pytest.fixture(scope="session")
def tiny_controlnet(controlnet_weights):
    from ugc_sr.host.controlnet import load_controlnet

    return load_controlnet(controlnet_weights, "tiny")


@pytest.fixture(scope="module")
def nano():
    """The parts of the bundled model."""
    from ugc_sr.host.nano import load_nano

    return load_nano()


@pytest.fixture
def models(tmp_path, monkeypatch):
    """The host's folders are the test's own; what it registers is forgotten after it."""
    import folder_paths

    folders = {
        name: ([str(tmp_path / name)], set(folder_paths.supported_pt_extensions))
        for name in ("detection", "model_patches", "controlnet")
    }
    folders["datasets"] = ([str(tmp_path / "datasets")], set())
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", folders)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    return tmp_path


@pytest.fixture
def gone():
    """The host knows of a MODEL that is gone while its network isn't, as it does behind a node's error."""
    import comfy.model_management

    from ugc_sr.host.ownership import own

    network = torch.nn.Linear(2, 2)
    comfy.model_management.load_models_gpu([own(network)])
    assert None in comfy.model_management.loaded_models()
    yield
    del network


@pytest.fixture
def semantics():
    """What an encoder could have read from a 16x16 photo: 256 wide tokens in a grid of 4x4."""
    from ugc_sr.models.semantics import Semantics

    tokens = torch.randn(1, 16, 256, generator=torch.Generator().manual_seed(1))
    return Semantics(tokens, grid=(4, 4), image_size=(16, 16), encoder="random")


@pytest.fixture
def conditioning():
    """Positive and negative CONDITIONING for `tiny_model`."""
    g = torch.Generator().manual_seed(2)
    return [[[torch.randn(1, 7, 96, generator=g), {}]] for _ in range(2)]


@pytest.fixture
def assert_agree():
    """Two tensors are equal but for rounding, on the scale of the whole."""

    def check(ours, expected):
        assert (ours - expected).abs().max() / expected.std() < 1e-5

    return check


@pytest.fixture
def sample(conditioning):
    """Run the host's KSampler: sample(model, batch=1, ...) -> latent (B, 4, 8, 8), or as large as `noise`."""
    import comfy.sample

    def run(
        model,
        batch=1,
        steps=2,
        cfg=3.0,
        sampler="euler",
        scheduler="normal",
        conditioning=conditioning,
        noise=None,
        latent=None,
        **options,
    ):
        if noise is None:
            noise = torch.randn(batch, 4, 8, 8, generator=torch.Generator().manual_seed(3))
        latent = torch.zeros_like(noise) if latent is None else latent
        options |= {"disable_pbar": True, "seed": 0}
        with torch.inference_mode():
            return comfy.sample.sample(
                model, noise, steps, cfg, sampler, scheduler, *conditioning, latent, **options
            )

    return run


@pytest.fixture
def hint():
    """The 16x16 photo of `semantics` at 64x64, which is what `sample` restores with 8 pixels a cell."""
    return torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(6))
