"""The measures behind METRICS; each pins its colour space, border and number format.

All take RGB in [0, 1] and first round it to the 8 bits of a file, as the challenge does, so that a picture
scores the same from memory and from disk. They return one float64 value for each image of the batch, NaN
where the measure has no meaning.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..image import luma
from .blur import blur, gaussian
from .color import ciede2000, lab
from .damage import LEAST_PX, grey_levels, grid_steps
from .niqe import PATCH_PX, shipped, unnaturalness
from .seams import Borders, seam_score
from .weave import LEAST_PX as GRID_LEAST_SIDE
from .weave import weave

BYTES = "uint8 images, float64 arithmetic"
BORDER = 4  # pixels, as in the challenge
LEAST_SIDE = 16  # pixels: below, windows and borders leave too little to measure
# Of the five scales of MS-SSIM, finest first (Wang 2003, section 3.2).
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
NO_ERROR = 1e-20  # of 255 squared: averages of equal pixels differ by the rounding of float64
MS_SSIM_LEAST_SIDE = 169  # pixels: the window of 11 px at the fifth scale, and the border
NIQE_LEAST_SIDE = 2 * PATCH_PX  # pixels: four patches have a covariance
BLOCKS_LEAST_SIDE = LEAST_PX  # pixels


def psnr_y(sr: Tensor, gt: Tensor) -> Tensor:
    """PSNR in dB of BT.601 luma, not rounded, border of 4 px left out; the peak is 255, not luma's 219.

    Infinite for equal images, like every PSNR here.
    """
    return _psnr(*(_inside(_luma(x), BORDER) for x in stored_pair(sr, gt)))


def psnr_rgb(sr: Tensor, gt: Tensor) -> Tensor:
    """PSNR in dB over the three channels of the whole image."""
    return _psnr(*(255 * x for x in stored_pair(sr, gt)))


def ssim_y(sr: Tensor, gt: Tensor) -> Tensor:
    """SSIM (Wang 2004) of BT.601 luma: Gaussian window 11x11, sigma 1.5, where it fits into the image.

    A side of 16 to 18 px has no place for the window inside the border of 4 px: it is narrower then.
    """
    border = min(BORDER, (min(sr.shape[-2:]) - 11) // 2)
    x, y = (_inside(_luma(image), border) for image in stored_pair(sr, gt))
    return _similarity(x, y)[0]


def ms_ssim_y(sr: Tensor, gt: Tensor) -> Tensor:
    """MS-SSIM (Wang 2003, equation 7) of BT.601 luma over five scales, border of 4 px left out.

    As pytorch-msssim: zeros are averaged in beyond an odd side, and a negative similarity counts as 0.

    Raises:
        ValueError: if a side is shorter than 169 px, which leaves no place for the window at the last scale.
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
    """Gradient magnitude similarity deviation (Xue 2014, arXiv 1308.3052); 0 for equal images."""
    prewitt = torch.tensor([[1.0, 0, -1]] * 3, dtype=torch.float64, device=sr.device) / 3
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
    """Energy of the finest detail (luma less its blur of sigma 2 px) over the original's; 1 is right."""
    a, b = (_detail(_luma(x)).square().mean(dim=(1, 2, 3)) for x in stored_pair(sr, gt))
    flat = 1e-6  # keeps the ratio of two flat images at 1
    return (a + flat) / (b + flat)


def color_difference(sr: Tensor, gt: Tensor) -> Tensor:
    """Mean CIEDE2000 between the blurs of sigma 5 px of both images; 0 for equal ones.

    The blur acts on sRGB values, as colour matching does, so that lost or invented texture of the right mean
    is no colour difference.
    """
    a, b = (lab(blur(x, sigma=5, radius=15)) for x in stored_pair(sr, gt))
    return ciede2000(a, b).mean(dim=(1, 2))


def seams(sr: Tensor, borders: Borders) -> Tensor:
    """Steps across the borders of tiles over those beside them; 1 without seams."""
    return seam_score(255 * _large_enough(stored(sr)), borders)


