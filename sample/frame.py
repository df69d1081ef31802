"""Scaling of a photo to a canvas that the networks accept, and cropping back to the output size."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..image import mirror_indices, resize, round_up
from .result_line import Sampling

MAX_MEGAPIXELS = 256  # 3 GiB of float32 RGB, about what one node can take on a desktop; assumed
AUTO = 0.0  # a scale that stands for the one of `scale_for`
MOST_SIDE_PX = 4096  # longest side of a result at an automatic scale
_SCALES = (4, 2, 1)


def scale_for(width: int, height: int) -> float:
    """Return the automatic scale of a photo: 4, 2 or 1, the largest whose result is at most 4096 px a side.

    A photo that is itself larger than 4096 px gets the scale below 1 that shrinks its longer side to 4096 px.
    """
    longer = max(width, height)
    return next((float(scale) for scale in _SCALES if scale * longer <= MOST_SIDE_PX), MOST_SIDE_PX / longer)


def result_size(width: int, height: int, scale: float) -> tuple[int, int]:
    """Return (width, height) in pixels of a photo scaled by `scale`, with halves rounded up."""
    return _scaled(width, scale), _scaled(height, scale)


@dataclass(frozen=True, eq=False)
class Frame:
    """Size and transparency of a restored photo, which lies in the top left corner of its padded canvas.

    Attributes:
        height: height of the restored photo, in pixels.
        width: width of the restored photo, in pixels.
        alpha: (B, 1, height, width) in [0, 1] at output size, or None for an RGB photo.
        canvas: (height, width) of the padded hint, in pixels.
        photo: (height, width) of the input photo, in pixels.
        scale: size of the restored photo / size of the input photo.
        auto: True if the scale was chosen by the photo's size.
        before: scores of the input photo, for the report.
        runs: sampler runs by the sampler's signature in the graph. Samplers add entries while they run;
            nothing else of a frame changes.
    """

    height: int
    width: int
    alpha: Tensor | None
    canvas: tuple[int, int]
    photo: tuple[int, int]
    scale: float
    auto: bool = False
    before: Mapping[str, float] = field(default_factory=dict)
    runs: dict[str, Sampling] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        """Return both sizes and the scale, such as "900x600 -> 3600x2400 px (auto: 4x)"."""
        auto = "auto: " if self.auto else ""
        sizes = f"{self.photo[1]}x{self.photo[0]} -> {self.width}x{self.height} px"
        return f"{sizes} ({auto}{self.scale:.4g}x)"


def frame_for(photo: tuple[int, int], scale: float, multiple: int = 64) -> Frame:
    """Return the frame of an RGB photo, computed from its size alone.

    Args:
        photo: (height, width) in pixels.
        scale: output size / input size, with halves rounded up; `AUTO` means the scale of `scale_for`.
        multiple: divisor of the canvas height and width, in pixels.

    Raises:
        ValueError: if the output would have no pixels or more than MAX_MEGAPIXELS.
    """
    auto = scale == AUTO
    if auto:
        scale = scale_for(*photo)
    height, width = (_scaled(length, scale) for length in photo)
    _check_size(photo, height, width, scale)
    canvas = round_up(height, multiple), round_up(width, multiple)
    return Frame(height, width, None, canvas, photo, scale, auto)


def fit(image: Tensor, scale: float, multiple: int = 64) -> tuple[Tensor, Frame]:
    """Return a photo enlarged to round(size * scale) and padded by mirroring to a multiple, with its frame.

    Args:
        image: (B, 3 or 4, h, w) in [0, 1]; a fourth channel is alpha and is stored in the frame.
        scale: as for `frame_for`.
        multiple: as for `frame_for`.

    Returns:
        The hint (B, 3, H', W') in [0, 1], padded at the bottom and on the right, and its frame.

    Raises:
        ValueError: as `frame_for`.
    """
    frame = frame_for((image.shape[-2], image.shape[-1]), scale, multiple)
    hint, alpha = image[:, :3], image[:, 3:]
    hint = resize(hint, frame.height, frame.width).clamp(0, 1)
    rows, columns = (
        mirror_indices(length, 0, total, hint.device)
        for length, total in zip((frame.height, frame.width), frame.canvas, strict=True)
    )
    hint = hint[:, :, rows][..., columns]
    if alpha.shape[1]:
        frame = replace(frame, alpha=resize(alpha, frame.height, frame.width).clamp(0, 1))
    return hint, frame


def finish(image: Tensor, frame: Frame) -> Tensor:
    """Return the photo cropped out of its canvas (B, 3, H', W'), with its alpha: (B, 3 or 4, height, width).

    Raises:
        ValueError: if the image hasn't the size of the frame's canvas, or if the batch sizes differ.
    """
    size = tuple(image.shape[-2:])
    if size != frame.canvas:
        raise ValueError(
            f"'image' is {size[1]}x{size[0]} px but 'frame' belongs to a canvas of "
            f"{frame.canvas[1]}x{frame.canvas[0]} px. Connect the image that was restored "
            "from the 'hint' that came with this 'frame', without resizing or cropping in between."
        )
    photo = image[:, :3, : frame.height, : frame.width]
    if frame.alpha is None:
        return photo
    alpha = frame.alpha.to(photo)
    if alpha.shape[0] not in (1, photo.shape[0]):
        raise ValueError(
            f"'image' holds {photo.shape[0]} photos but 'frame' has the transparency of "
            f"{alpha.shape[0]}. Connect the whole batch that was restored from the 'hint' of this 'frame'."
        )
    return torch.cat([photo, alpha.expand(photo.shape[0], -1, -1, -1)], dim=1)


def _scaled(length: int, scale: float) -> int:
    return math.floor(length * scale + 0.5)


def _check_size(photo: tuple[int, int], height: int, width: int, scale: float) -> None:
    size = f"{photo[1]}x{photo[0]} px"
    if min(height, width) < 1:
        raise ValueError(
            f"'scale' {scale:g} would make {width}x{height} px of a photo of {size}; "
            "expected at least 1x1. Choose a larger 'scale'."
        )
    if height * width > MAX_MEGAPIXELS * 1_000_000:
        raise ValueError(
            f"'scale' {scale:g} would make {width}x{height} px of a photo of {size}, "
            f"{height * width / 1e6:.0f} megapixels; expected at most {MAX_MEGAPIXELS}. "
            "Choose a smaller 'scale', or crop the photo."
        )
