"""The regular pattern of 4 and 2 px that pixel shuffles and strided convolutions leave in pictures."""

from __future__ import annotations

import torch
from torch import Tensor

PATCH_PX = 64
LEAST_PX = 128  # nine patches
_ROUNDING = 1 / 12  # variance of what rounding to whole levels adds
# Every frequency of the periods 4 and 2 px, in cycles a patch, rows then columns, each once.
_QUARTER, _HALF = PATCH_PX // 4, PATCH_PX // 2
_OWN = (
    *((_QUARTER, 0), (0, _QUARTER), (_QUARTER, _QUARTER), (_QUARTER, -_QUARTER)),
    *((_HALF, 0), (0, _HALF), (_HALF, _HALF), (_QUARTER, _HALF), (_HALF, _QUARTER)),
)
# Cycles a patch. The window spreads a pure wave over 1 on either side; 8 would meet the blocks of JPEG.
_APART = (-6, -5, -4, -3, -2, 2, 3, 4, 5, 6)


def weave(grey: Tensor) -> Tensor:
    """Return the energy at periods of 4 and 2 px over that at neighbouring frequencies: (B,).

    It is about 1 without a pattern. In overlapping patches of 64 px, each under a Hann window, the power at
    each of the nine frequencies is divided by the mean power 2 to 6 cycles per patch away, along each axis on
    which the frequency isn't 0. The nine ratios of a patch are averaged, then the logarithms of the means
    over the patches: a faint pattern shows in calm areas and is hidden in texture, as for a person.

    Args:
        grey: (B, 1, H, W) in [0, 255], float64, at least 128 px a side.
    """
    total, count = grey.new_zeros(len(grey)), 0
    for top in range(0, grey.shape[-2] - PATCH_PX + 1, PATCH_PX // 2):  # a row of patches in memory at once
        patches = grey[:, 0, top : top + PATCH_PX].unfold(-1, PATCH_PX, PATCH_PX // 2).movedim(2, 1)
        ratios = _ratios(patches)
        total, count = total + ratios.log().sum(dim=1), count + ratios.shape[1]
    return (total / count).exp()


def _ratios(patches: Tensor) -> Tensor:
    """(B, N, 64, 64) -> (B, N)."""
    window = torch.hann_window(PATCH_PX, dtype=patches.dtype, device=patches.device)
    window = window[:, None] * window
    patches = patches - patches.mean(dim=(-2, -1), keepdim=True)
    power = torch.fft.fft2(patches * window).abs().square() / window.square().sum() + _ROUNDING
    ratios = []
    for row, column in _OWN:
        places = [(row + apart, column) for apart in _APART if row]
        places += [(row, column + apart) for apart in _APART if column]
        rows, columns = (torch.tensor(at) % PATCH_PX for at in zip(*places, strict=True))
        ratios.append(power[..., row, column] / power[..., rows, columns].mean(dim=-1))
    return torch.stack(ratios, dim=-1).mean(dim=-1)
