"""Scores of a photo and its result that need no original and take moments, whatever the size."""

from __future__ import annotations

from torch import Tensor

from ..image import resize
from .damage import LEAST_PX, blockiness, middle, noise, sharpness

MIDDLE_PX = 512  # of each side that is looked at


def before(photo: Tensor, enlarged: Tensor) -> dict[str, float]:
    """Return the sharpness of the plainly enlarged photo, and the noise and blockiness of the photo itself.

    Args:
        photo: (1, 3, h, w) in [0, 1].
        enlarged: (1, 3, H, W), the same at the size of the result; if that is smaller, all is measured on it.

    Returns:
        Nothing for photos with a side shorter than 32 px.
    """
    small = photo if photo.shape[2] <= enlarged.shape[2] else enlarged
    return _measure(middle(small, MIDDLE_PX), middle(enlarged, MIDDLE_PX))


def after(result: Tensor, height: int) -> dict[str, float]:
    """Return the same scores of the restored photo (1, 3, H, W).

    `height` is that of the photo before. Sharpness is measured at the size of the result, at which the
    plainly enlarged photo is soft; noise and blockiness at the size of the photo, at which it had them.
    """
    scale = max(result.shape[2] / height, 1)
    part = middle(result, round(MIDDLE_PX * scale))
    rows, columns = (max(round(side / scale), 1) for side in part.shape[2:])
    small = resize(part, rows, columns)
    return _measure(small.clamp(0, 1), middle(result, MIDDLE_PX))


def _measure(small: Tensor, large: Tensor) -> dict[str, float]:
    if min(*small.shape[2:], *large.shape[2:]) < LEAST_PX:
        return {}
    return {"sharpness": sharpness(large), "noise": noise(small), "blockiness": blockiness(small)}
