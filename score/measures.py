"""The functions behind METRICS; each fixes its colour space, border and number format.

All take RGB in [0, 1] and round it to 8 bits first, as the challenge does, so that a picture has the same
score in memory and on disk. They return one float64 value per image of the batch, NaN where undefined.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..color import lab, luma
from ..image import same_aspect
from .ciede2000 import ciede2000
from .damage import LEAST_PX, grey_levels, grid_steps
from .gaussian import blur, gaussian
from .niqe import PATCH_PX, shipped, unnaturalness
from .seams import Borders, seam_score
from .weave import LEAST_PX as GRID_LEAST_SIDE
from .weave import weave

BORDER = 4  # pixels, as in the challenge
LEAST_SIDE = 16  # pixels: below, windows and borders leave too little to measure
# Of the five scales of MS-SSIM, finest first (Wang 2003, section 3.2).
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
NO_ERROR = 1e-20  # of 255 squared: averages of equal pixels differ by the rounding of float64
MS_SSIM_LEAST_SIDE = 169  # pixels: the window of 11 px at the fifth scale, and the border
NIQE_LEAST_SIDE = 2 * PATCH_PX  # pixels: four patches have a covariance
BLOCKS_LEAST_SIDE = LEAST_PX  # pixels


def psnr_y(sr: Tensor, gt: Tensor) -> Tensor:
    """Return the PSNR in dB of unrounded BT.601 luma without a border of 4 px; the peak is 255, not 219.

    Infinite for equal images, like every PSNR here.
    """
    return _psnr(*(_inside(_luma(x), BORDER) for x in stored_pair(sr, gt)))


def psnr_rgb(sr: Tensor, gt: Tensor) -> Tensor:
    """Return the PSNR in dB over all channels of the whole image."""
    return _psnr(*(255 * x for x in stored_pair(sr, gt)))


def ssim_y(sr: Tensor, gt: Tensor) -> Tensor:
    """Return the SSIM (Wang 2004) of BT.601 luma, where the 11x11 Gaussian window, sigma 1.5, fits.

    A border of 4 px is left out; less for sides of 16 to 18 px, where the window wouldn't fit.
    """
    border = min(BORDER, (min(sr.shape[-2:]) - 11) // 2)
    x, y = (_inside(_luma(image), border) for image in stored_pair(sr, gt))
    return _similarity(x, y)[0]


def ms_ssim_y(sr: Tensor, gt: Tensor) -> Tensor:
    """Return the MS-SSIM (Wang 2003, equation 7) of BT.601 luma over five scales, without a border of 4 px.

    As in pytorch-msssim, odd sides are padded with zeros before averaging, and negative similarities count as
    0.

    Raises:
        ValueError: if a side is shorter than 169 px, where the window doesn't fit at the last scale.
    """
    pair = stored_pair(sr, gt)
    if min(sr.shape[-2:]) < MS_SSIM_LEAST_SIDE:
        raise ValueError(
            f"The images are {_size(sr)}; MS-SSIM needs at least {MS_SSIM_LEAST_SIDE} px a side. "
            "Use SSIM for smaller ones."
        )
    x, y = (_inside(_luma(image), BORDER) for image in pair)
    product = torch.ones(len(sr), dtype=x.dtype, device=x.device)
    for weight in SCALE_WEIGHTS[:-1]:
        product = product * _similarity(x, y)[1].clamp(min=0) ** weight
        odd = (x.shape[-2] % 2, x.shape[-1] % 2)
        x, y = F.avg_pool2d(x, 2, padding=odd), F.avg_pool2d(y, 2, padding=odd)
    return product * _similarity(x, y)[0].clamp(min=0) ** SCALE_WEIGHTS[-1]


def gmsd(sr: Tensor, gt: Tensor) -> Tensor:
    """Return the gradient magnitude similarity deviation (Xue 2014, arXiv 1308.3052); 0 for equal images."""
    prewitt = torch.tensor([[1.0, 0, -1]] * 3, dtype=torch.float64) / 3
    kernels = torch.stack((prewitt, prewitt.T))[:, None]
    magnitudes = []
    for image in stored_pair(sr, gt):
        grey = grey_levels(image)
        # As in the authors' MATLAB code: zeros beyond the edges, both here and for the gradients.
        half = F.avg_pool2d(F.pad(grey, (0, grey.shape[-1] % 2, 0, grey.shape[-2] % 2)), 2)
        magnitudes.append(F.conv2d(half, kernels, padding=1).square().sum(dim=1).sqrt())
    a, b = magnitudes
    similarity = (2 * a * b + 170) / (a * a + b * b + 170)
    return similarity.flatten(1).std(dim=1)


def hf_ratio(sr: Tensor, gt: Tensor) -> Tensor:
    """Return the energy of luma minus its blur of sigma 2 px, over that of the original; 1 is ideal."""
    lumas = map(_luma, stored_pair(sr, gt))
    a, b = ((y - blur(y, sigma=2, radius=8)).square().mean(dim=(1, 2, 3)) for y in lumas)
    flat = 1e-6  # keeps the ratio of two flat images at 1
    return (a + flat) / (b + flat)


def color_difference(sr: Tensor, gt: Tensor) -> Tensor:
    """Return the mean CIEDE2000 between both images after a blur of sigma 5 px; 0 for equal ones.

    The blur acts on sRGB values, as colour matching does, so that lost or invented texture of the right mean
    is no colour difference.
    """
    a, b = (lab(blur(x, sigma=5, radius=15)) for x in stored_pair(sr, gt))
    return ciede2000(a, b).mean(dim=(1, 2))


def seams(sr: Tensor, borders: Borders | Sequence[Borders]) -> Tensor:
    """Return the steps across the borders of tiles over those beside them; 1 without seams."""
    return seam_score(255 * _large_enough(stored(sr)), borders)


def lr_consistency(sr: Tensor, lr: Tensor) -> Tensor:
    """Return the PSNR-Y in dB of the result, averaged down to the small photo's size, against that photo.

    It needs no original, and falls when content was invented. A result smaller than the photo is compared at
    its own size.

    Raises:
        ValueError: if the aspect ratios differ.
    """
    (height, width), (lr_height, lr_width) = sr.shape[-2:], lr.shape[-2:]
    # Both sides of the result were rounded to whole pixels.
    if not same_aspect((width, height), (lr_width, lr_height), slack_px=0.5):
        raise ValueError(
            f"The result is {width}x{height} px, which is not an enlargement of a photo of "
            f"{lr_width}x{lr_height} px. Give the small photo that it was made from."
        )
    size = min(height, lr_height), min(width, lr_width)
    return _psnr(*(F.interpolate(_luma(stored(x)), size=size, mode="area") for x in (sr, lr)))


def blockiness(sr: Tensor) -> Tensor:
    """Return the steps on the 8-px grid that has most of them over those elsewhere; 1 without blocks."""
    grey = grey_levels(_large_enough(stored(sr), BLOCKS_LEAST_SIDE))
    return grid_steps(grey, grid_of=grey)


def lr_blockiness(sr: Tensor, lr: Tensor) -> Tensor:
    """Return the blockiness that remains of the small photo's own blocks: 1 if nothing does.

    Steps are those between means of scale x scale px of the result, on the grid of 8 * scale px where the
    small photo has its blocks. NaN if the scale is not an integer or a side of the small photo is shorter
    than 32 px.
    """
    result, small = (grey_levels(stored(x)) for x in (sr, lr))
    scale = sr.shape[-2] // lr.shape[-2]
    whole = tuple(sr.shape[-2:]) == tuple(scale * side for side in lr.shape[-2:])
    if not whole or min(lr.shape[-2:]) < BLOCKS_LEAST_SIDE:
        return result.new_full((len(sr),), torch.nan)
    return grid_steps(F.avg_pool2d(result, scale), grid_of=small.expand(len(sr), -1, -1, -1))


def grid(sr: Tensor) -> Tensor:
    """Return the energy at periods of 4 and 2 px over that at neighbouring frequencies; about 1 normally."""
    return weave(_luma(_large_enough(stored(sr), GRID_LEAST_SIDE)))


def own_niqe(sr: Tensor) -> Tensor:
    """Return NIQE with parameters of our own; NaN if fewer than two patches have texture.

    Values compare with no other NIQE.
    """
    return unnaturalness(rounded_luma(_large_enough(sr, NIQE_LEAST_SIDE)), shipped())


def stored(image: Tensor) -> Tensor:
    """Return the values of an 8-bit file, in [0, 1], float64, on the CPU (some devices lack float64).

    Raises:
        ValueError: for anything but finite RGB.
    """
    if image.ndim != 4 or image.shape[1] != 3 or not image.isfinite().all():
        raise ValueError(f"Expected finite RGB images (batch, 3, height, width), got {tuple(image.shape)}.")
    return (255 * image.detach().cpu().double().clamp(0, 1)).round() / 255


def rounded_luma(image: Tensor) -> Tensor:
    """Return BT.601 studio luma in integer levels, as MATLAB's rgb2ycbcr: (B, 1, H, W) in [16, 235]."""
    return _luma(stored(image)).round()


