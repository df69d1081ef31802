"""Checks that photo, semantics, weights, model and latent fit together."""

from typing import cast

from comfy.ldm.modules.attention import BasicTransformerBlock, SpatialTransformer, SpatialVideoTransformer
from torch import nn

from ..models.semantics import Semantics
from .adapter import SemanticAdapter

PADDING = 63  # Prepare Photo fills the sides up to multiples of 64


def check_range(start: float, end: float) -> None:
    """Raise if `start` is after `end`, so that the range is empty.

    Raises:
        ValueError: if the range is empty; the message names both ends.
    """
    if start > end:
        raise ValueError(
            f"'start_percent' {start:g} is after 'end_percent' {end:g}, so it would never act. "
            "Set 'start_percent' to the smaller number, or 'strength' to 0."
        )


def check_photo(semantics: Semantics, size: tuple[int, int], what: str) -> None:
    """Raise if the photo of the tokens, scaled and padded, can't have the size of `what`.

    Args:
        semantics: tokens of the photo.
        size: (height, width) of `what`, in pixels.
        what: description of the other picture, for the message.

    Raises:
        ValueError: if the aspect ratios differ; the message names both sizes.
    """
    if not semantics.can_become(size, PADDING):
        height, width = semantics.image_size
        raise ValueError(
            f"the semantics were read from a {width}x{height} photo, which can't be scaled to {what} "
            f"{size[1]}x{size[0]}. Connect the same photo to Encode Semantics and Prepare Photo."
        )


def check_tokens(semantics: Semantics, token_dim: int, name: str) -> None:
    """Raise if the tokens have another width than the weights in `name` were trained with.

    Raises:
        ValueError: if the widths differ; the message names both.
    """
    width = semantics.tokens.shape[-1]
    if width != token_dim:
        raise ValueError(
            f"'semantics' come from the encoder {semantics.encoder} and are {width} wide; "
            f"'{name}' takes tokens {token_dim} wide. Use the encoder that these weights were trained with."
        )


def check_sites(unet: nn.Module, adapter: SemanticAdapter, name: str) -> None:
    """Raise if the model's text attentions differ in place or width from the image attentions of `name`.

    Raises:
        ValueError: if one differs; the message names the first such place.
    """
    places = _text_attentions(unet)
    for site, attention in adapter.attentions.items():
        found = _describe(places[site]) if site in places else "missing"
        if found != _describe(attention):
            raise ValueError(
                f"'model' doesn't fit '{name}': its attention at {site} is {found}; "
                f"expected {_describe(attention)}. Connect the model that '{name}' was trained on: "
                "Stable Diffusion 2 for SeeSR and SRlab."
            )


def _text_attentions(unet: nn.Module) -> dict[str, SpatialTransformer]:
    """Return the transformers of a UNet by place; empty for other kinds of model."""
    sections = {
        "input": getattr(unet, "input_blocks", []),
        "middle": (getattr(unet, "middle_block", ()),),
        "output": getattr(unet, "output_blocks", []),
    }
    return {
        f"{section}_{number}": layer
        for section, blocks in sections.items()
        for number, block in enumerate(blocks)
        for layer in block
        if isinstance(layer, SpatialTransformer) and not isinstance(layer, SpatialVideoTransformer)
    }


def _describe(layer: SpatialTransformer) -> str:
    block = cast(BasicTransformerBlock, layer.transformer_blocks[0])
    return f"{layer.in_channels} wide with heads of {block.d_head}"
