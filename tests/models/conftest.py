"""Networks of the parity fixture's shapes, in SeeSR's layout, with random weights."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

SPEC = Path(__file__).parents[1] / "data" / "seesr_parity" / "spec.json"


def _random(network):
    generator = torch.Generator().manual_seed(7)
    shapes = json.loads(SPEC.read_text())["keys"][network]
    return {key: 0.1 * torch.randn(shape, generator=generator) for key, shape in shapes.items()}


@pytest.fixture(scope="session")
def unet_weights():
    """A UNet with image attentions that take tokens 512 wide."""
    return _random("unet")


@pytest.fixture(scope="session")
def controlnet_weights():
    """The ControlNet that goes with `unet_weights`."""
    return _random("controlnet")


@pytest.fixture
def diffusers_folder(tmp_path):
    """Makes a folder as diffusers saves a network: in one file, or in parts with an index; or as pickles."""

    def make(state_dict, name="unet", parts=1, ending="safetensors", config=None):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config or {}))
        save = save_file if ending == "safetensors" else torch.save
        stem, keys = "diffusion_pytorch_model", list(state_dict)
        if parts == 1:
            save(state_dict, folder / f"{stem}.{ending}")
            return folder
        place = {}
        for n in range(parts):
            file = f"{stem}-{n + 1:05}-of-{parts:05}.{ending}"
            save({key: state_dict[key] for key in keys[n::parts]}, folder / file)
            place |= dict.fromkeys(keys[n::parts], file)
        (folder / f"{stem}.{ending}.index.json").write_text(json.dumps({"weight_map": place}))
        return folder

    return make
