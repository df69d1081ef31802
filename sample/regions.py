"""Regions of a photo: masks laid on it, and its own pixels put back where they cover it."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..image import resize
from .color import wavelet
from .frame import Frame

KEEPS = {
    "detail": wavelet,  # the photo's own below about 60 px, colours of the restoration
    "all": lambda original, _: original,
}


def lay(mask: Tensor, height: int, width: int, node: str, frame: Frame | None = None) -> Tensor:
    """Lay a mask of any size on a picture of height x width px: (B, 1, height, width) in [0, 1].

    A mask that covers nothing fits every picture: Load Image gives one of 64x64 px to every photo.

    Args:
        mask: (B, H, W) or (H, W), of the picture's aspect; clamped to [0, 1].
        height: of the picture.
        width: of the picture.
        node: display name of the node, opens the messages.
        frame: if given, the picture is its canvas, and the mask belongs to the photo on it.

    Raises:
        ValueError: for what is no mask, another aspect, or a frame of another canvas.
    """
    _check_mask(mask, node)
    if not mask.any():
        return mask.new_zeros((1, 1, height, width))
    if frame and frame.canvas != (height, width):
        raise ValueError(
            f"{node}: 'frame' belongs to a canvas of {_px(*frame.canvas)} but the photo has "
            f"{_px(height, width)}. Connect the 'frame' of the Prepare Photo that this photo comes from, "
            "or none behind Finish Photo."
        )
    size, photo = mask.shape[-2:], (frame.height, frame.width) if frame else (height, width)
    if not _same_aspect(size, photo):
        raise ValueError(
            f"{node}: 'mask' has {_px(*size)} but lies on {_px(*photo)}, another aspect. Draw it on the same "
            "photo; if that was before Prepare Photo padded it, connect 'frame' of Prepare Photo."
        )
    laid = resize(mask.reshape(-1, 1, *size).float(), *photo, mode="bilinear").clamp(0, 1)
    if not frame:
        return laid
    return F.pad(laid, (0, width - frame.width, 0, height - frame.height), mode="replicate")


def feathered(mask: Tensor, reach: int) -> Tensor:
    """Give a mask (B, 1, H, W) soft edges: it keeps what it covers, and ends `reach` px outside of it."""
    grow, blur = (reach + 1) // 2, reach // 2
    grown = 0
    while grown < grow:  # windows of three, ever further apart
        apart = min(2 * grown + 1, grow - grown)
        mask = F.max_pool2d(F.pad(mask, [apart] * 4, mode="replicate"), 3, stride=1, dilation=apart)
        grown += apart
    return _mean(_mean(mask, blur, dim=2), blur, dim=3)


def put_back(sr: Tensor, original: Tensor, mask: Tensor, keep: str) -> Tensor:
    """Put the photo's own picture back where the mask is 1: (B, 3 or 4, H, W), not clamped.

    Args:
        sr: the restored photo (B, 3 or 4, H, W) in [0, 1]; a fourth channel stays.
        original: (B, 3, H, W) in [0, 1], enlarged to the same size; one may serve a whole batch.
        mask: (B, 1, H, W) in [0, 1]; one may serve a whole batch.
        keep: what of the photo, a key of KEEPS.

    Raises:
        ValueError: if sizes or batches differ.
    """
    size, size_of_original = sr.shape[-2:], original.shape[-2:]
    if size != size_of_original:
        raise ValueError(
            f"Blend Regions: 'sr' has {_px(*size)} but 'original' has {_px(*size_of_original)}. Connect "
            "'hint' of Prepare Photo, and put Blend Regions before Finish Photo."
        )
    check_batch(sr.shape[0], "Blend Regions", {"original": original, "mask": mask})
    rgb = sr[:, :3]
    own = KEEPS[keep](original.to(rgb), rgb)
    return torch.cat([torch.lerp(rgb, own, mask.to(rgb)), sr[:, 3:]], dim=1)


def check_batch(batch: int, node: str, given: dict[str, Tensor]) -> None:
    """Refuse inputs (B, ...) that are neither one for all photos nor one for each.

    Raises:
        ValueError: naming the first of `given`, by name of the input, that doesn't fit.
    """
    for name, tensor in given.items():
        if tensor.shape[0] not in (1, batch):
            raise ValueError(
                f"{node}: '{name}' is for {tensor.shape[0]} photos but {batch} are restored. "
                "Connect one for all, or one for each."
            )


def _mean(x: Tensor, radius: int, dim: int) -> Tensor:
    """Mean over `radius` px to both sides along one dimension, edges repeated; exact where all are alike."""
    length, window = x.shape[dim], 2 * radius + 1
    pad = (0, 0, radius + 1, radius) if dim == 2 else (radius + 1, radius, 0, 0)
    sums = F.pad(x.double(), pad, mode="replicate").cumsum(dim)
    return ((sums.narrow(dim, window, length) - sums.narrow(dim, 0, length)) / window).to(x)


def _check_mask(mask: Tensor, node: str) -> None:
    head = f"{node}: 'mask'"
    if mask.ndim not in (2, 3) or not mask.numel():
        raise ValueError(
            f"{head} has shape {tuple(mask.shape)}; expected (batch, height, width), each at least 1. "
            "Connect a MASK, such as that of Load Image."
        )
    if not mask.isfinite().all():
        raise ValueError(
            f"{head} holds NaN or infinite values; expected numbers from 0 to 1. The node before it failed."
        )


def _same_aspect(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether one (height, width) is the other, scaled and rounded to whole pixels."""
    return _is_scaled(a, b) or _is_scaled(b, a)


def _is_scaled(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether some scale takes a to numbers that round to b."""
    least = max((to - 0.5) / length for length, to in zip(a, b, strict=True))
    most = min((to + 0.5) / length for length, to in zip(a, b, strict=True))
    return least <= most


def _px(height: int, width: int) -> str:
    return f"{width}x{height} px"
