"""Statistics of damage in one photo: noise, sharpness, halos, blocks, colour, detail."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..color import grey
from ..image import resize

LEAST_PX, MOST_PX = 32, 1024  # smaller photos are refused, of larger ones the middle is measured
CEILING_DB = 100.0  # a flat photo loses nothing: its PSNR would be infinite

_FLAT_SHARE = 0.25
_GRAIN_PX = 3
_WINDOW_PX, _PLATEAU_PX = 17, 3
_EDGE_LEVELS = 24.0
_LEAST_EDGES = 16


@dataclass(frozen=True)
class Statistic:
    """A statistic with its meaning and unit."""

    measure: Callable[[Tensor], float]
    meaning: str
    unit: str = ""


def noise(photo: Tensor) -> float:
    """Return the standard deviation of the finest luma noise in flat areas, in levels of 255."""
    return _noise(grey_levels(photo))


def grain(photo: Tensor) -> float:
    """Return the noise of the photo at a third of its size, as blur and codecs leave it, in levels of 255.

    White noise gives the same value as `noise`; texture gives more.
    """
    return _GRAIN_PX * _noise(F.avg_pool2d(grey_levels(photo), _GRAIN_PX))


def _noise(grey: Tensor) -> float:
    """Return the standard deviation of white noise in the flattest quarter of the photo.

    The second difference in both directions, which keeps white noise and little else (Immerkaer 1996).
    Flatness is judged on the blurred photo, so that the selection doesn't favour areas with little noise;
    clipped areas, which show none, are excluded.
    """
    mask = grey.new_tensor([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])[None, None]
    rough = F.conv2d(grey, mask).abs()
    soft = _box(_box(grey, 5), 5)
    slopes = soft.diff(dim=2, append=soft[:, :, -1:]).square() + soft.diff(append=soft[..., -1:]).square()
    slope = _box(slopes, 9)[:, :, 1:-1, 1:-1]
    low, high = -F.max_pool2d(-grey, 3, stride=1), F.max_pool2d(grey, 3, stride=1)
    usable = (low > 2) & (high < 253)
    if not usable.any():
        return 0.0
    flat = usable & (slope <= slope[usable].quantile(_FLAT_SHARE))
    return math.sqrt(math.pi / 2) / 6 * rough[flat].mean().item()


def sharpness(photo: Tensor) -> float:
    """Return the strength of detail finer than 3 px over that finer than 9 px; noise counts as detail."""
    grey = grey_levels(photo)
    fine, all_ = ((grey - _box(grey, side)).square().mean().sqrt().item() for side in (3, 9))
    return fine / all_ if all_ else 0.0


def overshoot(photo: Tensor) -> float:
    """Return the height of halos at strong edges over the height of the edges, as sharpening leaves them.

    At an edge, the brightest pixel within 6 px is compared with the plateau behind it, and the darkest alike;
    the result is the mean over the steepest edges between two plateaus. 0 for a photo without such edges.
    """
    grey = grey_levels(photo)[0, 0]
    lips = torch.cat([_lips(grey), _lips(grey.T)])
    return lips.mean().item() if len(lips) >= _LEAST_EDGES else 0.0


def _lips(grey: Tensor) -> Tensor:
    """Return the mean of over- and undershoot at each edge along the rows of (H, W)."""
    windows = grey.unfold(1, _WINDOW_PX, 1)  # (h, w - 16, 17)
    middle = _WINDOW_PX // 2
    step = windows[..., middle + 2] - windows[..., middle - 2]
    steep = step.abs() > max(_EDGE_LEVELS, _quantile(step.abs()[None], 0.95).item() - 1)
    edges = windows[steep]
    edges = torch.where(step[steep][:, None] < 0, edges.flip(1), edges)  # from dark to bright
    low, high = edges[:, :_PLATEAU_PX], edges[:, -_PLATEAU_PX:]
    height = high.mean(1) - low.mean(1)
    waves = torch.maximum(low.amax(1) - low.amin(1), high.amax(1) - high.amin(1))
    clear = (height > _EDGE_LEVELS) & (waves < 0.2 * height)
    over = edges[:, middle:-_PLATEAU_PX].amax(1) - high.amax(1)
    under = low.amin(1) - edges[:, _PLATEAU_PX : middle + 1].amin(1)
    return ((over.clamp(min=0) + under.clamp(min=0)) / 2 / height)[clear]


def blockiness(photo: Tensor) -> float:
    """Return the steps between neighbours on the 8-px grid over those elsewhere; 1 without blocks.

    All eight offsets of the grid are tried each way, because crops move it.
    """
    grey = grey_levels(photo)
    return grid_steps(grey, grid_of=grey).item()


def grid_steps(grey: Tensor, grid_of: Tensor) -> Tensor:
    """Return the steps between neighbours on an 8-px grid over those elsewhere: (B,), 1 without blocks.

    Args:
        grey: (B, 1, H, W) in levels of 255, at least 9 px a side.
        grid_of: same shape; the grid's offset is where this image has the largest steps, each way.
    """
    sides = ((grey, grid_of), (grey.mT, grid_of.mT))
    ratios = [_ratio_at(_phases(g).argmax(dim=1, keepdim=True), _phases(x)) for x, g in sides]
    return (ratios[0] + ratios[1]) / 2


def _phases(grey: Tensor) -> Tensor:
    """Return the mean step between columns at each of the eight offsets of the grid: (B, 8)."""
    steps = grey[:, 0].diff(dim=-1).abs()
    # Edges of what the photo shows are large but rare; they would drown the grid.
    most = _quantile(steps, 0.8).clamp(min=2.0)
    columns = torch.minimum(steps, most[:, None, None]).mean(dim=1)
    return columns[:, : columns.shape[1] // 8 * 8].unflatten(1, (-1, 8)).mean(dim=1)


def _ratio_at(place: Tensor, phases: Tensor) -> Tensor:
    """Return the step at an offset (B, 1) over the mean of the seven others."""
    step = phases.gather(1, place)[:, 0]
    usual = (phases.sum(dim=1) - step) / 7
    return torch.where(usual > 0, step / usual, 1.0)


def saturation(photo: Tensor) -> float:
    """Return the mean difference of the strongest and the weakest colour channel; 0 for grey."""
    return (photo.amax(dim=1) - photo.amin(dim=1)).mean().item()


def detail(photo: Tensor) -> float:
    """Return the PSNR of the photo shrunk 1.5 times and enlarged again; high if it was upscaled before."""
    grey = grey_levels(photo)
    height, width = grey.shape[2:]
    small = resize(grey, round(height / 1.5), round(width / 1.5))
    error = (resize(small, height, width) - grey).square().mean().item()
    return min(CEILING_DB, 10 * math.log10(255**2 / max(error, 1e-9)))


STATISTICS: dict[str, Statistic] = {
    "noise": Statistic(noise, "finest luma noise in flat places", "of 255"),
    "grain": Statistic(grain, "noise of 3 px and coarser", "of 255"),
    "sharpness": Statistic(sharpness, "finest detail / all detail"),
    "overshoot": Statistic(overshoot, "halos / the edges they are at"),
    "blockiness": Statistic(blockiness, "steps on the 8 px grid / elsewhere"),
    "saturation": Statistic(saturation, "distance of the colour channels"),
    "detail": Statistic(detail, "loss by shrinking, high if upscaled", "dB"),
}


def measure(photo: Tensor) -> dict[str, float]:
    """Return all statistics of one photo (1, 3, H, W) in [0, 1], by name.

    Raises:
        ValueError: if a side is shorter than 32 px.
    """
    height, width = photo.shape[2:]
    if min(height, width) < LEAST_PX:
        raise ValueError(f"{width}x{height} px is too small to measure; {LEAST_PX} px a side are needed.")
    return {name: statistic.measure(middle(photo, MOST_PX)) for name, statistic in STATISTICS.items()}


def middle(image: Tensor, most: int) -> Tensor:
    """Return the central part of (B, C, H, W), at most `most` px a side."""
    top, left = (max(0, side - most) // 2 for side in image.shape[2:])
    return image[:, :, top : top + most, left : left + most]


def grey_levels(photo: Tensor) -> Tensor:
    """Return full-range BT.601 luma of RGB (B, 3, H, W) in [0, 1]: (B, 1, H, W) in [0, 255]."""
    return 255 * grey(photo)


def _box(grey: Tensor, side: int) -> Tensor:
    return F.avg_pool2d(grey, side, stride=1, padding=side // 2, count_include_pad=False)


def _quantile(values: Tensor, share: float) -> Tensor:
    """Return the quantile of each item of (B, ...): (B,)."""
    flat = values.flatten(1)
    return flat.kthvalue(max(1, round(share * flat.shape[1])), dim=1).values
