"""Colour transfer: the detail of one image with the colours of another."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ..image import check_batch, resize
from .bands import bands, in_bands

LEVELS = 5  # of the wavelet, as in StableSR; details below about 60 px stay the image's own
REACH = 2**LEVELS - 1  # rows that the wavelet reads above and below a row
KNOTS = 256  # of the chroma transfer curve; assumed
SPREAD = 0.5  # least spread of a chroma channel, in LAB units; assumed
SAMPLES = 1 << 20  # most pixels that the curve is measured on; assumed


def match(image: Tensor, reference: Tensor, method: str, device: torch.device | None = None) -> Tensor:
    """Return `image` (B, 3, H, W) with the colours of `reference`, both RGB in [0, 1]; not clamped.

    A reference of another size is resized, and one reference serves a whole batch. The computation runs in
    bands, in float32 on `device`, which is by default the device of the image.

    Raises:
        ValueError: for an unknown method, or if the batch sizes differ.
    """
    if method not in METHODS:
        raise ValueError(f"'method' must be one of {', '.join(METHODS)}; got {method!r}.")
    check_batch(len(image), reference=reference)
    height, width = image.shape[-2:]
    reference = resize(reference.to(image), height, width)
    return METHODS[method](image, reference, device)


def wavelet(image: Tensor, reference: Tensor, device: torch.device | None = None) -> Tensor:
    """Return the low frequencies of the reference plus the detail of the image (StableSR, arXiv 2305.07015).

    The decomposition is linear: high(image) + low(reference) = image + low(reference - image).
    """
    return in_bands(with_low, [image, reference], REACH, device)


def with_low(image: Tensor, reference: Tensor) -> Tensor:
    """Return the wavelet transfer of one band (1, 3, h, W), as `wavelet` for a whole picture.

    Only rows that are at least REACH rows away from the cut edges of the band are exact.
    """
    low = reference - image
    for level in range(LEVELS):
        low = _smooth(_smooth(low, radius=2**level, dim=2), radius=2**level, dim=3)
    return image + low


def adain(image: Tensor, reference: Tensor, device: torch.device | None = None) -> Tensor:
    """Return the image with the reference's mean and deviation in each channel (AdaIN, arXiv 1703.06868)."""
    mean, deviation = _moments(image, device)
    mean_to, deviation_to = _moments(reference, device)
    slope = deviation_to / deviation
    lines = zip(image.split(1), slope.split(1), (mean_to - slope * mean).split(1), strict=True)
    return torch.cat([in_bands(_line(*line), [photo], 0, device) for photo, *line in lines])


def lab(image: Tensor, reference: Tensor, device: torch.device | None = None) -> Tensor:
    """Return the image with the chroma distribution and mean lightness of the reference, in CIE LAB.

    The contrast of the lightness stays the image's own, because it holds the restored detail. The mean RGB is
    matched first, because an RGB colour cast is more than an offset in LAB.
    """
    shift = _mean(lambda a, b: b - a, [image, reference], device)
    references = reference.expand(len(image), -1, -1, -1).split(1)
    photos = zip(image.split(1), references, shift.split(1), strict=True)
    return torch.cat([_match_lab(*photo, device) for photo in photos])


METHODS = {"wavelet": wavelet, "adain": adain, "lab": lab}


def _smooth(x: Tensor, radius: int, dim: int) -> Tensor:
    """Return x filtered by [1, 2, 1] / 4 along one dimension, taps `radius` px apart and edges repeated."""
    length = x.shape[dim]
    rows, columns = (radius, 0) if dim == 2 else (0, radius)
    padded = F.pad(x, (columns, columns, rows, rows), mode="replicate")
    sides = padded.narrow(dim, 0, length) + padded.narrow(dim, 2 * radius, length)
    return sides.mul_(0.25).add_(x, alpha=0.5)


def _mean(value: Callable[..., Tensor], pictures: list[Tensor], device: torch.device | None) -> Tensor:
    """Return the mean of value(*parts) over each photo, (B, C, 1, 1), float32 on the CPU.

    The sum runs over each row first and over the rows second, so that it doesn't depend on the bands.
    """
    sums: dict[int, list[Tensor]] = {}
    for band in bands(pictures, device=device):
        sums.setdefault(band.photo, []).append(value(*band.parts).sum(dim=3).cpu().double())
    height, width = pictures[0].shape[-2:]
    means = [torch.cat(rows, dim=2).sum(dim=2) / (height * width) for rows in sums.values()]
    return torch.cat(means)[:, :, None, None].float()


def _moments(x: Tensor, device: torch.device | None) -> tuple[Tensor, Tensor]:
    mean = _mean(lambda band: band, [x], device)
    square = _mean(lambda band: (band - 0.5).square(), [x], device)
    return mean, (square - (mean - 0.5).square() + 1e-5).clamp_min(1e-5).sqrt()


