"""Keys and shapes of whole networks; the host's own modules are the oracle."""

import math

import pytest
import torch

from ugc_sr.models import layout
from ugc_sr.models.convert import from_diffusers, unet_from_diffusers
from ugc_sr.models.weights import UnsupportedWeightsError


def shapes(state_dict):
    return {key: tuple(weight.shape) for key, weight in state_dict.items()}


@pytest.mark.comfy
def test_the_host_lays_out_the_same(controlnet_weights, unet_weights):
    from ugc_sr.host.adapter import SemanticAdapter
    from ugc_sr.host.control_model import SemanticControlModel

    adapter = unet_from_diffusers(unet_weights)[1]
    controlnet = from_diffusers(controlnet_weights)
    assert layout.adapter(adapter) == shapes(SemanticAdapter(adapter, torch.float32).state_dict())
    assert layout.controlnet(controlnet) == shapes(
        SemanticControlModel(controlnet, torch.float32).state_dict()
    )


# the published size: 320 to 1280 channels, text 1024 wide, tokens 512 wide
FULL = {
    "sample_size": 64,
    "in_channels": 4,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}


def test_networks_of_the_published_size_are_whole_and_as_large_as_published():
    from ugc_sr.models import twins

    with torch.device("meta"):
        unet = twins.SemanticUNet(**FULL).add_image_attentions(512).state_dict()
        sizes = {key: value for key, value in FULL.items() if key != "sample_size"}
        controlnet = twins.SemanticControlNet(**sizes).add_image_attentions(512).state_dict()
    adapter = unet_from_diffusers(unet)[1]
    assert layout.adapter(adapter) == shapes(adapter)
    converted = from_diffusers(controlnet)
    assert layout.controlnet(converted) == shapes(converted)
    assert sum(map(math.prod, shapes(unet).values())) == pytest.approx(1126.8e6, rel=1e-4)
    assert sum(map(math.prod, shapes(adapter).values())) == pytest.approx(260.9e6, rel=1e-3)
    assert sum(map(math.prod, shapes(controlnet).values())) == pytest.approx(489.0e6, rel=1e-3)


def test_a_network_without_what_tells_its_sizes_is_incomplete():
    with pytest.raises(UnsupportedWeightsError, match=r"lacks 'input_4.norm.weight'. The file is incomplete"):
        layout.adapter({"input_4.proj_in.weight": torch.zeros(64, 64)})
