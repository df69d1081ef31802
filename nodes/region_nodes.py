"""Nodes that preserve masked regions of a photo, such as faces and text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..image import from_socket, to_socket
from . import sockets
from .bounds import Node

if TYPE_CHECKING:
    from ..sample.frame import Frame

FRAME = (
    "From Prepare Photo, if the mask was drawn on the photo that came in; leave it open for a mask drawn on "
    "the padded 'hint'."
)


class WeighRegions(Node):
    """Pulls the sampling towards the photo inside a mask."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_WeighRegions",
            display_name="Weigh Regions",
            category="ugc_sr",
            description="Let the model change some regions of a photo less than others: at every step, what "
            "it makes is pulled to the photo where the mask is white. For faces and text that must stay as "
            "they are. As exact as the VAE is; Blend Regions keeps the pixels themselves.",
            search_aliases=[
                "regional fidelity",
                "protect faces",
                "protect text",
                "soft inpainting",
                "mask",
                "保护人脸",
                "保护文字",
            ],
            inputs=[
                io.Model.Input("model", tooltip="Model that restores the photo; any sampler can follow."),
                io.Latent.Input(
                    "latent",
                    tooltip="The photo: VAE Encode of the hint, also where the sampler starts from an empty "
                    "latent. The bundled model's VAE removes damage here, so what it holds to is its picture "
                    "without sampling.",
                ),
                io.Mask.Input(
                    "mask",
                    tooltip="White where the photo is kept, black where the model is free, greys in between. "
                    "Any size; one, or one for each photo.",
                ),
                io.Float.Input(
                    "strength",
                    default=0.7,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How far white regions are pulled to the photo at every step. 1 keeps the photo "
                    "as the VAE encodes it, 0 changes nothing.",
                ),
                sockets.Frame.Input("frame", optional=True, tooltip=FRAME),
            ],
            outputs=[io.Model.Output(tooltip="The model, held to the photo by the mask.")],
        )

    @classmethod
    def execute(
        cls, model: Any, latent: dict[str, Any], mask: Tensor, strength: float, frame: Frame | None = None
    ) -> io.NodeOutput:
        from ..host.weigh_regions import weigh_regions

        return io.NodeOutput(weigh_regions(model, latent["samples"], mask, strength, frame))


class BlendRegions(Node):
    """Blends the original photo into the result inside a mask."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_BlendRegions",
            display_name="Blend Regions",
            category="image/super-resolution",
            description="Put the photo itself back into the restored one where the mask is white: letters "
            "and faces that no model has touched. Stands between Match Color and Finish Photo.",
            search_aliases=[
                "keep text",
                "keep faces",
                "composite",
                "feather",
                "mask",
                "保留人脸",
                "保留文字",
            ],
            inputs=[
                io.Image.Input("sr", tooltip="The restored photo; its transparency stays."),
                io.Image.Input("original", tooltip="The photo before: hint of Prepare Photo."),
                io.Mask.Input(
                    "mask",
                    tooltip="White where the photo comes back, greys mix. Any size; one, or one for each "
                    "photo.",
                ),
                io.Int.Input(
                    "feather",
                    default=16,
                    min=0,
                    max=256,
                    tooltip="Pixels around the white region over which the photo fades into the restored "
                    "one. The region itself is kept whole.",
                ),
                io.Combo.Input(
                    "keep",
                    options=["detail", "all"],
                    default="detail",
                    tooltip="detail: what is finer than about 60 px comes from the photo, colours from the "
                    "restored one, so that no step shows. all: the photo's pixels as they are.",
                ),
                sockets.Frame.Input("frame", optional=True, tooltip=FRAME),
            ],
            outputs=[io.Image.Output(tooltip="The restored photo with the regions of the photo before.")],
        )

    @classmethod
    def execute(
        cls, sr: Tensor, original: Tensor, mask: Tensor, feather: int, keep: str, frame: Frame | None = None
    ) -> io.NodeOutput:
        from ..host.memory import on_device_or_cpu
        from ..sample.masks import feathered, lay, put_back

        height, width = sr.shape[1:3]
        laid = lay(mask, height, width, frame)
        restored, photo = from_socket(sr), from_socket(original)[:, :3]

        def blend(device: torch.device) -> Tensor:
            return put_back(restored, photo, feathered(laid, feather, device), keep, device)

        return io.NodeOutput(to_socket(on_device_or_cpu(blend, "Blend Regions")))
