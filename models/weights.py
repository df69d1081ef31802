"""What a weights file holds, read from its keys and shapes, and refusals in words."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn


class UnsupportedWeightsError(ValueError):
    """The file is not a kind of weights that we can use; the message says what it seems to be."""


class Kind(NamedTuple):
    """A kind of weights file, for a person: what it is, and what to do with it."""

    what: str
    advice: str


KINDS = {
    "controlnet": Kind("a ControlNet with image attentions", "Load it with Load Semantic ControlNet."),
    "adapter": Kind("a UNet with image attentions", "Load it with Load Semantic Adapter."),
    "encoder": Kind("a SAM2 checkpoint", "Load it with Load SAM2 Encoder."),
    "lora": Kind("a LoRA", "Load it with Load LoRA."),
    "plain controlnet": Kind("a ControlNet without image attentions", "Load it with Load ControlNet Model."),
    "checkpoint": Kind("a whole checkpoint", "Load it with Load Checkpoint."),
    "unet": Kind("a UNet without image attentions", "Load it with Load Diffusion Model."),
    "unknown": Kind("no kind of weights that this node knows", "Choose a SeeSR or SRlab file."),
}


def detect(state_dict: Mapping[str, Tensor]) -> str:
    """The kind of a file, one of `KINDS`, from its keys; file names don't matter."""
    keys = list(state_dict)
    image_attentions = any(".image_attentions." in key for key in keys)
    if _any_starts(keys, "controlnet_cond_embedding."):
        return "controlnet" if image_attentions else "plain controlnet"
    if image_attentions:
        return "adapter"
    if any("lora_" in key or ".lora." in key for key in keys):
        return "lora"
    if any("input_hint_block" in key for key in keys):
        return "plain controlnet"
    if _any_starts(keys, "image_encoder.", "model.image_encoder."):
        return "encoder"
    if _any_starts(keys, "model.diffusion_model."):
        return "checkpoint"
    if _any_starts(keys, "down_blocks.0.resnets.", "input_blocks."):
        return "unet"
    return "unknown"


def require(state_dict: Mapping[str, Tensor], kind: str, node: str, name: str) -> None:
    """Refuse a file that isn't of `kind`, in the name of `node`.

    Raises:
        UnsupportedWeightsError: saying what `name` holds instead, and where that belongs.
    """
    found = detect(state_dict)
    if found != kind:
        raise UnsupportedWeightsError(
            f"{node}: '{name}' is {KINDS[found].what} ({len(state_dict)} tensors); "
            f"expected {KINDS[kind].what}, as SeeSR and SRlab publish it. {KINDS[found].advice}"
        )


def load(
    module: nn.Module, state_dict: Mapping[str, Tensor], node: str, name: str, assign: bool = False
) -> None:
    """Load every tensor into `module`; none may be missing, left over or of another shape.

    Raises:
        UnsupportedWeightsError: naming the first key that doesn't fit.
    """
    expected = module.state_dict()
    for key in expected:
        if key not in state_dict:
            raise UnsupportedWeightsError(
                f"{node}: '{name}' lacks '{key}'. The file is incomplete; download it again."
            )
    for key, weight in state_dict.items():
        if key not in expected:
            raise UnsupportedWeightsError(
                f"{node}: '{name}' holds '{key}', which has no place in the network. "
                "Use the file as published."
            )
        if weight.shape != expected[key].shape:
            raise UnsupportedWeightsError(
                f"{node}: '{key}' of '{name}' is {list(weight.shape)}; expected {list(expected[key].shape)}. "
                "Use the file as published."
            )
    module.load_state_dict(state_dict, assign=assign)


def _any_starts(keys: list[str], *prefixes: str) -> bool:
    return any(key.startswith(prefixes) for key in keys)
