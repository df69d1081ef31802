"""Full-reference metrics; METRICS pins the colour space, crop and number format of each.

All take RGB in [0, 1] and first round it to the 8 bits of a file, as the challenge does, so that a picture
scores the same from memory and from disk. They return one float64 value for each image of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..image import luma

BORDER = 4  # pixels, as in the challenge
LEAST_SIDE = 16  # pixels: below, windows and borders leave too little to measure
CEILING_DB = 100.0  # equal images have no finite PSNR; a mean or JSON needs one


@dataclass(frozen=True)
class Metric:
    """One column of a report, and the protocol that its figures hold for."""

    measure: Callable[[Tensor, Tensor], Tensor]
    reference: str  # "gt" or "lr": what the result is compared with
    better: str  # "higher", "lower" or "near 1"
    space: str
    crop: int  # pixels left out at every border
    source: str
    dtype: str = "uint8 images, float64 arithmetic"


def psnr_y(sr: Tensor, gt: Tensor) -> Tensor:
    """PSNR in dB of BT.601 luma, not rounded, border of 4 px left out; the peak is 255, not luma's 219."""
    return _psnr(*(_inside(_luma(x), BORDER) for x in _pair(sr, gt)))


def psnr_rgb(sr: Tensor, gt: Tensor) -> Tensor:
    """PSNR in dB over the three channels of the whole image."""
    return _psnr(*(255 * x for x in _pair(sr, gt)))


def ssim_y(sr: Tensor, gt: Tensor) -> Tensor:
    """SSIM (Wang 2004) of BT.601 luma: Gaussian window 11x11, sigma 1.5, where it fits into the image.

    A side of 16 to 18 px has no place for the window inside the border of 4 px: it is narrower then.
    """
    border = min(BORDER, (min(sr.shape[-2:]) - 11) // 2)
    x, y = (_inside(_luma(image), border) for image in _pair(sr, gt))
    mean_x, mean_y, xx, yy, xy = (_gaussian(v, sigma=1.5, radius=5) for v in (x, y, x * x, y * y, x * y))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    means, covariance = mean_x * mean_y, xy - mean_x * mean_y
    squares, variances = mean_x**2 + mean_y**2, xx - mean_x**2 + yy - mean_y**2
    ssim = (2 * means + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))
    return ssim.mean(dim=(1, 2, 3))


def gmsd(sr: Tensor, gt: Tensor) -> Tensor:
    """Gradient magnitude similarity deviation (Xue 2014, arXiv 1308.3052); 0 for equal images."""
    prewitt = torch.tensor([[1.0, 0, -1]] * 3, dtype=torch.float64, device=sr.device) / 3
    kernels = torch.stack((prewitt, prewitt.T))[:, None]
    magnitudes = []
    for image in _pair(sr, gt):
        grey = 255 * (image * image.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=1, keepdim=True)
        # As in the authors' MATLAB code: zeros beyond the edges, both here and for the gradients.
        half = F.avg_pool2d(F.pad(grey, (0, grey.shape[-1] % 2, 0, grey.shape[-2] % 2)), 2)
        magnitudes.append(F.conv2d(half, kernels, padding=1).square().sum(dim=1).sqrt())
    a, b = magnitudes
    similarity = (2 * a * b + 170) / (a * a + b * b + 170)
    return similarity.flatten(1).std(dim=1)


def hf_ratio(sr: Tensor, gt: Tensor) -> Tensor:
    """Energy of the finest detail (luma less its blur of sigma 2 px) over the original's; 1 is right."""
    a, b = (_detail(_luma(x)).square().mean(dim=(1, 2, 3)) for x in _pair(sr, gt))
    flat = 1e-6  # keeps the ratio of two flat images at 1
    return (a + flat) / (b + flat)


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
    return _psnr(*(F.interpolate(_luma(_bytes(x)), size=size, mode="area") for x in (sr, lr)))


