"""Nodes before and after the sampler, for size, transparency and colour."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..host.progress import say
from ..image import from_socket, to_socket
from . import sockets
from .bounds import Node

if TYPE_CHECKING:
    from ..sample.frame import Frame


class PrepareImage(Node):
    """Enlarges a photo to its final size, on a canvas that the networks accept."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_PrepareImage",
            display_name="Prepare Photo",
            category="image/super-resolution",
            description="Enlarge a photo of any size to exactly its final size, and mirror its edges out to "
            "a multiple of 64. Finish Photo cuts it back and returns the transparency.",
            search_aliases=[
                "super resolution",
                "upscale",
                "enlarge",
                "resize photo",
                "small photo",
                "transparent",
                "pad image",
                "放大",
                "尺寸",
                "透明",
            ],
            inputs=[
                io.Image.Input(
                    "image", tooltip="The damaged photo, RGB or RGBA, of any size, one or a batch."
                ),
                io.Float.Input(
                    "scale",
                    default=0.0,
                    min=0.0,
                    max=16.0,
                    step=0.25,
                    round=0.001,
                    tooltip="How many times as wide and high the result shall be. 0 chooses by the photo: 4 "
                    "for small photos, 2 or 1 for those of phones, at most 4096 px a side. The bundled model "
                    "was trained for 1 to 4.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="The photo's transparency, from Load Image, which takes it out of the picture. "
                    "White is clear. An empty mask changes nothing.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="hint", tooltip="The enlarged photo on its padded canvas."),
                sockets.Frame.Output(
                    display_name="frame", tooltip="Exact size and transparency, for Finish Photo."
                ),
            ],
        )

    @classmethod
    def execute(cls, image: Tensor, scale: float, mask: Tensor | None = None) -> io.NodeOutput:
        from ..host.announce import announce
        from ..sample.frame import fit, frame_for
        from ..sample.masks import with_transparency
        from ..score.quick_scores import before

        height, width = image.shape[1:3]
        announce(frame_for((height, width), scale), photos=len(image))
        photo = with_transparency(from_socket(image), mask)
        hint, frame = fit(photo, scale)
        enlarged = hint[:1, :, : frame.height, : frame.width]
        frame = replace(frame, before=before(photo[:1, :3], enlarged))
        return io.NodeOutput(to_socket(hint), frame)


class FinishImage(Node):
    """Crops the restored photo out of its canvas and restores its transparency."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_FinishImage",
            display_name="Finish Photo",
            category="image/super-resolution",
            description="Cut the restored photo to its exact size and put its transparency back.",
            search_aliases=[
                "super resolution",
                "result report",
                "before after scores",
                "transparent",
                "crop padding",
                "join alpha",
                "结果",
                "透明",
            ],
            inputs=[
                io.Image.Input("image", tooltip="The restored photo, still on the canvas of Prepare Photo."),
                sockets.Frame.Input("frame", tooltip="From the Prepare Photo that this photo began with."),
            ],
            outputs=[
                io.Image.Output(tooltip="The restored photo: RGBA if the photo that came in was."),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="One line about the result, which the node shows too: size in and out, scale, "
                    "preset, tiles, seconds of sampling, and sharpness, noise and blocks before and after.",
                ),
            ],
        )

    @classmethod
    def execute(cls, image: Tensor, frame: Frame) -> io.NodeOutput:
        from ..host.run_records import last_run
        from ..sample.frame import finish
        from ..sample.result_line import result_line
        from ..score.quick_scores import after

        photo = finish(from_socket(image), frame)
        scores = after(photo[:1, :3].clamp(0, 1), frame.photo[0])
        report = result_line(frame, len(photo), last_run(frame.runs, "image"), scores)
        say(report)
        return io.NodeOutput(to_socket(photo), report, ui=ui.PreviewText(report))


class MatchColor(Node):
    """Transfers the colours of one image to another."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_MatchColor",
            display_name="Match Color",
            category="image/super-resolution",
            description="Remove the colour shift of a restored photo: keep its detail, take the colours of "
            "the photo it came from.",
            search_aliases=[
                "color fix",
                "colour transfer",
                "color cast",
                "color correction",
                "wrong colors",
                "wavelet",
                "adain",
                "偏色",
                "颜色校正",
            ],
            inputs=[
                io.Image.Input("image", tooltip="The restored photo, whose detail is kept."),
                io.Image.Input(
                    "reference",
                    tooltip="The photo with the right colours, such as hint of Prepare Photo. Resized if "
                    "needed.",
                ),
                io.Combo.Input(
                    "method",
                    options=["wavelet", "adain", "lab"],
                    default="wavelet",
                    tooltip="wavelet: colours of every region, detail finer than about 60 px kept; the safe "
                    "choice. adain: one shift and contrast for each colour channel of the whole photo. lab: "
                    "hues and lightness of the whole photo, contrast kept.",
                ),
            ],
            outputs=[io.Image.Output(tooltip="The restored photo with the colours of the reference.")],
        )

    @classmethod
    def execute(cls, image: Tensor, reference: Tensor, method: str) -> io.NodeOutput:
        from ..host.memory import on_device_or_cpu
        from ..sample.color_match import match

        photo, colors = from_socket(image), from_socket(reference)[:, :3]
        matched = on_device_or_cpu(lambda device: match(photo[:, :3], colors, method, device), "Match Color")
        if photo.shape[1] > 3:
            matched = torch.cat([matched, photo[:, 3:]], dim=1)
        return io.NodeOutput(to_socket(matched))
