"""Every wrong file that a person may choose in a loader node: one error, which names the file's kind."""

import json

import pytest
import torch
from safetensors.torch import save_file

from ugc_sr.nodes.guidance_nodes import LoadSemanticAdapter, LoadSemanticControlNet
from ugc_sr.nodes.semantics_nodes import LoadSAM2Encoder

pytestmark = pytest.mark.comfy

TO_K = "transformer_blocks.0.attn2.to_k.weight"


def zeros(**shapes):
    return {key: torch.zeros(shape) for key, shape in shapes.items()}


def checkpoint(width):
    key = f"model.diffusion_model.input_blocks.1.1.{TO_K}"
    return {key: torch.zeros(8, width), "first_stage_model.x": torch.zeros(1)}


def plain_unet(width):
    return {
        f"down_blocks.0.attentions.0.{TO_K}": torch.zeros(8, width),
        "down_blocks.0.resnets.0.x": torch.zeros(1),
    }


def plain_controlnet(width):
    return plain_unet(width) | {"controlnet_cond_embedding.conv_in.weight": torch.zeros(8, 3, 3, 3)}


def without(state_dict, part):
    return {key: weight for key, weight in state_dict.items() if part not in key}


def of_base(state_dict, width):
    """The network as if its text were of another base model."""
    return {
        key: torch.zeros(weight.shape[0], width) if key.endswith(TO_K) and ".attentions." in key else weight
        for key, weight in state_dict.items()
    }


# what -> (makes it from the true UNet and ControlNet, what the message says in any loader)
FOREIGN = {
    "LoRA": (lambda u, c: zeros(**{"unet.lora_up.weight": (4, 4)}), r"is a LoRA.*Load LoRA"),
    "LoKr": (lambda u, c: zeros(**{"unet.lokr_w1": (4, 4)}), r"is a LoRA"),
    "SD1 base": (
        lambda u, c: checkpoint(768),
        r"is a whole checkpoint of Stable Diffusion 1.*Load Checkpoint",
    ),
    "SD2 base": (lambda u, c: checkpoint(1024), r"is a whole checkpoint of Stable Diffusion 2"),
    "SDXL base": (lambda u, c: checkpoint(2048), r"is a whole checkpoint of SDXL"),
    "SD1 UNet": (lambda u, c: plain_unet(768), r"is a UNet without image attentions of Stable Diffusion 1"),
    "SDXL UNet": (lambda u, c: plain_unet(2048), r"is a UNet without image attentions of SDXL"),
    "SD1 ControlNet": (
        lambda u, c: plain_controlnet(768),
        r"ControlNet without image attentions of Stable Diff",
    ),
    "SDXL ControlNet": (
        lambda u, c: plain_controlnet(2048),
        r"is a ControlNet without image attentions of SDXL",
    ),
    "host ControlNet": (
        lambda u, c: zeros(**{"control_model.input_hint_block.0.weight": (1,)}),
        r"is a ControlNet without image attentions.*Load ControlNet Model",
    ),
    "UNet without image attentions": (
        lambda u, c: without(u, "image_att"),
        r"is a UNet without image attentions",
    ),
    "ControlNet without them": (
        lambda u, c: without(c, "image_att"),
        r"is a ControlNet without image attentions",
    ),
    "SAM": (
        lambda u, c: zeros(**{"image_encoder.patch_embed.proj.weight": (8, 3)}),
        r"the first SAM.*SAM2\.1",
    ),
    "SAM2": (
        lambda u, c: zeros(
            **{"image_encoder.trunk.patch_embed.proj.weight": (96, 3, 7, 7), "memory_encoder.x": (1,)}
        ),
        r"SAM2, the version before SAM2\.1.*get sam2\.1_hiera_tiny",
    ),
    "nothing known": (lambda u, c: zeros(a=(1,), b=(2,)), r"no kind of weights|holds 2 tensors, such as 'a'"),
    "no tensors": (lambda u, c: {}, r"holds no tensors\. Download it again"),
}
OWN = {
    ("adapter", "ControlNet"): (lambda u, c: c, r"is a ControlNet with image .* Load Semantic ControlNet"),
    ("controlnet", "UNet"): (lambda u, c: u, r"is a UNet with image attentions .* Load Semantic Adapter"),
    ("encoder", "UNet"): (lambda u, c: u, r"is a UNet with image attentions.*Load Semantic Adapter"),
    ("adapter", "half"): (
        lambda u, c: without(u, "mid_block.image_"),
        r"lacks 'mid_block\.image_attentions\.0'",
    ),
    ("controlnet", "half"): (
        lambda u, c: without(c, "mid_block.image_"),
        r"lacks 'mid_block\.image_attentions",
    ),
    ("controlnet", "no middle"): (lambda u, c: without(c, "mid_block"), r"incomplete"),
    ("adapter", "SD1's"): (lambda u, c: of_base(u, 768), r"was made for Stable Diffusion 1"),
    ("controlnet", "SDXL's"): (lambda u, c: of_base(c, 2048), r"was made for SDXL"),
    ("adapter", "no matrix"): (
        lambda u, c: u | {f"down_blocks.1.image_attentions.0.{TO_K}": torch.zeros(512)},
        r"' of 'chosen\.safetensors' is \[512\]; expected a matrix",
    ),
    ("adapter", "no projection"): (
        lambda u, c: without(u, f"down_blocks.1.image_attentions.0.{TO_K}"),
        rf"image attention input_4 lacks 'input_4\.{TO_K}'",
    ),
    ("adapter", "no bias"): (
        lambda u, c: without(u, "up_blocks.1.image_attentions.0.proj_out.bias"),
        r"lacks 'output_3\.proj_out\.bias'",
    ),
    ("adapter", "a short bias"): (
        lambda u, c: u | {"down_blocks.1.image_attentions.0.proj_in.bias": torch.ones(7)},
        r"'input_4\.proj_in\.bias' of 'chosen\.safetensors' is \[7\]; expected \[64\]",
    ),
    ("adapter", "other heads"): (
        lambda u, c: u | {"down_blocks.1.image_attentions.0.norm.weight": torch.ones(80)},
        r"input_4 is 80 wide; expected a multiple of 64",
    ),
    ("controlnet", "no input"): (
        lambda u, c: {key: w for key, w in c.items() if key != "conv_in.weight"},
        r"a block of the network lacks '0\.weight'",
    ),
    ("controlnet", "no bias"): (
        lambda u, c: without(c, "controlnet_mid_block.bias"),
        r"lacks 'middle_block_out\.0\.bias'",
    ),
    ("controlnet", "no hint"): (
        lambda u, c: without(c, "controlnet_cond_embedding.blocks.3.weight"),
        r"The network lacks 'input_hint_block\.8\.weight'",
    ),
    ("adapter", "two widths"): (
        lambda u, c: u | {f"down_blocks.1.image_attentions.0.{TO_K}": torch.zeros(64, 256)},
        r"take tokens \d+ wide, but '.*' takes \d+",
    ),
}
CASES = [
    (kind, what, *case) for what, case in FOREIGN.items() for kind in ("adapter", "controlnet", "encoder")
]
CASES += [(kind, what, *case) for (kind, what), case in OWN.items()]