METRICS = {
    "psnr_y": Metric(
        psnr_y,
        reference="gt",
        better="higher",
        space="BT.601 studio luma, not rounded",
        crop=BORDER,
        source="score_release.py of the NTIRE 2025 short-form UGC challenge",
    ),
    "ssim_y": Metric(
        ssim_y,
        reference="gt",
        better="higher",
        space="BT.601 studio luma, not rounded",
        crop=BORDER,
        source="score_release.py of the NTIRE 2025 short-form UGC challenge",
    ),
    "psnr_rgb": Metric(psnr_rgb, reference="gt", better="higher", space="RGB", crop=0, source="definition"),
    "gmsd": Metric(
        gmsd, reference="gt", better="lower", space="BT.601 full-range grey", crop=0, source="arXiv 1308.3052"
    ),
    "hf_ratio": Metric(
        hf_ratio, reference="gt", better="near 1", space="BT.601 studio luma", crop=0, source="own"
    ),
    "lr_consistency": Metric(
        lr_consistency,
        reference="lr",
        better="higher",
        space="BT.601 studio luma, averaged down after rounding",
        crop=0,
        source="own",
    ),
}


def evaluate(sr: Tensor, gt: Tensor | None = None, lr: Tensor | None = None) -> dict[str, float]:
    """Every metric that the given references allow, averaged over the batch.

    Args:
        sr: the result, (B, 3, H, W) RGB in [0, 1].
        gt: the original, of the same size.
        lr: the small photo that the result was made from.

    Raises:
        ValueError: if the images are too small to measure, or don't belong together.
    """
    references = {"gt": gt, "lr": lr}
    scores = {}
    for name, metric in METRICS.items():
        reference = references[metric.reference]
        if reference is not None:
            scores[name] = metric.measure(sr, reference).mean().item()
    return scores


def _pair(sr: Tensor, gt: Tensor) -> tuple[Tensor, Tensor]:
    pair = _bytes(sr), _bytes(gt)
    if sr.shape != gt.shape:
        raise ValueError(
            f"The result is {_size(sr)} and the original {_size(gt)}; expected equal sizes. "
            "Score the result against its own original, and don't resize either."
        )
    if min(sr.shape[-2:]) < LEAST_SIDE:
        raise ValueError(f"The images are {_size(sr)}; metrics need at least {LEAST_SIDE} px a side.")
    return pair


def _size(image: Tensor) -> str:
    batch, _, height, width = image.shape
    return f"{width}x{height} px" + (f" in a batch of {batch}" if batch > 1 else "")


def _bytes(image: Tensor) -> Tensor:
    """What an 8-bit file keeps, still in [0, 1], float64.

    Raises:
        ValueError: for other than finite RGB.
    """
    if image.ndim != 4 or image.shape[1] != 3 or not image.isfinite().all():
        raise ValueError(f"Expected finite RGB images (batch, 3, height, width), got {tuple(image.shape)}.")
    return (255 * image.detach().double().clamp(0, 1)).round() / 255


def _luma(image: Tensor) -> Tensor:
    return 255 * luma(image)


def _inside(x: Tensor, border: int) -> Tensor:
    return x[..., border : x.shape[-2] - border, border : x.shape[-1] - border]


def _psnr(a: Tensor, b: Tensor) -> Tensor:
    mse = (a - b).square().mean(dim=(1, 2, 3))
    return (20 * math.log10(255) - 10 * mse.log10()).clamp(max=CEILING_DB)


def _detail(y: Tensor) -> Tensor:
    return y - _gaussian(F.pad(y, (8, 8, 8, 8), mode="reflect"), sigma=2, radius=8)


def _gaussian(x: Tensor, sigma: float, radius: int) -> Tensor:
    """Blur of (B, 1, H, W) where the kernel fits: 2 * radius pixels fewer each way."""
    at = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    kernel = (-(at**2) / (2 * sigma**2)).exp()
    kernel = kernel / kernel.sum()
    return F.conv2d(F.conv2d(x, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