def _line(slope: Tensor, offset: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda band: band * slope.to(band) + offset.to(band)


def _match_lab(image: Tensor, target: Tensor, shift: Tensor, device: torch.device | None) -> Tensor:
    """Return one photo (1, 3, H, W) matched in LAB to `target`, after `shift` (1, 3, 1, 1) is added to it."""
    height, width = image.shape[-2:]
    stride = math.ceil(math.sqrt(height * width / SAMPLES))
    sample, sample_to = (
        x[..., ::stride, ::stride].to(device or x.device, torch.float32).contiguous() for x in (image, target)
    )
    sample, sample_to = _rgb_to_lab(sample + shift.to(sample))[0], _rgb_to_lab(sample_to)[0]
    lift = sample_to[0].mean() - sample[0].mean()
    a, b = ((_quantiles(sample[i]), _quantiles(sample_to[i])) for i in (1, 2))

    def convert(band: Tensor) -> Tensor:
        color = _rgb_to_lab(band + shift.to(band))
        matched = [color[:, 0] + lift, _follow(color[:, 1], *a), _follow(color[:, 2], *b)]
        return _lab_to_rgb(torch.stack(matched, dim=1))

    return in_bands(convert, [image], 0, device)


def _follow(x: Tensor, knots: Tensor, heights: Tensor) -> Tensor:
    """Return the piecewise linear curve through (knots, heights) at x.

    Outside the knots the curve goes on with slope 1.
    """
    inside = x.clamp(knots[0], knots[-1])
    upper = torch.searchsorted(knots, inside.contiguous()).clamp(1, KNOTS - 1)
    position = (inside - knots[upper - 1]) / (knots[upper] - knots[upper - 1])
    return torch.lerp(heights[upper - 1], heights[upper], position) + (x - inside)


def _quantiles(x: Tensor) -> Tensor:
    """Return KNOTS quantiles of x at even ranks, with the same small ramp added for every image.

    The ramp bounds the slope of the transfer curve where one image is flat: without it, its rounding noise
    would be stretched over all colours of the other image. Images that agree are left unchanged.
    """
    ordered = x.flatten().sort().values
    index = torch.linspace(0, ordered.numel() - 1, KNOTS, device=x.device)
    below = index.long()
    above = (below + 1).clamp_max(ordered.numel() - 1)
    ramp = torch.linspace(-SPREAD, SPREAD, KNOTS, device=x.device)
    return torch.lerp(ordered[below], ordered[above], (index - below).to(ordered)) + ramp.to(ordered)


# linear sRGB -> XYZ of the D65 white, IEC 61966-2-1, rows divided by that white
_TO_XYZ = [
    [0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883],
]
_TO_LAB = [[0.0, 116.0, 0.0], [500.0, -500.0, 0.0], [0.0, 200.0, -200.0]]  # CIE 1976, L without its -16
_FROM_XYZ, _FROM_LAB = (torch.tensor(matrix).double().inverse().tolist() for matrix in (_TO_XYZ, _TO_LAB))
_KNEE = 6 / 29


def _rgb_to_lab(rgb: Tensor) -> Tensor:
    """Return RGB (B, 3, H, W) as LAB + (16, 0, 0).

    Values outside [0, 1] continue on the linear segments of the transfer curves.
    """
    linear = torch.where(rgb > 0.04045, _power((rgb + 0.055) / 1.055, 2.4), rgb / 12.92)
    xyz = _mix(linear, _TO_XYZ)
    curved = torch.where(xyz > _KNEE**3, _power(xyz, 1 / 3), xyz / (3 * _KNEE**2) + 4 / 29)
    return _mix(curved, _TO_LAB)


def _lab_to_rgb(color: Tensor) -> Tensor:
    curved = _mix(color, _FROM_LAB)
    xyz = torch.where(curved > _KNEE, curved**3, 3 * _KNEE**2 * (curved - 4 / 29))
    linear = _mix(xyz, _FROM_XYZ)
    return torch.where(linear > 0.0031308, 1.055 * _power(linear, 1 / 2.4) - 0.055, linear * 12.92)


def _power(x: Tensor, exponent: float) -> Tensor:
    """Return x ** exponent for x > 0, with the same bits at every position.

    torch.pow rounds the last elements of a tensor, or of a thread's share, differently.
    """
    return x.log().mul_(exponent).exp_()


def _mix(x: Tensor, matrix: list[list[float]]) -> Tensor:
    """Return (B, 3, H, W) multiplied by a 3x3 matrix, in full precision.

    A matrix multiplication may run in lower precision on a GPU.
    """
    rows = []
    for row in matrix:
        mixed = x[:, 0] * row[0]
        rows.append(mixed.add_(x[:, 1], alpha=row[1]).add_(x[:, 2], alpha=row[2]))
    return torch.stack(rows, dim=1)
