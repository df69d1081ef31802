"""From a photo of any size to a canvas that the networks accept, and back to the exact output size."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..image import mirror_indices, resize
from .report import Sampling

MAX_MEGAPIXELS = 256  # assumed: 3 GiB of float32 RGB, about what one node may ask of a desktop's memory
AUTO = 0.0  # in place of a scale: by the photo's size
MOST_SIDE_PX = 4096  # of a result whose scale nobody chose
_SCALES = (4, 2, 1)


def scale_for(width: int, height: int) -> float:
    """The scale for a photo of which nobody said one: 4, 2 or 1, with a result of at most 4096 px a side.

    Small photos become 4 times as wide and high, those of phones stay as they are or double. A photo that is
    larger itself is shrunk to 4096 px, by the scale that this takes.
    """
    longer = max(width, height)
    return next((float(scale) for scale in _SCALES if scale * longer <= MOST_SIDE_PX), MOST_SIDE_PX / longer)


def result_size(width: int, height: int, scale: float) -> tuple[int, int]:
    """Width and height of a photo's result at that scale, halves rounded up."""
    return _scaled(width, scale), _scaled(height, scale)


@dataclass(frozen=True, eq=False)
class Frame:
    """The restored photo's size, in the top left of its padded canvas, and the transparency it gets back.

    Attributes:
        height: of the restored photo, in pixels.
        width: of the restored photo.
        alpha: (B, 1, height, width) in [0, 1] at output size, or None for an RGB photo.
        canvas: (height, width) of the padded hint.
        photo: (height, width) of the photo as it came.
        scale: size of the restored photo / size of the photo as it came.
        auto: whether the scale was chosen by the photo's size.
        before: scores of the photo as it came, for the report.
        runs: what samplers did with the photo, by their signature in the graph. They note it while they run;
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
        """Both sizes and the scale, for a person: "900x600 -> 3600x2400 px (auto: 4x)"."""
        auto = "auto: " if self.auto else ""
        sizes = f"{self.photo[1]}x{self.photo[0]} -> {self.width}x{self.height} px"
        return f"{sizes} ({auto}{self.scale:.4g}x)"


def frame_for(photo: tuple[int, int], scale: float, multiple: int = 64) -> Frame:
    """The frame of an RGB photo of that (height, width), before any pixel is made.

    Args:
        photo: (height, width) in pixels.
        scale: output size / input size, halves rounded up; `AUTO` is that of `scale_for`.
        multiple: what canvas height and width must divide by.

    Raises:
        ValueError: if the output would have no pixels or too many.
    """
    auto = scale == AUTO
    if auto:
        scale = scale_for(*photo)
    height, width = (_scaled(length, scale) for length in photo)
    _check_size(photo, height, width, scale)
    canvas = _round_up(height, multiple), _round_up(width, multiple)
    return Frame(height, width, None, canvas, photo, scale, auto)


def fit(image: Tensor, scale: float, multiple: int = 64) -> tuple[Tensor, Frame]:
    """Enlarge a photo once, to exactly round(size * scale), and mirror it out to a multiple.

    Args:
        image: (B, 3 or 4, h, w) in [0, 1]; a fourth channel is alpha and travels in the frame.
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
    """Cut the photo (B, 3, H', W') out of its canvas and join the alpha: (B, 3 or 4, height, width).

    Raises:
        ValueError: if the image isn't the frame's canvas, or their batch sizes differ.
    """
    size = tuple(image.shape[-2:])
    if size != frame.canvas:
        raise ValueError(
            f"Finish Photo: 'image' is {size[1]}x{size[0]} px but 'frame' belongs to a canvas of "
            f"{frame.canvas[1]}x{frame.canvas[0]} px. Connect the image restored from the same "
            "Prepare Photo, without resizing or cropping in between."
        )
    photo = image[:, :3, : frame.height, : frame.width]
    if frame.alpha is None:
        return photo
    alpha = frame.alpha.to(photo)
    if alpha.shape[0] not in (1, photo.shape[0]):
        raise ValueError(
            f"Finish Photo: 'image' holds {photo.shape[0]} photos but 'frame' has the transparency of "
            f"{alpha.shape[0]}. Connect the whole batch restored from the same Prepare Photo."
        )
    return torch.cat([photo, alpha.expand(photo.shape[0], -1, -1, -1)], dim=1)


def _scaled(length: int, scale: float) -> int:
    return math.floor(length * scale + 0.5)


def _check_size(photo: tuple[int, int], height: int, width: int, scale: float) -> None:
    came = f"{photo[1]}x{photo[0]} px"
    if min(height, width) < 1:
        raise ValueError(
            f"Prepare Photo: 'scale' {scale:g} would make {width}x{height} px of a photo of {came}; "
            "expected at least 1x1. Choose a larger 'scale'."
        )
    if height * width > MAX_MEGAPIXELS * 1_000_000:
        raise ValueError(
            f"Prepare Photo: 'scale' {scale:g} would make {width}x{height} px of a photo of {came}, "
            f"{height * width / 1e6:.0f} megapixels; expected at most {MAX_MEGAPIXELS}. "
            "Choose a smaller 'scale', or crop the photo."
        )


def _round_up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
