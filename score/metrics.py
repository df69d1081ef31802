"""The table of metrics with their protocols, and the challenge's weighted sum."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from . import measures
from .extras import EXTRAS
from .protocol import MetricProtocol
from .seams import Borders

CHALLENGE_SOURCE = "score_release.py of the NTIRE 2025 short-form UGC challenge"


@dataclass(frozen=True, kw_only=True)
class Metric(MetricProtocol):
    """One column of a report.

    Attributes:
        measure: the function, of the result and, unless that is "nothing", its reference.
        shows: kinds of damage that it sorts by their amount.
        symmetric: whether swapping result and reference changes nothing.
    """

    measure: Callable[..., Tensor]
    shows: tuple[str, ...]
    symmetric: bool = False


_COMPARED = partial(Metric, reference="gt", symmetric=True, shows=("blur", "noise", "jpeg", "invention"))
_OF_LUMA = partial(_COMPARED, better="higher", crop=measures.BORDER, source=CHALLENGE_SOURCE)

METRICS = {
    "psnr_y": _OF_LUMA(
        measure=measures.psnr_y,
        title="PSNR-Y",
        unit="dB",
        meaning="Error of the luma of each pixel.",
    ),
    "ssim_y": _OF_LUMA(
        measure=measures.ssim_y,
        title="SSIM-Y",
        meaning="Similarity of local contrast and structure; 1 is equal.",
    ),
    "psnr_rgb": _COMPARED(
        measure=measures.psnr_rgb,
        title="PSNR",
        unit="dB",
        meaning="Error of each pixel, colour included.",
        better="higher",
        space="RGB",
        source="definition",
        shows=("blur", "noise", "jpeg", "cast", "invention"),
    ),
    "ms_ssim_y": _OF_LUMA(
        measure=measures.ms_ssim_y,
        title="MS-SSIM-Y",
        meaning="SSIM at five scales together; 1 is equal.",
        source="Wang, Simoncelli, Bovik 2003; edges as in pytorch-msssim",
        least_side=measures.MS_SSIM_LEAST_SIDE,
    ),
    "gmsd": _COMPARED(
        measure=measures.gmsd,
        title="GMSD",
        meaning="Unevenness of lost and invented edges; 0 is equal.",
        better="lower",
        space="BT.601 full-range grey",
        source="arXiv 1308.3052",
    ),
    "hf_ratio": Metric(
        measure=measures.hf_ratio,
        title="Finest detail",
        meaning="Amount over the original's: below 1 is soft, above 1 harsh or noisy.",
        reference="gt",
        better="near 1",
        shows=("blur", "noise"),
    ),
    "color_difference": _COMPARED(
        measure=measures.color_difference,
        title="Colour shift",
        unit="ΔE",
        meaning="Difference of colours without detail; 0 is equal.",
        better="lower",
        space="CIE L*a*b* (D65) of sRGB blurred by sigma 5 px",
        source="CIEDE2000, Sharma, Wu, Dalal 2005; the blur is our own choice",
        shows=("cast",),
    ),
    "lr_consistency": Metric(
        measure=measures.lr_consistency,
        title="Faithfulness",
        unit="dB",
        meaning="Error of the result, shrunk again, against the small photo.",
        reference="lr",
        better="higher",
        space="BT.601 studio luma, averaged down after rounding",
        shows=("cast", "invention"),
    ),
    "seams": Metric(
        measure=measures.seams,
        title="Seams",
        meaning="Steps along the borders of tiles over those beside them; 1 is none.",
        reference="borders",
        better="near 1",
        space="RGB",
        shows=("seam",),
    ),
    "blockiness": Metric(
        measure=measures.blockiness,
        title="Blocks",
        meaning="Steps on the grid of JPEG blocks over those beside it; 1 is none.",
        reference="nothing",
        better="lower",
        space="BT.601 full-range grey",
        shows=("jpeg",),
        least_side=measures.BLOCKS_LEAST_SIDE,
    ),
    "lr_blockiness": Metric(
        measure=measures.lr_blockiness,
        title="Old blocks",
        meaning="Remains of the small photo's own JPEG blocks; 1 is none.",
        reference="lr",
        better="near 1",
        space="BT.601 full-range grey, averaged down after rounding",
        shows=("lr_blocks",),
        least_side=measures.BLOCKS_LEAST_SIDE,
    ),
    "grid": Metric(
        measure=measures.grid,
        title="Weave",
        meaning="Energy of patterns of 4 and 2 px over that beside them; near 1 is none.",
        reference="nothing",
        better="near 1",
        shows=("weave",),
        least_side=measures.GRID_LEAST_SIDE,
    ),
    "own_niqe": Metric(
        measure=measures.own_niqe,
        title="NIQE, own parameters",
        meaning="Distance of local statistics from those of clean photos.",
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
        are left out: those that need larger images, `own_niqe` of flat images, and `lr_blockiness` at a
        fractional scale.

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