def lr_consistency(sr: Tensor, lr: Tensor) -> Tensor:
    """PSNR-Y in dB of the result averaged down to the size of the small photo, against that photo.

    It needs no original, and falls where something was made up. A result smaller than the photo is
    compared at its own size.

    Raises:
        ValueError: if the two differ in shape.
    """
    (height, width), (lr_height, lr_width) = sr.shape[-2:], lr.shape[-2:]
    # Both sides were rounded to whole pixels, so each scale is only known to within half of one.
    slack = 0.5 / lr_height + 0.5 / lr_width
    if abs(height / lr_height - width / lr_width) > slack + 1e-9:
        raise ValueError(
            f"The result is {width}x{height} px, which is no enlargement of a photo of "
            f"{lr_width}x{lr_height} px. Give the small photo that it was made from."
        )
    size = min(height, lr_height), min(width, lr_width)
    return _psnr(*(F.interpolate(_luma(stored(x)), size=size, mode="area") for x in (sr, lr)))


def blockiness(sr: Tensor) -> Tensor:
    """Steps between neighbours on the grid of 8 px with most of them / those elsewhere; 1 without blocks."""
    grey = grey_levels(_large_enough(stored(sr), BLOCKS_LEAST_SIDE))
    return grid_steps(grey, grid_of=grey)


def lr_blockiness(sr: Tensor, lr: Tensor) -> Tensor:
    """The same for what is left of the small photo's own blocks: 1 where nothing is.

    The result's steps are those between the means of scale x scale px, on the grid of 8 * scale px that lies
    where the small photo has its blocks. NaN if the scale is no whole number or a side of the small photo is
    shorter than 32 px.
    """
    result, small = (grey_levels(stored(x)) for x in (sr, lr))
    scale = sr.shape[-2] // lr.shape[-2]
    whole = tuple(sr.shape[-2:]) == tuple(scale * side for side in lr.shape[-2:])
    if not whole or min(lr.shape[-2:]) < BLOCKS_LEAST_SIDE:
        return result.new_full((len(sr),), torch.nan)
    return grid_steps(F.avg_pool2d(result, scale), grid_of=small.expand(len(sr), -1, -1, -1))


def grid(sr: Tensor) -> Tensor:
    """Energy at periods of 4 and 2 px over that at neighbouring frequencies; about 1 without a weave."""
    return weave(_luma(_large_enough(stored(sr), GRID_LEAST_SIDE)))


def niqe(sr: Tensor) -> Tensor:
    """NIQE with our own parameters; NaN where fewer than two patches have any texture."""
    return unnaturalness(rounded_luma(_large_enough(sr, NIQE_LEAST_SIDE)), shipped())


def stored(image: Tensor) -> Tensor:
    """What an 8-bit file keeps, still in [0, 1], float64.

    Raises:
        ValueError: for other than finite RGB.
    """
    if image.ndim != 4 or image.shape[1] != 3 or not image.isfinite().all():
        raise ValueError(f"Expected finite RGB images (batch, 3, height, width), got {tuple(image.shape)}.")
    return (255 * image.detach().double().clamp(0, 1)).round() / 255


def rounded_luma(image: Tensor) -> Tensor:
    """BT.601 studio luma in whole levels, as MATLAB's rgb2ycbcr gives it: (B, 1, H, W) in [16, 235]."""
    return _luma(stored(image)).round()


def stored_pair(sr: Tensor, gt: Tensor) -> tuple[Tensor, Tensor]:
    """Both as 8-bit files keep them.

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


def _detail(y: Tensor) -> Tensor:
    return y - blur(y, sigma=2, radius=8)


def _similarity(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean SSIM of (B, 1, H, W) in [0, 255], and of its contrast and structure alone, where a window fits."""
    mean_x, mean_y, xx, yy, xy = (gaussian(v, sigma=1.5, radius=5) for v in (x, y, x * x, y * y, x * y))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    means, covariance = mean_x * mean_y, xy - mean_x * mean_y
    squares, variances = mean_x**2 + mean_y**2, xx - mean_x**2 + yy - mean_y**2
    contrast = (2 * covariance + c2) / (variances + c2)
    ssim = (2 * means + c1) / (squares + c1) * contrast
    return ssim.mean(dim=(1, 2, 3)), contrast.mean(dim=(1, 2, 3))
