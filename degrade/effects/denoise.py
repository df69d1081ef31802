"""Noise reduction as in phone cameras: texture is lost, strong edges stay."""

from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from ...color import BT601, grey
from .effect import Range, effect
from .resize import resize

_TEXTURE = 0.05  # contrast below which strength 1 treats texture as noise; assumed


@effect(lambda p: (p["strength"] / 2, f"smoothed {p['strength']:.1f}"), smooths=True)
def denoise(
    image: Tensor, strength: Annotated[float, Range(0, 1)], radius: Annotated[int, Range(1, 15)]
) -> Tensor:
    """Smooth (B, 3, H, W) over 2 * radius + 1 pixels and keep strong edges. Strength 0 changes nothing.

    The fast guided filter (He and Sun, arXiv 1505.00996) with luma as the guide. Colour is smoothed twice as
    strongly as luma. The statistics are taken at half size from radius 2 and at a quarter from radius 6.
    """
    if not strength:
        return image
    guide = grey(image)
    colour = image[:, ::2] - guide  # R - Y, B - Y
    slope, offset = _fit(guide, torch.cat((guide, colour), 1), radius, (_TEXTURE * strength) ** 2)
    smooth = torch.addcmul(offset, slope, guide)
    colour = torch.lerp(colour, smooth[:, 1:], min(1.0, 2 * strength))
    green = -(BT601[0] * colour[:, :1] + BT601[2] * colour[:, 1:]) / BT601[1]
    return torch.cat((colour[:, :1], green, colour[:, 1:]), 1).add_(smooth[:, :1])


def _fit(guide: Tensor, signal: Tensor, radius: int, texture: float) -> tuple[Tensor, Tensor]:
    """Return slope and offset, each of the size of `signal`, of its local linear fit to the guide."""
    height, width = guide.shape[2:]
    step = 1 if radius < 2 else 2 if radius < 6 else 4
    margin = (0, -width % step, 0, -height % step)
    whole = pad(signal, margin, mode="replicate")
    small = avg_pool2d(whole, step)
    means = _mean(torch.cat((small, small * small[:, :1]), 1), round(radius / step))
    mean, product = means.chunk(2, 1)
    covariance = product - mean * mean[:, :1]
    slope = covariance / (covariance[:, :1].clamp(min=0) + texture)
    line = _mean(torch.cat((slope, mean - slope * mean[:, :1]), 1), round(radius / step))
    line = resize(line, *whole.shape[2:], mode="bilinear", antialias=False)[:, :, :height, :width]
    slope, offset = line.chunk(2, 1)
    return slope, offset


def _mean(image: Tensor, radius: int) -> Tensor:
    """Return the mean over a square of side 2 * radius + 1; outside the image, the border repeats."""
    padded = pad(image, (radius,) * 4, mode="replicate")
    for dim in (2, 3):
        size = image.shape[dim]
        shifted = [padded.narrow(dim, start, size) for start in range(2 * radius + 1)]
        padded = sum(shifted[1:], shifted[0])
    return padded / (2 * radius + 1) ** 2
