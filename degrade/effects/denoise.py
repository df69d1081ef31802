"""What phones do against noise: texture goes, strong edges stay."""

from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from .chroma import LUMA, luma
from .effect import Range, effect
from .resize import resize

_TEXTURE = 0.05  # contrast that strength 1 still takes for noise; assumed


@effect
def denoise(
    image: Tensor, strength: Annotated[float, Range(0, 1)], radius: Annotated[int, Range(1, 15)]
) -> Tensor:
    """Edge-preserving smoothing over 2 radius + 1 pixels: plastic skin. Strength 0 changes nothing.

    The fast guided filter (He and Sun, arXiv 1505.00996) with luma as the guide: of luma itself and, twice
    as strong, of colour. Its statistics are taken at a half or a quarter of the size from radius 2 or 6.
    """
    if not strength:
        return image
    grey = luma(image)
    colour = image[:, ::2] - grey  # R - Y, B - Y
    slope, offset = _fit(grey, torch.cat((grey, colour), 1), radius, (_TEXTURE * strength) ** 2)
    smooth = torch.addcmul(offset, slope, grey)
    colour = torch.lerp(colour, smooth[:, 1:], min(1.0, 2 * strength))
    green = -(LUMA[0] * colour[:, :1] + LUMA[2] * colour[:, 1:]) / LUMA[1]
    return torch.cat((colour[:, :1], green, colour[:, 1:]), 1).add_(smooth[:, :1])


def _fit(guide: Tensor, signal: Tensor, radius: int, texture: float) -> tuple[Tensor, Tensor]:
    """Slope and offset, each of the size of `signal`, with which the guide explains it window by window."""
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
    """Mean over a square of side 2 radius + 1; outside, the border repeats."""
    padded = pad(image, (radius,) * 4, mode="replicate")
    for dim in (2, 3):
        size = image.shape[dim]
        shifted = [padded.narrow(dim, start, size) for start in range(2 * radius + 1)]
        padded = sum(shifted[1:], shifted[0])
    return padded / (2 * radius + 1) ** 2
