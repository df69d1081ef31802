"""Files that a loader node may meet."""

import pytest
import torch

from ugc_sr.host.adapter import load_adapter
from ugc_sr.host.controlnet import load_controlnet
from ugc_sr.models.weights import UnsupportedWeightsError

pytestmark = pytest.mark.comfy

LORA = {"lora_unet_input_blocks_1_1_proj_in.lora_up.weight": torch.zeros(4, 4)}
TO_K = "transformer_blocks.0.attn2.to_k.weight"


def test_an_adapter_of_image_attentions_alone_is_that_of_the_whole_file(tiny_adapter, unet_weights):
    alone = {key: weight for key, weight in unet_weights.items() if ".image_attentions." in key}
    loaded, whole = load_adapter(alone).patcher.model.state_dict(), tiny_adapter.patcher.model.state_dict()
    assert loaded.keys() == whole.keys()
    assert all(torch.equal(loaded[key], whole[key]) for key in whole)


def test_a_lora_is_no_adapter_and_no_controlnet():
    with pytest.raises(UnsupportedWeightsError, match=r"Load Semantic Adapter: 'l' is a LoRA .* Load LoRA\."):
        load_adapter(LORA, "l")
    with pytest.raises(
        UnsupportedWeightsError, match=r"Load Semantic ControlNet: 'l' is a LoRA .* expected a Con"
    ):
        load_controlnet(LORA, "l")


def test_an_adapter_and_a_controlnet_are_told_apart(unet_weights, controlnet_weights):
    with pytest.raises(
        UnsupportedWeightsError, match=r"'c' is a ControlNet with image .* Load Semantic ControlNet"
    ):
        load_adapter(controlnet_weights, "c")
    with pytest.raises(UnsupportedWeightsError, match=r"'u' is a UNet with image .* Load Semantic Adapter"):
        load_controlnet(unet_weights, "u")


def test_a_controlnet_without_image_attentions_is_refused(controlnet_weights):
    plain = {key: weight for key, weight in controlnet_weights.items() if ".image_attentions." not in key}
    with pytest.raises(UnsupportedWeightsError, match=r"is a ControlNet without image attentions"):
        load_controlnet(plain)


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        (f"down_blocks.1.image_attentions.0.{TO_K}", f"image attention input_4 lacks 'input_4.{TO_K}'"),
        ("up_blocks.1.image_attentions.0.proj_out.bias", r"'u' lacks 'output_3.proj_out.bias'"),
    ],
)
def test_an_incomplete_adapter_is_refused(unet_weights, lost, message):
    with pytest.raises(UnsupportedWeightsError, match=message):
        load_adapter({key: weight for key, weight in unet_weights.items() if key != lost}, "u")


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("conv_in.weight", r"a block of the network lacks '0.weight'"),
        ("controlnet_mid_block.bias", r"'c' lacks 'middle_block_out.0.bias'"),
        ("controlnet_cond_embedding.blocks.3.weight", r"'c': The network lacks 'input_hint_block.8.weight'"),
    ],
)
def test_an_incomplete_controlnet_is_refused(controlnet_weights, lost, message):
    with pytest.raises(UnsupportedWeightsError, match=message):
        load_controlnet({key: weight for key, weight in controlnet_weights.items() if key != lost}, "c")


def test_heads_of_another_width_are_refused(unet_weights):
    key = "down_blocks.1.image_attentions.0.norm.weight"
    with pytest.raises(UnsupportedWeightsError, match=r"input_4 is 80 wide; expected a multiple of 64"):
        load_adapter(unet_weights | {key: torch.ones(80)})


def test_a_weight_of_another_shape_is_refused(unet_weights):
    key = "down_blocks.1.image_attentions.0.proj_in.bias"
    with pytest.raises(
        UnsupportedWeightsError, match=r"'input_4.proj_in.bias' of 'u' is \[7\]; expected \[64\]"
    ):
        load_adapter(unet_weights | {key: torch.ones(7)}, "u")