@pytest.fixture
def loaders(models):
    """The loader node and the folder of each kind; the folders are the test's own."""
    places = {"adapter": "model_patches", "controlnet": "controlnet", "encoder": "detection"}
    for name in places.values():
        (models / name).mkdir()
    nodes = {"adapter": LoadSemanticAdapter, "controlnet": LoadSemanticControlNet, "encoder": LoadSAM2Encoder}
    return {kind: (nodes[kind], models / places[kind]) for kind in nodes}


@pytest.mark.parametrize(("kind", "what", "make", "message"), CASES, ids=[f"{c[1]} as {c[0]}" for c in CASES])
def test_a_wrong_file_is_refused_by_what_is_in_it(
    loaders, unet_weights, controlnet_weights, kind, what, make, message
):
    node, folder = loaders[kind]
    save_file(make(unet_weights, controlnet_weights), folder / "chosen.safetensors")
    with pytest.raises(ValueError, match=message) as refusal:
        node.execute("chosen.safetensors")
    assert "chosen.safetensors" in str(refusal.value)


def as_folder(parent, state_dict, name, config=None):
    folder = parent / name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config or {}))
    save_file(state_dict, folder / "diffusion_pytorch_model.safetensors")


def test_a_folder_loads_in_its_own_node_and_is_refused_in_the_other(
    loaders, unet_weights, controlnet_weights
):
    for kind, other, weights in (
        ("adapter", "controlnet", unet_weights),
        ("controlnet", "adapter", controlnet_weights),
    ):
        node, folder = loaders[kind]
        as_folder(folder, weights, "seesr")
        assert "seesr" in node.define_schema().inputs[0].options
        assert node.execute("seesr").result[0].name == "seesr"
        node, folder = loaders[other]
        as_folder(folder, weights, "wrong")
        with pytest.raises(ValueError, match=r"'wrong' is a .* with image attentions .*; expected"):
            node.execute("wrong")


def test_a_folder_with_heads_of_another_width_is_refused(loaders, unet_weights):
    node, folder = loaders["adapter"]
    sd1 = {"block_out_channels": [320, 640, 1280, 1280], "attention_head_dim": 8}
    as_folder(folder, unet_weights, "sd1", sd1)
    with pytest.raises(ValueError, match=r"'sd1' has 8 heads for 320 channels; expected 5"):
        node.execute("sd1")


@pytest.mark.parametrize("kind", ["adapter", "controlnet", "encoder"])
def test_the_help_of_a_loader_says_where_to_get_its_files_and_what_lies_there_unread(loaders, kind):
    node, folder = loaders[kind]
    assert "python -m ugc_sr.models fetch" in node.define_schema().description
    assert "convert" not in node.define_schema().inputs[0].tooltip
    (folder / "published.pt").write_bytes(b"pickle")
    assert "published.pt" in node.define_schema().inputs[0].tooltip
    assert node.define_schema().inputs[0].options == []
    assert "python -m ugc_sr.models convert" in node.validate_inputs(**{node.WIDGET: "published.pt"})


@pytest.mark.parametrize("kind", ["adapter", "controlnet", "encoder"])
def test_loaders_list_the_files_of_their_folder_and_load_again_when_one_changes(loaders, kind):
    node, folder = loaders[kind]
    there, gone = ({node.WIDGET: name} for name in ("lora.safetensors", "x.safetensors"))
    save_file(zeros(lora_up=1), folder / "lora.safetensors")
    (combo,) = node.define_schema().inputs
    assert (combo.id, combo.options) == (node.WIDGET, ["lora.safetensors"])
    assert node.validate_inputs(**there) is True
    assert "There is no file 'x.safetensors' in models/" in node.validate_inputs(**gone)
    before = node.fingerprint_inputs(**there)
    save_file(zeros(other=100), folder / "lora.safetensors")
    assert node.fingerprint_inputs(**there) != before
