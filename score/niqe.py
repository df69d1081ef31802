"""NIQE, a metric without reference: the distance of a picture's patch statistics from those of clean photos.

Mittal, Soundararajan, Bovik 2013, "Making a 'completely blind' image quality analyzer". The statistics of
clean patches are our own (fit_niqe.py), so values compare only with those of the same `niqe.safetensors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from .gaussian import gaussian

PATCH_PX = 96
SHIPPED = Path(__file__).with_name("niqe.safetensors")

_SCALES = 2
_WINDOW = {"sigma": 7 / 6, "radius": 3}
# Bicubic over 8 px, a = -0.5: what MATLAB's imresize shrinks to a half with.
_HALVING = tuple(tap / 256 for tap in (-3, -9, 29, 111, 111, 29, -9, -3))
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))
_ROUNDING = 1e-9  # far below the least step of rounded luma, far above that of float64


@dataclass(frozen=True, eq=False)
class Pristine:
    """The Gaussian of clean patches: mean (36,) and covariance (36, 36), float64."""

    mean: Tensor
    covariance: Tensor


def shipped() -> Pristine:
    """Return the parameters fitted to freely licensed photos, which the file's metadata names."""
    return Pristine(**load_file(SHIPPED))


def unnaturalness(y: Tensor, pristine: Pristine) -> Tensor:
    """Return NIQE (equation 10) of rounded luma (B, 1, H, W) in [0, 255], float64: (B,), lower is better.

    Partial patches at the right and the bottom, and patches without texture, are ignored. NaN if fewer than
    two patches remain.
    """
    features, _ = patch_features(y)
    return torch.stack([_distance(rows[rows.isfinite().all(dim=1)], pristine) for rows in features])


def patch_features(y: Tensor) -> tuple[Tensor, Tensor]:
    """Return features (B, N, 36) and sharpness (B, N) of the N patches of luma (B, 1, H, W) in [0, 255].

    18 features are of full size and 18 of half size; NaN for a patch without texture.
    """
    rows, columns = (side // PATCH_PX for side in y.shape[-2:])
    y = y[..., : rows * PATCH_PX, : columns * PATCH_PX]
    features, sharpness = [], []
    for scale in range(_SCALES):
        side = PATCH_PX >> scale
        texture, deviation = _normalized(y)
        features.append(_statistics(_patches(texture, side)))
        sharpness.append(_patches(deviation, side).mean(dim=(-2, -1)))
        y = _halved(y)
    return torch.cat(features, dim=-1), sharpness[0]


def _distance(features: Tensor, pristine: Pristine) -> Tensor:
    """Return the distance between the Gaussians of patches (N, 36) and of clean ones."""
    if len(features) < 2:
        return features.new_tensor(torch.nan)
    apart = pristine.mean.to(features) - features.mean(dim=0)
    covariance = (pristine.covariance.to(features) + features.T.cov()) / 2
    return (apart @ torch.linalg.pinv(covariance, hermitian=True) @ apart).clamp(min=0).sqrt()


def _normalized(y: Tensor) -> tuple[Tensor, Tensor]:
    """Return luma minus its local mean over its local deviation (equation 1), and that deviation."""
    mean, square = (
        gaussian(F.pad(x, (_WINDOW["radius"],) * 4, mode="replicate"), **_WINDOW) for x in (y, y * y)
    )
    offset = y - mean
    offset = torch.where(offset.abs() < _ROUNDING, 0, offset)
    deviation = (square - mean * mean).abs().sqrt()
    return offset / (deviation + 1), deviation


def _patches(x: Tensor, side: int) -> Tensor:
    """(B, 1, H, W) -> (B, N, side, side)."""
    return x[:, 0].unfold(1, side, side).unfold(2, side, side).flatten(1, 2)


def _statistics(patches: Tensor) -> Tensor:
    """Return 18 statistics of (B, N, h, w): 2 of the pixels, 4 of each neighbour product (equation 8)."""
    shape, left, right = fit_asymmetric(patches)
    found = [shape, (left + right) / 2]
    for shift in _NEIGHBOURS:
        shape, left, right = fit_asymmetric(patches * patches.roll(shift, dims=(-2, -1)))
        mean = (right - left) * ((2 / shape).lgamma() - (1 / shape).lgamma()).exp()
        found += [shape, mean, left, right]
    return torch.stack(found, dim=-1)


def fit_asymmetric(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return shape, left and right width of the asymmetric generalized Gaussian of each (h, w).

    By moment matching as in the paper; (B, N, h, w) -> three of (B, N), NaN without texture.
    """
    square = x * x
    left, right = (
        ((square * side).sum(dim=(-2, -1)) / side.sum(dim=(-2, -1))).sqrt() for side in (x < 0, x > 0)
    )
    skew = left / right
    ratio = x.abs().mean(dim=(-2, -1)) ** 2 / square.mean(dim=(-2, -1))
    ratio = ratio * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shapes = torch.arange(200, 10001, dtype=x.dtype, device=x.device) / 1000
    one, two, three = ((n / shapes).lgamma() for n in (1, 2, 3))
    ratios = (2 * two - one - three).exp()  # grows with the shape
    above = torch.searchsorted(ratios, ratio.contiguous()).clamp(1, len(shapes) - 1)
    nearest = torch.where(ratio - ratios[above - 1] <= ratios[above] - ratio, above - 1, above)
    width = ((one - three) / 2).exp()[nearest]
    # what has no texture has no shape either
    return torch.where(ratio.isnan(), torch.nan, shapes[nearest]), left * width, right * width


def _halved(y: Tensor) -> Tensor:
    """Return (B, 1, H, W) of even sides at half size, antialiased, with mirrored borders."""
    taps = y.new_tensor(_HALVING)
    y = torch.cat([y[..., :3, :].flip(-2), y, y[..., -3:, :].flip(-2)], dim=-2)
    y = torch.cat([y[..., :3].flip(-1), y, y[..., -3:].flip(-1)], dim=-1)
    return F.conv2d(F.conv2d(y, taps.view(1, 1, -1, 1), stride=(2, 1)), taps.view(1, 1, 1, -1), stride=(1, 2))
