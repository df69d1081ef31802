"""Video codecs: the photo as a frame of an encoded clip."""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from ...image import to_levels
from .codecs import from_batch
from .effect import OneOf, Range, effect

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext

# name -> encoder and decoder of FFmpeg
CODECS = {
    "h264": ("libx264", "h264"),
    "h265": ("libx265", "hevc"),
    "mpeg2": ("mpeg2video", "mpeg2video"),
    "mpeg4": ("mpeg4", "mpeg4"),
}
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium")
_SMALLEST = {"h264": 16, "h265": 96, "mpeg2": 16, "mpeg4": 16}  # px a side; x265 overruns its buffers below
# Bilinear with whole chroma, rounded (cut off, it darkens by a level) and exact, as players show it. FFmpeg's
# values of SWS_BILINEAR, SWS_FULL_CHR_H_INT, SWS_FULL_CHR_H_INP, SWS_ACCURATE_RND and SWS_BITEXACT: PyAV 16
# and 17, which ComfyUI allows too, have no names for the last four.
_SCALING = 1 << 1 | 1 << 13 | 1 << 14 | 1 << 18 | 1 << 19


def _label(p: Mapping[str, Any]) -> tuple[float, str]:
    name = p["codec"].replace("h26", "H.26").replace("mpeg", "MPEG-")
    return (p["crf"] - 12) / 16, f"{name} crf {p['crf']}"


@effect(_label, in_torch=False)
def video(
    image: Tensor,
    codec: Annotated[str, OneOf(tuple(CODECS))],
    crf: Annotated[int, Range(0, 51)],
    preset: Annotated[str, OneOf(PRESETS)],
    frames: Annotated[int, Range(1, 8)] = 1,
    motion: Annotated[float, Range(0, 4)] = 0.0,
    angle: Annotated[float, Range(-3.15, 3.15)] = 0.5,
) -> Tensor:
    """Encode (B, 3, H, W) as clips of `frames` frames and return the last frame of each.

    It is an I frame if it is the only one, else a P frame. A clip drifts by `motion` pixels a frame along
    `angle` radians and ends at the photo itself. It is 4:2:0, BT.709, studio range, as in uploads; one thread
    encodes it, so that its bytes are reproducible. mpeg2 and mpeg4 have no crf and no presets: they quantise
    by 2 at crf 0 to 31 at crf 51.

    Raises:
        RuntimeError: if this PyAV has no such encoder.
        ValueError: if the codec can't hold a photo of this size.
    """
    height, width = image.shape[2:]
    steps = range(frames - 1, -1, -1) if motion else (0,)
    clip = [to_levels(_drifted(image, step * motion, angle)) for step in steps]
    clip *= frames // len(clip)  # a clip at rest repeats one frame
    bottom, right = (max(_SMALLEST[codec], size + size % 2) - size for size in (height, width))
    margin = ((0, 0), (0, bottom), (0, right), (0, 0))
    padded = [np.pad(frame, margin, mode="edge") for frame in clip]
    last = [_last_frame(photo, codec, crf, preset) for photo in zip(*padded, strict=True)]
    return from_batch(np.stack(last)[:, :height, :width], image)


def _drifted(image: Tensor, distance: float, angle: float) -> Tensor:
    """Return the photo moved by `distance` pixels, bilinear; outside, the border repeats."""
    if not distance:
        return image
    for dim, shift in ((3, distance * math.cos(angle)), (2, distance * math.sin(angle))):
        whole = math.floor(shift)
        near, far = (_moved(image, dim, whole + step) for step in (0, 1))
        image = torch.lerp(near, far, shift - whole)
    return image


def _moved(image: Tensor, dim: int, shift: int) -> Tensor:
    places = torch.arange(image.shape[dim], device=image.device) - shift
    return image.index_select(dim, places.clamp(0, image.shape[dim] - 1))


def _last_frame(photos: Sequence[np.ndarray], codec: str, crf: int, preset: str) -> np.ndarray:
    """Encode frames (H, W, 3) uint8, H and W even, and return the last one decoded.

    Raises:
        ValueError: if the codec refuses the size.
    """
    from av import VideoFrame
    from av.error import FFmpegError
    from av.video.reformatter import Colorspace

    height, width = photos[0].shape[:2]
    encoder = _context(CODECS[codec][0], "w")
    encoder.height, encoder.width, encoder.pix_fmt = height, width, "yuv420p"
    encoder.time_base = Fraction(1, 30)
    encoder.options = _options(codec, crf, preset)
    packets = []
    try:
        for time, photo in enumerate(photos):
            frame = VideoFrame.from_ndarray(photo, format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, interpolation=_SCALING)
            frame.pts = time
            packets += encoder.encode(frame)
        packets += encoder.encode(None)
    except FFmpegError as error:
        raise ValueError(
            f"video: {codec} can't encode a photo of {width}x{height} px ({error.strerror}). "
            "Make it smaller or crop it first."
        ) from error
    decoder = _context(CODECS[codec][1], "r")
    shown = [frame for packet in (*packets, None) for frame in decoder.decode(packet)]
    return (
        shown[-1]
        .reformat(format="rgb24", src_colorspace=Colorspace.ITU709, interpolation=_SCALING)
        .to_ndarray()
    )


def _options(codec: str, crf: int, preset: str) -> dict[str, str]:
    if codec.startswith("mpeg"):
        quantiser = str(round(2 + 29 * crf / 51))
        return {"qmin": quantiser, "qmax": quantiser}
    options = {"crf": str(crf), "preset": preset}
    if codec == "h265":
        return options | {"x265-params": "log-level=none:pools=none:frame-threads=1"}
    # Its rate control over future frames reads memory it never wrote: other bytes from run to run.
    return options | {"x264-params": "mbtree=0"}


def _context(name: str, mode: Literal["r", "w"]) -> "VideoCodecContext":
    """Return a single-threaded codec context of FFmpeg.

    Raises:
        RuntimeError: if this FFmpeg lacks the codec.
    """
    from av import CodecContext
    from av.codec.codec import UnknownCodecError

    try:
        context = CodecContext.create(name, mode)
    except UnknownCodecError as error:
        raise RuntimeError(
            f"video: this PyAV has no codec {name}. Install the one from PyPI (pip install --upgrade av) "
            "or choose another codec."
        ) from error
    context.thread_count = 1
    return cast("VideoCodecContext", context)
