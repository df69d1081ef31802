"""The one image convention: (B, C, H, W) float RGB in [0, 1] inside, (B, H, W, C) at the sockets."""

from torch import Tensor, float32
from torch.nn import functional as F


def from_socket(image: Tensor) -> Tensor:
    """IMAGE (B, H, W, C) of any precision -> (B, C, H, W) float32."""
    return image.movedim(-1, 1).to(float32)


def to_socket(image: Tensor) -> Tensor:
    """(B, C, H, W) -> IMAGE (B, H, W, C), float32, clamped to [0, 1]: the one clamp of a chain."""
    return image.to(float32).clamp(0, 1).movedim(1, -1).contiguous()


def opaque(image: Tensor) -> Tensor:
    """IMAGE (B, H, W, 3 or 4) -> (B, 3, H, W) float32; what is transparent is laid on white."""
    image = from_socket(image)
    rgb, alpha = image[:, :3], image[:, 3:]
    return rgb * alpha + 1 - alpha if alpha.numel() else rgb


def check_image(image: Tensor, node: str, socket: str = "image") -> None:
    """Refuse what would fail late or give a wrong picture without a word.

    Args:
        image: as it comes from the socket, (B, H, W, 3 or 4).
        node: display name of the node, opens the message.
        socket: name of the node's input.

    Raises:
        ValueError: for other shapes, images without pixels, whole numbers, and NaN or infinite values.
    """
    head = f"{node}: '{socket}'"
    if image.ndim != 4:
        raise ValueError(
            f"{head} has shape {tuple(image.shape)}; expected (batch, height, width, channels). "
            "Connect an IMAGE, such as the output of Load Image."
        )
    batch, height, width, channels = image.shape
    if channels not in (3, 4):
        raise ValueError(
            f"{head} has {channels} channels; expected 3 (RGB) or 4 (RGBA). Convert it to RGB first."
        )
    if not image.numel():
        raise ValueError(
            f"{head} is empty: {batch} photos of {width}x{height} px. "
            "Connect a photo that has at least one pixel."
        )
    if not image.is_floating_point():
        raise ValueError(
            f"{head} holds {str(image.dtype).removeprefix('torch.')}; expected floats from 0 to 1. "
            "The node before it makes no IMAGE as ComfyUI has them."
        )
    if not image.isfinite().all():
        raise ValueError(
            f"{head} holds NaN or infinite values; expected numbers from 0 to 1. "
            "The node before it failed: check its model, VAE and precision."
        )


def luma(rgb: Tensor) -> Tensor:
    """Y of (B, 3, H, W) RGB in [0, 1] by ITU-R BT.601, studio range: (B, 1, H, W) in [16/255, 235/255]."""
    weights = rgb.new_tensor([65.481, 128.553, 24.966]).view(1, 3, 1, 1)
    return ((rgb * weights).sum(dim=1, keepdim=True) + 16) / 255


def resize(image: Tensor, height: int, width: int, mode: str = "bicubic") -> Tensor:
    """Antialiased resize of (B, C, H, W), not clamped: bicubic overshoots at edges."""
    if tuple(image.shape[-2:]) == (height, width):
        return image
    try:
        return F.interpolate(image, size=(height, width), mode=mode, antialias=True)
    except NotImplementedError:  # Apple's GPUs before PyTorch 2.8
        return F.interpolate(image.cpu(), size=(height, width), mode=mode, antialias=True).to(image.device)
