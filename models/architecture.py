"""The sizes of a network in the host's layout, derived from the shapes of its weights."""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from .weights import UnsupportedWeightsError

HEAD_DIM = 64  # width of an attention head: Stable Diffusion 2's, and the bundled model's
_BLOCK = re.compile(r"(input_blocks|output_blocks)\.(\d+)\.(.+)")
_TRANSFORMER = re.compile(r"1\.transformer_blocks\.(\d+)\.")

Block = dict[str, Tensor]


class ImageAttentionSize(NamedTuple):
    """The sizes of one image attention."""

    channels: int
    token_dim: int
    depth: int
    linear: bool  # True: matrices project in and out; False: convolutions of 1x1


def image_attention(state_dict: Mapping[str, Tensor], site: str) -> ImageAttentionSize:
    """Return the sizes of the image attention at a place such as "input_4", in the host's layout.

    Raises:
        UnsupportedWeightsError: if weights that define a size are missing, or its heads have another width.
    """
    blocks = f"{site}.transformer_blocks."
    for key in (f"{site}.norm.weight", f"{site}.proj_in.weight", f"{blocks}0.attn2.to_k.weight"):
        if key not in state_dict:
            raise UnsupportedWeightsError(
                f"The image attention {site} lacks '{key}'. The file is incomplete; get it again."
            )
    channels = state_dict[f"{site}.norm.weight"].shape[0]
    if channels % HEAD_DIM:
        raise UnsupportedWeightsError(
            f"The image attention {site} is {channels} wide; expected a multiple of {HEAD_DIM}, "
            "the width of a head."
        )
    return ImageAttentionSize(
        channels=channels,
        token_dim=state_dict[f"{blocks}0.attn2.to_k.weight"].shape[1],
        depth=len({key[len(blocks) :].partition(".")[0] for key in state_dict if key.startswith(blocks)}),
        linear=state_dict[f"{site}.proj_in.weight"].ndim == 2,
    )


def infer(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return constructor arguments of the host's UNetModel or ControlNet for a state dict without prefix.

    Raises:
        UnsupportedWeightsError: if weights that define a size are missing.
    """
    try:
        return _infer(state_dict)
    except KeyError as missing:
        raise UnsupportedWeightsError(
            f"The file is incomplete: a block of the network lacks {missing}. Get it again."
        ) from None


def _infer(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    inputs, outputs, middle = _blocks(state_dict)
    levels = _levels(inputs)
    model_channels, in_channels = inputs[0]["0.weight"].shape[:2]
    arguments = {
        "image_size": 32,  # required by the host's constructors, which don't use it
        "in_channels": in_channels,
        "model_channels": model_channels,
        "num_res_blocks": [len(level) for level in levels],
        "channel_mult": [level[-1]["0.out_layers.3.weight"].shape[0] // model_channels for level in levels],
        "use_spatial_transformer": True,
        "transformer_depth": [_depth(block) for level in levels for block in level],
        "transformer_depth_middle": _depth(middle),
        "context_dim": middle["1.transformer_blocks.0.attn2.to_k.weight"].shape[1],
        "use_linear_in_transformer": middle["1.proj_in.weight"].ndim == 2,
        "num_head_channels": HEAD_DIM,
    }
    if outputs:
        arguments["out_channels"] = state_dict["out.2.weight"].shape[0]
        arguments["transformer_depth_output"] = [_depth(outputs[n]) for n in sorted(outputs, reverse=True)]
    return arguments


def _blocks(state_dict: Mapping[str, Tensor]) -> tuple[dict[int, Block], dict[int, Block], Block]:
    """Return the weights of the input blocks, of the output blocks, and of the middle block."""
    sides: dict[str, dict[int, Block]] = {
        "input_blocks": defaultdict(dict),
        "output_blocks": defaultdict(dict),
    }
    for key, weight in state_dict.items():
        if match := _BLOCK.fullmatch(key):
            side, block, rest = match.groups()
            sides[side][int(block)][rest] = weight
    middle = {
        k.removeprefix("middle_block."): w for k, w in state_dict.items() if k.startswith("middle_block.")
    }
    return sides["input_blocks"], sides["output_blocks"], middle


def _levels(inputs: dict[int, Block]) -> list[list[Block]]:
    """Return the residual blocks of each resolution; a downsampler ends a level."""
    levels: list[list[Block]] = [[]]
    for _, block in sorted(inputs.items())[1:]:
        if "0.op.weight" in block:
            levels.append([])
        else:
            levels[-1].append(block)
    return levels


def _depth(block: Block) -> int:
    return len({match[1] for key in block if (match := _TRANSFORMER.match(key))})
