"""Files of every kind, known by their keys; tests/host/test_wrong_weights.py has what `require` refuses."""

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
    "clip vision": ["vision_model.encoder.layers.0.layer_norm1.bias", "visual_projection.weight"],
    "encoder": ["image_encoder.trunk.pos_embed", "no_mem_embed"],
    "sam2": ["image_encoder.trunk.pos_embed", "no_mem_embed", "memory_encoder.out_proj.bias"],
    "sam1": ["image_encoder.pos_embed", "image_encoder.patch_embed.proj.weight"],
    "transformers": ["vision_encoder.backbone.x"],
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


@pytest.mark.parametrize(("version", "kind"), [("sam2", "sam2"), ("sam2.1", "encoder")])
def test_the_two_versions_of_sam2_are_told_apart(version, kind):
    from sam2.build_sam import build_sam2

    model = build_sam2(f"configs/{version}/{version}_hiera_t.yaml", ckpt_path=None, device="cpu")
    assert weights.detect(model.state_dict()) == kind


@pytest.mark.parametrize(
    ("width", "base"), [(768, "Stable Diffusion 1"), (1024, "Stable Diffusion 2"), (2048, "SDXL")]
)
@pytest.mark.parametrize(
    "prefix",
    ["model.diffusion_model.input_blocks.4.1.", "down_blocks.1.attentions.0.", "input_blocks.4.1."],
)
def test_the_base_model_is_known_by_the_width_of_its_text(prefix, width, base):
    other = {f"{prefix}transformer_blocks.0.attn1.to_k.weight": torch.zeros(640, 640)}
    text = {f"{prefix}transformer_blocks.0.attn2.to_k.weight": torch.zeros(640, width)}
    assert weights.family(text | other) == base
    assert weights.family(other) is None


def test_tokens_of_image_attentions_are_no_text():
    assert (
        weights.family({"down_blocks.1.image_attentions.0.x.attn2.to_k.weight": torch.zeros(64, 768)}) is None
    )


def test_every_kind_has_words():
    assert weights.KINDS.keys() == FILES.keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": None}, r"'x' lacks 'weight'\. The file is incomplete"),
        ({"other": torch.zeros(1)}, r"'x' holds 'other', which has no place in the network"),
        ({"weight": torch.zeros(2, 4)}, r"'weight' of 'x' is \[2, 4\]; expected \[2, 3\]"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_the_first_key(change, message):
    expected = {"weight": (2, 3), "bias": (2,)}
    state_dict = {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)} | change
    state_dict = {key: weight for key, weight in state_dict.items() if weight is not None}
    with pytest.raises(UnsupportedWeightsError, match=f"^{message}"):
        weights.compare(expected, state_dict, "x")