def stored_pair(sr: Tensor, gt: Tensor) -> tuple[Tensor, Tensor]:
    """Return both images as 8-bit files hold them.

    Raises:
        ValueError: if they are too small, or differ in shape.
    """
    pair = stored(sr), stored(gt)
    if sr.shape != gt.shape:
        raise ValueError(
            f"The result is {_size(sr)} and the original {_size(gt)}; expected equal sizes. "
            "Score the result against its own original, and don't resize either."
        )
    _large_enough(sr)
    return pair


def _large_enough(image: Tensor, least: int = LEAST_SIDE) -> Tensor:
    if min(image.shape[-2:]) < least:
        raise ValueError(f"The images are {_size(image)}; expected at least {least} px a side.")
    return image


def _size(image: Tensor) -> str:
    batch, _, height, width = image.shape
    return f"{width}x{height} px" + (f" in a batch of {batch}" if batch > 1 else "")


def _luma(image: Tensor) -> Tensor:
    return 255 * luma(image)


def _inside(x: Tensor, border: int) -> Tensor:
    return x[..., border : x.shape[-2] - border, border : x.shape[-1] - border]


def _psnr(a: Tensor, b: Tensor) -> Tensor:
    mse = (a - b).square().mean(dim=(1, 2, 3))
    mse = torch.where(mse < NO_ERROR, 0, mse)
    return 20 * math.log10(255) - 10 * mse.log10()


def _similarity(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean SSIM of (B, 1, H, W) in [0, 255], and the mean of its contrast-structure term."""
    mean_x, mean_y, xx, yy, xy = (gaussian(v, sigma=1.5, radius=5) for v in (x, y, x * x, y * y, x * y))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    means, covariance = mean_x * mean_y, xy - mean_x * mean_y
    squares, variances = mean_x**2 + mean_y**2, xx - mean_x**2 + yy - mean_y**2
    contrast = (2 * covariance + c2) / (variances + c2)
    ssim = (2 * means + c1) / (squares + c1) * contrast
    return ssim.mean(dim=(1, 2, 3)), contrast.mean(dim=(1, 2, 3))
