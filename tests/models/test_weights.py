"""Files of every kind, told apart by their keys."""

import pytest
import torch

from ugc_sr.models import weights
from ugc_sr.models.weights import UnsupportedWeightsError

IMAGE_ATTENTION = "down_blocks.1.image_attentions.0.norm.weight"
HINT = "controlnet_cond_embedding.conv_in.weight"
FILES = {
    "adapter": [IMAGE_ATTENTION, "conv_in.weight"],
    "controlnet": [HINT, IMAGE_ATTENTION],
    "plain controlnet": [HINT, "conv_in.weight"],
    "lora": ["lora_unet_input_blocks_1_1_proj_in.lora_up.weight"],
    "checkpoint": ["model.diffusion_model.input_blocks.0.0.weight"],
    "unet": ["conv_in.weight", "down_blocks.0.resnets.0.norm1.weight"],
    "encoder": ["image_encoder.trunk.pos_embed", "no_mem_embed"],
    "unknown": ["a", "b"],
}


def file(kind):
    return {key: torch.zeros(1) for key in FILES[kind]}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_is_known_by_its_keys(kind):
    assert weights.detect(file(kind)) == kind


@pytest.mark.parametrize("prefixed", ["control_model.input_hint_block.0.weight", "input_hint_block.0.weight"])
def test_a_controlnet_in_the_hosts_layout_is_a_plain_one(prefixed):
    assert weights.detect({prefixed: torch.zeros(1)}) == "plain controlnet"


def test_every_kind_has_words():
    assert weights.KINDS.keys() == FILES.keys()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("lora", r"'x.safetensors' is a LoRA \(1 tensors\); expected a UNet with image attentions"),
        ("unet", r"is a UNet without image attentions .* Load it with Load Diffusion Model\."),
        ("plain controlnet", r"is a ControlNet without image attentions"),
        ("controlnet", r"is a ControlNet with image attentions .* Load Semantic ControlNet\."),
        ("checkpoint", r"is a whole checkpoint .* Load Checkpoint\."),
        ("encoder", r"is a SAM2 checkpoint .* Load SAM2 Encoder\."),
        ("unknown", r"is no kind of weights that this node knows .* Choose a SeeSR or SRlab file\."),
    ],
)
def test_another_kind_is_refused_in_words(kind, message):
    with pytest.raises(UnsupportedWeightsError, match=f"^Load Semantic Adapter: .*{message}"):
        weights.require(file(kind), "adapter", "Load Semantic Adapter", "x.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": None}, r"'x' lacks 'weight'\. The file is incomplete"),
        ({"other": torch.zeros(1)}, r"'x' holds 'other', which has no place in the network"),
        ({"weight": torch.zeros(2, 4)}, r"'weight' of 'x' is \[2, 4\]; expected \[2, 3\]"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_the_first_key(change, message):
    network = torch.nn.Linear(3, 2)
    state_dict = network.state_dict() | change
    state_dict = {key: weight for key, weight in state_dict.items() if weight is not None}
    with pytest.raises(UnsupportedWeightsError, match=f"^Node: {message}"):
        weights.load(network, state_dict, "Node", "x")
