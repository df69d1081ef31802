"""Conversion of state dicts from the layout of SeeSR's and SRlab's files (diffusers) to the host's layout.

The host has no image attentions. Their keys begin with the place in the host's UNet after whose text
attention they act: `input_4`, `middle_0`, `output_3`.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from .weights import UnsupportedWeightsError

StateDict = dict[str, Tensor]

_IMAGE = "image_attentions."
_NO_PLACE = "The key '{}' has no place in the layout of SeeSR's and SRlab's files. Use the file as published."
DUPLICATED = 512  # SeeSR's token width; SAM2's 256 channels are put there twice (SRlab)

_TOP = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "controlnet_mid_block": "middle_block_out.0",
    "controlnet_cond_embedding.conv_in": "input_hint_block.0",
}
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_N = r"(0|[1-9][0-9]?)"  # upper limit of a number in a key; a hostile file could name any
_LAYER = re.compile(rf"(down_blocks|up_blocks)\.{_N}\.([a-z_]+)\.{_N}\.(.+)")
_MIDDLE = re.compile(rf"mid_block\.([a-z_]+)\.{_N}\.(.+)")
_HINT = re.compile(rf"controlnet_cond_embedding\.blocks\.{_N}(\..+)?")
_ATTENTION = re.compile(
    r"norm|proj_in|proj_out|"
    rf"transformer_blocks\.{_N}\.(norm[123]|attn[12]\.to_[qkv]|attn[12]\.to_out\.0|ff\.net\.0\.proj|ff\.net\.2)"
)
_TOKEN_PROJECTION = re.compile(
    r"(.+\.)?(image_attentions|(input|middle|output)_\d+)\..+\.attn2\.to_[kv]\.weight"
)


def unet_from_diffusers(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, StateDict]:
    """Return a UNet in the host's layout, as base ("input_blocks.1.0...") and adapter ("input_4...").

    A file may hold image attentions alone: the base is then empty, and every level is assumed to have as
    many layers as those with attention.

    Raises:
        UnsupportedWeightsError: if a key has no place in the host's UNet; the message names the first.
    """
    for key in state_dict:
        if key.startswith("controlnet_"):
            raise UnsupportedWeightsError(_NO_PLACE.format(key))
    converted = from_diffusers(state_dict)
    base = {key: weight for key, weight in converted.items() if not key.startswith(_IMAGE)}
    adapter = {key.removeprefix(_IMAGE): w for key, w in converted.items() if key.startswith(_IMAGE)}
    return base, adapter


def from_diffusers(state_dict: Mapping[str, Tensor]) -> StateDict:
    """Return a ControlNet or UNet in the host's layout, image attentions under "image_attentions.input_4...".

    Raises:
        UnsupportedWeightsError: if a key has no place in the host's network; the message names the first.
    """
    structure = _structure(state_dict)
    converted: StateDict = {}
    for key, weight in state_dict.items():
        module, _, kind = key.rpartition(".")
        name = _host_name(module, structure)
        if name is None or kind not in ("weight", "bias"):
            raise UnsupportedWeightsError(_NO_PLACE.format(key))
        converted[f"{name}.{kind}"] = weight
    return converted


def fold_tokens(state_dict: Mapping[str, Tensor]) -> StateDict:
    """Return the weights with the halves of 512 wide token projections added, for 256 wide tokens.

    SRlab's image attentions take every feature f twice: W [f; f] = (W[:, :256] + W[:, 256:]) f, exactly;
    the sum is in float32. Only key and value projections of image attentions change, in either layout.
    """
    return {
        key: _fold(weight) if _TOKEN_PROJECTION.fullmatch(key) and weight.shape[1] == DUPLICATED else weight
        for key, weight in state_dict.items()
    }


def _fold(weight: Tensor) -> Tensor:
    first, second = weight.to(torch.float32).chunk(2, dim=1)
    return (first + second).to(weight.dtype)


class _Structure(NamedTuple):
    """The structure of the whole network that the mapping of a single key depends on."""

    first: dict[tuple[str, int], int]  # (side, level) -> number of its first layer in the host
    layers: dict[tuple[str, int], int]
    text: set[tuple[str, int, int]]  # (side, level, layer) of every text attention
    hint_blocks: int


def _structure(keys: Iterable[str]) -> _Structure:
    layers: dict[tuple[str, int], int] = {}
    text = set()
    hint_blocks = 0
    for key in keys:
        if match := _LAYER.fullmatch(key):
            side, level, kind, layer = match[1], int(match[2]), match[3], int(match[4])
            if kind in ("resnets", "image_attentions"):
                layers[side, level] = max(layers.get((side, level), 0), layer + 1)
            elif kind == "attentions":
                text.add((side, level, layer))
        elif match := _HINT.fullmatch(key):
            hint_blocks = max(hint_blocks, int(match[1]) + 1)
    first = {}
    for side, start, downsampler in (("down_blocks", 1, 1), ("up_blocks", 0, 0)):
        known = {level: n for (s, level), n in layers.items() if s == side}
        usual = max(known.values(), default=0)
        for level in range(max(known, default=-1) + 1):
            first[side, level] = start
            start += known.get(level, usual) + downsampler
    return _Structure(first, layers, text, hint_blocks)


def _host_name(module: str, structure: _Structure) -> str | None:
    """Return the host's name of one module, or None if the host has no such module."""
    if match := _LAYER.fullmatch(module):
        return _layer_name(match[1], int(match[2]), match[3], int(match[4]), match[5], structure)
    if match := _MIDDLE.fullmatch(module):
        return _middle_name(match[1], int(match[2]), match[3])
    if match := re.fullmatch(rf"controlnet_down_blocks\.{_N}", module):
        return f"zero_convs.{match[1]}.0"
    if (match := _HINT.fullmatch(module)) and not match[2]:
        return f"input_hint_block.{2 * int(match[1]) + 2}"
    if module == "controlnet_cond_embedding.conv_out":
        return f"input_hint_block.{2 * structure.hint_blocks + 2}"
    return _TOP.get(module)


def _layer_name(side: str, level: int, kind: str, layer: int, rest: str, structure: _Structure) -> str | None:
    if (side, level) not in structure.layers:
        return None
    section = "input" if side == "down_blocks" else "output"
    block = structure.first[side, level] + layer
    match kind:
        case "resnets" if rest in _RESNET:
            return f"{section}_blocks.{block}.0.{_RESNET[rest]}"
        case "attentions" if _ATTENTION.fullmatch(rest):
            return f"{section}_blocks.{block}.1.{rest}"
        case "image_attentions" if _ATTENTION.fullmatch(rest):
            return f"{_IMAGE}{section}_{block}.{rest}"
        case "downsamplers" if (side, rest) == ("down_blocks", "conv"):
            return f"input_blocks.{block + structure.layers[side, level]}.0.op"
        case "upsamplers" if (side, rest) == ("up_blocks", "conv"):
            last = structure.layers[side, level] - 1
            place = 2 if (side, level, last) in structure.text else 1
            return f"output_blocks.{block + last}.{place}.conv"
    return None


def _middle_name(kind: str, layer: int, rest: str) -> str | None:
    match kind:
        case "resnets" if rest in _RESNET:
            return f"middle_block.{2 * layer}.{_RESNET[rest]}"
        case "attentions" if _ATTENTION.fullmatch(rest) and layer == 0:
            return f"middle_block.1.{rest}"
        case "image_attentions" if _ATTENTION.fullmatch(rest) and layer == 0:
            return f"{_IMAGE}middle_0.{rest}"
    return None
