"""The table of metrics with their protocols, and the challenge's weighted sum."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from . import measures
from .extras import EXTRAS
from .seams import Borders

CHALLENGE_SOURCE = "score_release.py of the NTIRE 2025 short-form UGC challenge"


@dataclass(frozen=True)
class Metric:
    """One column of a report, and the protocol of its figures."""

    measure: Callable[..., Tensor]  # of the result and, unless that is "nothing", its reference
    reference: str  # "gt", "lr", "borders" or "nothing": compared with, or measured at
    better: str  # "higher", "lower" or "near 1"
    space: str
    source: str
    shows: tuple[str, ...]  # kinds of damage that it sorts by their amount
    crop: int = 0  # pixels left out at every border
    symmetric: bool = False  # whether swapping result and reference changes nothing
    least_side: int = 1  # pixels; smaller results have no such score
    dtype: str = measures.BYTES


METRICS = {
    "psnr_y": Metric(
        measures.psnr_y,
        reference="gt",
        better="higher",
        space="BT.601 studio luma, not rounded",
        crop=measures.BORDER,
        source=CHALLENGE_SOURCE,
        symmetric=True,
        shows=("blur", "noise", "jpeg", "invention"),
    ),
    "ssim_y": Metric(
        measures.ssim_y,
        reference="gt",
        better="higher",
        space="BT.601 studio luma, not rounded",
        crop=measures.BORDER,
        source=CHALLENGE_SOURCE,
        symmetric=True,
        shows=("blur", "noise", "jpeg", "invention"),
    ),
    "psnr_rgb": Metric(
        measures.psnr_rgb,
        reference="gt",
        better="higher",
        space="RGB",
        source="definition",
        symmetric=True,
        shows=("blur", "noise", "jpeg", "cast", "invention"),
    ),
    "ms_ssim_y": Metric(
        measures.ms_ssim_y,
        reference="gt",
        better="higher",
        space="BT.601 studio luma, not rounded",
        crop=measures.BORDER,
        source="Wang, Simoncelli, Bovik 2003; edges as in pytorch-msssim",
        symmetric=True,
        shows=("blur", "noise", "jpeg", "invention"),
        least_side=measures.MS_SSIM_LEAST_SIDE,
    ),
    "gmsd": Metric(
        measures.gmsd,
        reference="gt",
        better="lower",
        space="BT.601 full-range grey",
        source="arXiv 1308.3052",
        symmetric=True,
        shows=("blur", "noise", "jpeg", "invention"),
    ),
    "hf_ratio": Metric(
        measures.hf_ratio,
        reference="gt",
        better="near 1",
        space="BT.601 studio luma, not rounded",
        source="own",
        shows=("blur", "noise"),
    ),
    "color_difference": Metric(
        measures.color_difference,
        reference="gt",
        better="lower",
        space="CIE L*a*b* (D65) of sRGB blurred by sigma 5 px",
        source="CIEDE2000, Sharma, Wu, Dalal 2005; the blur is our own choice",
        symmetric=True,
        shows=("cast",),
    ),
    "lr_consistency": Metric(
        measures.lr_consistency,
        reference="lr",
        better="higher",
        space="BT.601 studio luma, averaged down after rounding",
        source="own",
        shows=("cast", "invention"),
    ),
    "seams": Metric(
        measures.seams,
        reference="borders",
        better="near 1",
        space="RGB",
        source="own",
        shows=("seam",),
    ),
    "blockiness": Metric(
        measures.blockiness,
        reference="nothing",
        better="lower",
        space="BT.601 full-range grey",
        source="own",
        shows=("jpeg",),
        least_side=measures.BLOCKS_LEAST_SIDE,
    ),
    "lr_blockiness": Metric(
        measures.lr_blockiness,
        reference="lr",
        better="near 1",
        space="BT.601 full-range grey, averaged down after rounding",
        source="own",
        shows=("lr_blocks",),
        least_side=measures.BLOCKS_LEAST_SIDE,
    ),
    "grid": Metric(
        measures.grid,
        reference="nothing",
        better="near 1",
        space="BT.601 studio luma, not rounded",
        source="own",
        shows=("weave",),
        least_side=measures.GRID_LEAST_SIDE,
    ),
    "niqe": Metric(
        measures.niqe,
        reference="nothing",
        better="lower",
        space="BT.601 studio luma, rounded",
        source="Mittal, Soundararajan, Bovik 2013; own parameters, so not comparable with NIQE of others",
        shows=("noise",),  # blur and JPEG only once they are visible
        least_side=measures.NIQE_LEAST_SIDE,
    ),
}

# Score of the challenge: how much a unit of each metric counts. LPIPS and what follows need weights that are
# not shipped here; a caller who has them adds their values.
CHALLENGE = {"psnr_y": 1.0, "ssim_y": 10.0, "lpips": -10.0, "musiq": 0.1, "maniqa": 10.0, "clipiqa": 10.0}


def evaluate(
    sr: Tensor,
    gt: Tensor | None = None,
    lr: Tensor | None = None,
    borders: Borders | Sequence[Borders] | None = None,
) -> dict[str, float]:
    """Return every metric that the given references and the sizes allow, averaged over the batch.

    Args:
        sr: the result, (B, 3, H, W) RGB in [0, 1].
        gt: the original, of the same size.
        lr: the small photo that the result was made from.
        borders: borders between the tiles of the result, or several alternatives, of which one is right.

    Returns:
        {metric: value}; the PSNR of equal images is infinite. Metrics without a value for one of the images
        are left out: those that need larger images, NIQE of flat images, old blocks at a fractional scale.

    Raises:
        ValueError: if the images are too small to measure, or don't belong together.
    """
    given = {
        role: [reference]
        for role, reference in (("gt", gt), ("lr", lr), ("borders", borders))
        if reference is not None
    }
    given["nothing"] = []
    scores = {}
    for name, metric in METRICS.items():
        if metric.reference in given and min(sr.shape[-2:]) >= metric.least_side:
            scores[name] = metric.measure(sr, *given[metric.reference]).mean().item()
    if not scores:
        raise ValueError(
            f"A result of {sr.shape[-1]}x{sr.shape[-2]} px is too small to be measured without an original; "
            f"expected at least {measures.BLOCKS_LEAST_SIDE} px a side."
        )
    return {name: value for name, value in scores.items() if not math.isnan(value)}


def badness(name: str, value: float) -> float:
    """Return a sort key that is higher for worse values of a metric or extra."""
    better = (METRICS | EXTRAS)[name].better
    if better == "near 1":
        return abs(math.log(value)) if value > 0 else math.inf
    return value if better == "lower" else -value


def challenge_score(values: Mapping[str, float]) -> tuple[float, tuple[str, ...]]:
    """Return the challenge's weighted sum of the available metrics, and the names of the missing ones.

    Sums are comparable only if the same names are missing. The challenge itself measured PSNR, SSIM and LPIPS
    on its synthetic photos only, and MUSIQ, MANIQA and CLIPIQA on its real ones only.

    Args:
        values: values by the names of CHALLENGE; others are ignored.

    Raises:
        ValueError: if a value is NaN.
    """
    present = [name for name in CHALLENGE if name in values]
    broken = [name for name in present if math.isnan(values[name])]
    if broken:
        raise ValueError(f"{', '.join(broken)} is NaN; leave out what could not be measured.")
    missing = tuple(name for name in CHALLENGE if name not in values)
    return sum((CHALLENGE[name] * values[name] for name in present), 0.0), missing
