"""Detection of the kind of a weights file from its keys and shapes, and errors for files that don't fit."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

Shapes = Mapping[str, "torch.Size | tuple[int, ...]"]


_LONGEST = 1000  # characters of a message: names of tensors may be of any length


class UnsupportedWeightsError(ValueError):
    """The file is of a kind that this extension can't use; the message says what it seems to be."""

    def __init__(self, message: str) -> None:
        super().__init__(message if len(message) <= _LONGEST else f"{message[:_LONGEST]} ...")


class Kind(NamedTuple):
    """The description of a kind of weights file in messages: what it is, and which node loads it."""

    what: str
    loader: str = ""
    hint: str = ""  # what to do with a kind that no node loads

    @property
    def advice(self) -> str:
        """What to do with such a file, as a sentence."""
        return f"Load it with {self.loader}." if self.loader else self.hint


KINDS = {
    "controlnet": Kind("a ControlNet with image attentions", "Load Semantic ControlNet"),
    "adapter": Kind("a UNet with image attentions", "Load Semantic Adapter"),
    "encoder": Kind("a SAM2.1 checkpoint", "Load SAM2 Encoder"),
    "sam2": Kind(
        "a checkpoint of SAM2, the version before SAM2.1",
        hint="SRlab was trained with SAM2.1: get sam2.1_hiera_tiny.",
    ),
    "sam1": Kind(
        "a checkpoint of the first SAM",
        hint="Its tokens are of another kind: get sam2.1_hiera_tiny of SAM2.1.",
    ),
    "transformers": Kind(
        "a SAM file in the layout of transformers", hint="Get Meta's own, such as sam2.1_hiera_tiny."
    ),
    "lora": Kind("a LoRA", "Load LoRA"),
    "plain controlnet": Kind("a ControlNet without image attentions", "Load ControlNet Model"),
    "checkpoint": Kind("a whole checkpoint", "Load Checkpoint"),
    "unet": Kind("a UNet without image attentions", "Load Diffusion Model"),
    "clip vision": Kind("a CLIP vision model", "Load CLIP Vision"),
    "unknown": Kind("no kind of weights that is known here", hint="Choose a file of SeeSR, SRlab or SAM2.1."),
}
OURS = ("adapter", "controlnet", "encoder")  # the kinds that nodes of this extension load


FAMILIES = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "SDXL"}  # by text width

# The other kinds, by the beginnings of their keys.
_BEGINNINGS = {
    "checkpoint": ("model.diffusion_model.",),
    "clip vision": ("vision_model.encoder.",),
    "transformers": ("vision_encoder.",),
    "unet": ("down_blocks.0.resnets.", "input_blocks."),
}
_TOKENS = re.compile(r".*image_attentions\..+\.attn2\.to_[kv]\.weight")
_ATTENTION = re.compile(r"(.+\.)(attentions|image_attentions)\.(\d{1,2})\..+")


def detect(state_dict: Mapping[str, Tensor]) -> str:
    """Return the kind of a file, one of `KINDS`, from its keys; file names don't matter."""
    keys = list(state_dict)
    image_attentions = any(".image_attentions." in key for key in keys)
    if _any_starts(keys, "controlnet_cond_embedding."):
        return "controlnet" if image_attentions else "plain controlnet"
    if image_attentions:
        return "adapter"
    if any(mark in key for key in keys for mark in ("lora_", ".lora.", "hada_w", "lokr_w")):
        return "lora"
    if any("input_hint_block" in key for key in keys):
        return "plain controlnet"
    if _any_starts(keys, "image_encoder.", "model.image_encoder."):
        return _segmenter(keys)
    return next((kind for kind, begins in _BEGINNINGS.items() if _any_starts(keys, *begins)), "unknown")


def family(state_dict: Mapping[str, Tensor]) -> str | None:
    """Return the base model of a UNet, ControlNet or checkpoint by its text width; None if it is unknown."""
    widths = {
        weight.shape[1]
        for key, weight in state_dict.items()
        if key.endswith(".attn2.to_k.weight") and ".image_attentions." not in key and weight.ndim == 2
    }
    return next((FAMILIES[width] for width in widths if width in FAMILIES), None)


def describe(state_dict: Mapping[str, Tensor]) -> str:
    """Return a description of a file, such as "a whole checkpoint of SDXL"."""
    what, base = KINDS[detect(state_dict)].what, family(state_dict)
    return f"{what} of {base}" if base else what


