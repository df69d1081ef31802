"""Captions and stickers, which the owner adds to a photo before it is uploaded."""

import math
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from .effect import OneOf, Range, effect
from .lettering import STYLES, lettered
from .shapes import SHAPES, drawn

_MARGIN = 0.04  # of the shorter side that stays free around captions and stickers


@effect(lambda _: (0.5, "caption"), in_torch=False)
def caption(
    image: Tensor,
    text: str,
    x: Annotated[float, Range(0, 1)],
    y: Annotated[float, Range(0, 1)],
    size: Annotated[float, Range(0.01, 0.3)],
    style: Annotated[str, OneOf(STYLES)],
    hue: Annotated[float, Range(0, 1)] = 0.0,
    opacity: Annotated[float, Range(0, 1)] = 1.0,
) -> Tensor:
    """Draw text of `size` times the shorter side on (B, 3, H, W), wrapped and shrunk until it fits.

    `x` and `y` place it within the room that is left: 0.5 is the middle. `hue` below 0.5 is white (boxes:
    white below 0.25, else black); from 0.5 to 1 it runs once around the colour wheel. The font has Latin
    letters, digits and punctuation. An empty text changes nothing.
    """
    height, width = image.shape[2:]
    margin = round(_MARGIN * min(height, width))
    space = height - 2 * margin, width - 2 * margin
    layer = lettered(text, round(size * min(height, width)), space, style, hue)
    return image if layer is None else _laid(image, layer, (y, x), margin, opacity)


@effect(lambda p: (0.5, f"{p['kind']} sticker"), in_torch=False)
def sticker(
    image: Tensor,
    kind: Annotated[str, OneOf(tuple(SHAPES))],
    x: Annotated[float, Range(0, 1)],
    y: Annotated[float, Range(0, 1)],
    size: Annotated[float, Range(0.03, 0.6)],
    angle: Annotated[float, Range(-3.15, 3.15)] = 0.0,
    hue: Annotated[float, Range(0, 1)] = 0.0,
    text: str = "",
) -> Tensor:
    """Draw a sticker of `size` times the shorter side on (B, 3, H, W), turned by `angle` radians.

    `x` and `y` are as for captions. `hue` runs once around the colour wheel from red, and chooses the face of
    an emoji. `text` is the text of a price, a badge or a bubble.
    """
    height, width = image.shape[2:]
    margin = round(_MARGIN * min(height, width))
    side = min(height, width) - 2 * margin
    side = min(size * min(height, width), side / (abs(math.cos(angle)) + abs(math.sin(angle))))
    layer = drawn(kind, max(1, int(side)), angle, hue, text)
    return _laid(image, layer, (y, x), margin, opacity=1.0)


def _laid(
    image: Tensor, layer: np.ndarray, place: tuple[float, float], margin: int, opacity: float
) -> Tensor:
    """Composite premultiplied RGBA over (B, 3, H, W); `place` is 0..1 down and right inside the margin."""
    height, width = image.shape[2:]
    layer = layer[:height, :width]
    pixels = torch.from_numpy(layer).permute(2, 0, 1).to(image.device).to(image.dtype) * opacity
    rows, columns = pixels.shape[1:]
    top, left = (
        max(0, margin + round(share * (total - 2 * margin - taken)))
        for share, total, taken in zip(place, (height, width), (rows, columns), strict=True)
    )
    out = image.clone()
    box = out[:, :, top : top + rows, left : left + columns]
    box.mul_(1 - pixels[3]).add_(pixels[:3])
    return out
