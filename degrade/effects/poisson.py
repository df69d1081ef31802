"""Poisson numbers from normal ones: fast, and the same number for the same level and draw."""

import torch
from torch import Tensor

FEW = 3.0  # photons below which the approximation would be felt
MOST = 20  # counts with a mean of FEW exceed it once in 1e11


def poisson_counts(levels: Tensor, photons: float, normal: Tensor) -> Tensor:
    """Return Poisson numbers with means `levels` * `photons`, at the quantiles of the numbers in `normal`.

    Levels are integers 0..255, of the shape of `normal`. From three photons on, this is the Cornish-Fisher
    expansion of the Poisson quantile (M. B. Giles, ACM TOMS 42(1), 2016, eq. 5), rounded down: mean and
    variance are right to 0.5 %. Below, it is the exact distribution.
    """
    mean = levels * photons
    root = mean.clamp(min=FEW).sqrt_()
    term = normal.square().add_(2)
    counts = torch.add(mean, term, alpha=1 / 6).addcmul_(normal, root)
    counts.sub_(term.mul_(normal).div_(root), alpha=1 / 72)
    counts = counts.floor_().clamp_(min=0).flatten()
    dark = (mean < FEW).flatten().nonzero().squeeze(1)
    if len(dark):
        counts[dark] = _few(levels.flatten()[dark], photons, normal.flatten()[dark])
    return counts.view(levels.shape)


def _few(levels: Tensor, photons: float, normal: Tensor) -> Tensor:
    """Return the same from the exact distribution, for means below FEW."""
    counts = torch.zeros_like(normal)
    for level in torch.bincount(levels.to(torch.uint8)).nonzero().flatten().cpu().tolist():
        where = (levels == level).nonzero().squeeze(1)
        drawn = normal[where]
        few, most = torch.zeros_like(drawn), float(drawn.max())
        for threshold in _thresholds(level * photons):
            if threshold > most:
                break
            few += drawn > threshold
        counts[where] = few
    return counts


def _thresholds(mean: float) -> list[float]:
    """Return the normal numbers above which the count exceeds 0, 1, 2, ..."""
    counts = torch.arange(MOST, dtype=torch.float64)
    return (-torch.special.ndtri(torch.special.gammainc(counts + 1, torch.full_like(counts, mean)))).tolist()
