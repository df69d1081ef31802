"""Resizing as cameras, editors and networks do it."""

from torch import Tensor
from torch.nn.functional import interpolate

MODES = ("area", "bilinear", "bicubic")


def resize(image: Tensor, height: int, width: int, mode: str) -> Tensor:
    """Resize (B, 3, H, W); 'bilinear' and 'bicubic' are antialiased as in Pillow.

    Raises:
        ValueError: if `mode` is not one of `MODES`.
    """
    if mode not in MODES:
        raise ValueError(f"resize: mode must be one of {MODES}, got {mode!r}.")
    if mode == "area":
        return interpolate(image, size=(height, width), mode="area")
    return interpolate(image, size=(height, width), mode=mode, antialias=True)


def rescale(image: Tensor, factor: float, mode: str) -> Tensor:
    """Resize (B, 3, H, W) by `factor`, to whole pixels and at least one."""
    height, width = (max(1, round(size * factor)) for size in image.shape[2:])
    return resize(image, height, width, mode)