def require(state_dict: Mapping[str, Tensor], kind: str, name: str) -> None:
    """Refuse a file that isn't of `kind`, one of OURS, or that is incomplete.

    Args:
        state_dict: the weights in the file.
        kind: expected kind.
        name: name of the file, for the message.

    Raises:
        UnsupportedWeightsError: if the file is of another kind, made for another base model, or incomplete;
            the message says what it holds and which node loads that, or what it lacks.
    """
    found = detect(state_dict)
    if found != kind:
        published = "as Meta publishes it" if kind == "encoder" else "as SeeSR and SRlab publish it"
        raise UnsupportedWeightsError(
            f"'{name}' is {describe(state_dict)} ({len(state_dict)} tensors); "
            f"expected {KINDS[kind].what}, {published}. {KINDS[found].advice}"
        )
    _require_numbers(state_dict, name)
    _require_pairs(state_dict, name)
    _require_one_width(state_dict, name)
    base = family(state_dict)
    if base not in (None, "Stable Diffusion 2"):
        raise UnsupportedWeightsError(
            f"'{name}' was made for {base}. Get the weights of SeeSR or SRlab, which are for "
            "Stable Diffusion 2."
        )


def _segmenter(keys: list[str]) -> str:
    if any("image_encoder.patch_embed." in key for key in keys):
        return "sam1"
    # SAM2.1 differs from SAM2 by additional weights of its memory
    memory = any("memory_encoder." in key for key in keys)
    return "sam2" if memory and not any("no_obj_embed_spatial" in key for key in keys) else "encoder"


def _require_numbers(state_dict: Mapping[str, Tensor], name: str) -> None:
    """Refuse tensors that are empty or hold other values than floating-point numbers.

    Raises:
        UnsupportedWeightsError: if there is one; the message names the first.
    """
    for key, weight in state_dict.items():
        if not weight.is_floating_point() or not weight.numel():
            kind = str(weight.dtype).removeprefix("torch.")
            raise UnsupportedWeightsError(
                f"'{key}' of '{name}' is {kind} {list(weight.shape)}; expected floating-point "
                "numbers. Use the file as published."
            )


def _require_pairs(state_dict: Mapping[str, Tensor], name: str) -> None:
    """Refuse a network in which a text attention has no image attention, or the other way round.

    Raises:
        UnsupportedWeightsError: if there is one; the message names the missing attention.
    """
    places: dict[str, set[tuple[str, int]]] = {"attentions": set(), "image_attentions": set()}
    for key in state_dict:
        if match := _ATTENTION.fullmatch(key):
            places[match[2]].add((match[1], int(match[3])))
    if not places["attentions"]:  # a file of image attentions without a base
        return
    for block, number in sorted(places["attentions"] ^ places["image_attentions"]):
        lost = next(kind for kind, found in places.items() if (block, number) not in found)
        raise UnsupportedWeightsError(
            f"'{name}' lacks '{block}{lost}.{number}'. The file is incomplete; download it again."
        )


def _require_one_width(state_dict: Mapping[str, Tensor], name: str) -> None:
    """Refuse image attentions whose token projections differ in width, or aren't matrices.

    Raises:
        UnsupportedWeightsError: if there is one; the message names the first.
    """
    first = None
    for key in filter(_TOKENS.fullmatch, state_dict):
        shape = state_dict[key].shape
        if len(shape) != 2:
            raise UnsupportedWeightsError(
                f"'{key}' of '{name}' is {list(shape)}; expected a matrix. Use the file as published."
            )
        first = first or shape[1]
        if shape[1] != first:
            raise UnsupportedWeightsError(
                f"the image attentions of '{name}' take tokens {first} wide, but '{key}' takes "
                f"{shape[1]}. Use the file as published."
            )


def compare(expected: Shapes, state_dict: Mapping[str, Tensor], name: str) -> None:
    """Refuse a file whose keys and shapes differ from the expected ones.

    Raises:
        UnsupportedWeightsError: if a key or shape differs; the message names the first.
    """
    for key in expected:
        if key not in state_dict:
            raise UnsupportedWeightsError(
                f"'{name}' lacks '{key}'. The file is incomplete; download it again."
            )
    for key, weight in state_dict.items():
        if key not in expected:
            raise UnsupportedWeightsError(
                f"'{name}' holds '{key}', which has no place in the network. Use the file as published."
            )
        if weight.shape != torch.Size(expected[key]):
            raise UnsupportedWeightsError(
                f"'{key}' of '{name}' is {list(weight.shape)}; expected {list(expected[key])}. "
                "Use the file as published."
            )


def _any_starts(keys: list[str], *prefixes: str) -> bool:
    return any(key.startswith(prefixes) for key in keys)
