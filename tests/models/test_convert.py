"""Conversion of SeeSR's layout; the host's own table is the oracle where the host is there."""

import pytest
import torch
from torch.testing import assert_close

from ugc_sr.models.convert import fold_tokens, from_diffusers, unet_from_diffusers
from ugc_sr.models.weights import UnsupportedWeightsError

SD2 = {"channels": (64, 64, 128, 128), "layers": 2, "attention": (0, 1, 2)}
NANO = {"channels": (64, 128, 192), "layers": 2, "attention": (2,)}
NANO_SHALLOW = NANO | {"layers": 1}
CONFIGS = [SD2, NANO, NANO_SHALLOW]


def numbered(network, config, **sizes):
    """The state dict of a twin without weights; each tensor tells its own number."""
    from ugc_sr.models import twins

    attends = [n in config["attention"] for n in range(len(config["channels"]))]
    down = ["CrossAttnDownBlock2D" if here else "DownBlock2D" for here in attends]
    up = ["CrossAttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attends)]
    with torch.device("meta"):
        twin = getattr(twins, network)(
            block_out_channels=config["channels"],
            layers_per_block=config["layers"],
            down_block_types=down,
            attention_head_dim=[channels // 64 for channels in config["channels"]],
            cross_attention_dim=64,
            **({"up_block_types": up} if network == "SemanticUNet" else {}),
            **sizes,
        )
        keys = twin.add_image_attentions(256).state_dict()
    return {key: torch.tensor([number]) for number, key in enumerate(keys)}


def unet(config):
    return numbered("SemanticUNet", config)


def controlnet(config, hint_blocks):
    """A ControlNet whose hint embedding has so many convolutions between the first and the last."""
    return numbered(
        "SemanticControlNet", config, conditioning_embedding_out_channels=(8,) * (hint_blocks // 2 + 1)
    )


def host_table(config):
    """The host's own diffusers name -> ldm name."""
    import comfy.utils

    layers, levels = config["layers"], len(config["channels"])
    depth = [int(n in config["attention"]) for n in range(levels)]
    return comfy.utils.unet_to_diffusers(
        {
            "num_res_blocks": [layers] * levels,
            "channel_mult": config["channels"],
            "transformer_depth": [d for d in depth for _ in range(layers)],
            "transformer_depth_output": [d for d in depth for _ in range(layers + 1)],
            "transformer_depth_middle": 1,
        }
    )


@pytest.mark.comfy
@pytest.mark.parametrize("config", CONFIGS)
def test_a_unet_is_named_as_the_host_names_it(config):
    state_dict, table = unet(config), host_table(config)
    base, adapter = unet_from_diffusers(state_dict)
    expected_base, expected_adapter = {}, {}
    for key, weight in state_dict.items():
        if ".image_attentions." not in key:
            expected_base[table[key]] = weight
            continue
        section, number, rest = table[key.replace(".image_attentions.", ".attentions.")].split(".", 2)
        site = "middle_0" if section == "middle_block" else f"{section.removesuffix('_blocks')}_{number}"
        expected_adapter[f"{site}.{rest.removeprefix('1.')}"] = weight
    assert base == expected_base
    assert adapter == expected_adapter


@pytest.mark.comfy
@pytest.mark.parametrize("config", CONFIGS)
def test_the_body_of_a_controlnet_is_named_as_the_host_names_it(config):
    state_dict, table = controlnet(config, hint_blocks=6), host_table(config)
    converted = from_diffusers(state_dict)
    ours = {key for key in state_dict if ".image_attentions." in key or key.startswith("controlnet_")}
    for key in state_dict.keys() - ours:
        assert converted[table[key]] is state_dict[key]


@pytest.mark.comfy
@pytest.mark.parametrize("layers", [1, 2])
def test_a_controlnet_fills_the_hosts_own(layers):
    import comfy.cldm.cldm
    import comfy.ops

    network = comfy.cldm.cldm.ControlNet(
        image_size=32,
        in_channels=4,
        model_channels=64,
        hint_channels=3,
        num_res_blocks=[layers] * 4,
        channel_mult=(1, 1, 2, 2),
        num_head_channels=64,
        transformer_depth=[1] * 3 * layers + [0] * layers,
        transformer_depth_middle=1,
        context_dim=64,
        use_spatial_transformer=True,
        use_linear_in_transformer=True,
        operations=comfy.ops.disable_weight_init,
        device="meta",
    )
    converted = from_diffusers(controlnet(SD2 | {"layers": layers}, hint_blocks=6))
    assert {key for key in converted if not key.startswith("image_attentions.")} == set(network.state_dict())


@pytest.mark.parametrize("config", CONFIGS)
def test_image_attentions_alone_find_the_same_places_as_in_the_whole_file(config):
    state_dict = unet(config)
    alone = {key: weight for key, weight in state_dict.items() if ".image_attentions." in key}
    base, adapter = unet_from_diffusers(alone)
    assert base == {}
    assert adapter == unet_from_diffusers(state_dict)[1]


@pytest.mark.parametrize("blocks", [0, 4, 6])
def test_the_hint_block_may_have_any_depth(blocks):
    converted = from_diffusers(controlnet(NANO, blocks))
    numbers = {int(key.split(".")[1]) for key in converted if key.startswith("input_hint_block.")}
    assert numbers == set(range(0, 2 * blocks + 3, 2))


@pytest.mark.parametrize(
    "key",
    [
        "class_embedding.linear_1.weight",
        "conv_in.lora.up.weight",
        "down_blocks.0.resnets.0.conv9.weight",
        "down_blocks.9.downsamplers.0.conv.weight",
        "down_blocks.0.attentions.0.transformer_blocks.0.attn3.to_k.weight",
        "mid_block.attentions.0.lora.weight",
        "mid_block.attentions.1.norm.weight",
        "mid_block.image_attentions.0.lora.weight",
        "mid_block.image_attentions.1.norm.weight",
        "up_blocks.1.image_attentions.0.transformer_blocks.0.attn3.to_k.weight",
        "conv_in.scale",
        "controlnet_mid_block.weight",
    ],
)
def test_a_key_without_a_place_is_named(key):
    with pytest.raises(UnsupportedWeightsError, match=f"The key '{key}' has no place"):
        unet_from_diffusers(unet(SD2) | {key: torch.zeros(1)})


@pytest.mark.parametrize(
    "key",
    [
        "conv_norm_out.scale",
        "controlnet_cond_embedding.blocks.0.conv.weight",
        "controlnet_cond_embedding.blocks.100.weight",
        "controlnet_down_blocks.0.conv.weight",
    ],
)
def test_a_key_without_a_place_in_a_controlnet_is_named(key):
    with pytest.raises(UnsupportedWeightsError, match=f"The key '{key}' has no place"):
        from_diffusers(controlnet(SD2, 6) | {key: torch.zeros(1)})


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float8_e4m3fn])
def test_folding_sums_the_halves_in_float32_and_keeps_the_type(kind):
    weight = torch.randn(8, 512).to(kind)
    (folded,) = fold_tokens({"input_4.transformer_blocks.0.attn2.to_k.weight": weight}).values()
    expected = (weight[:, :256].float() + weight[:, 256:].float()).to(kind)
    assert torch.equal(folded.float(), expected.float())
    assert folded.dtype == kind


def test_folding_touches_only_token_projections():
    to_k = "image_attentions.0.transformer_blocks.0.attn2.to_k.weight"
    weight = torch.randn(64, 512, dtype=torch.float16)
    state_dict = {
        f"down_blocks.1.{to_k}": weight,
        f"down_blocks.1.{to_k}".replace("to_k", "to_q"): weight,
        f"down_blocks.1.{to_k}".replace("image_attentions", "attentions"): weight,
        "input_4.transformer_blocks.0.attn2.to_v.weight": weight,
        "image_attentions.middle_0.transformer_blocks.0.attn2.to_v.weight": weight,
        "image_attentions.middle_0.transformer_blocks.1.attn2.to_v.weight": weight[:, :96],
    }
    folded = fold_tokens(state_dict)
    assert [w.shape[1] for w in folded.values()] == [256, 512, 512, 256, 256, 96]


def test_a_folded_projection_of_features_is_the_whole_projection_of_them_twice():
    weight, features = torch.randn(64, 512), torch.randn(10, 256)
    key = "input_4.transformer_blocks.0.attn2.to_k.weight"
    twice = torch.cat([features, features], dim=-1)
    assert_close(features @ fold_tokens({key: weight})[key].T, twice @ weight.T, rtol=1e-4, atol=1e-4)
