"""Nodes that encode a photo into semantic tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io
from torch import Tensor

from ..host import paths
from ..image import from_socket
from . import sockets
from .bounds import LoadsWeights, Node

if TYPE_CHECKING:
    from ..host.encoder import LoadedEncoder
    from ..sample.frame import Frame


class LoadSAM2Encoder(LoadsWeights, Node):
    """Loads the image encoder of a SAM2.1 checkpoint of any size."""

    KIND, WIDGET = "encoder", "encoder_name"

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_LoadSAM2Encoder",
            display_name="Load SAM2 Encoder",
            category="ugc_sr/loaders",
            search_aliases=["sam2", "segment anything", "semantics loader", "image encoder"],
            description="Load the part of SAM2.1 that reads a photo. Its mask decoder is not needed. To "
            "fetch the file (156 MB, Apache-2.0), in a terminal in custom_nodes: python -m ugc_sr.models "
            "fetch sam2. By hand: docs/weights.md.",
            inputs=[
                cls.file_input(
                    "SAM2.1 checkpoint (.safetensors) in models/detection or models/sam2. "
                    "SRlab's weights were trained with the tiny one; the others fit but restore otherwise."
                ),
            ],
            outputs=[
                sockets.Encoder.Output("encoder", display_name="encoder", tooltip="For Encode Semantics.")
            ],
        )

    @classmethod
    def execute(cls, encoder_name: str) -> io.NodeOutput:
        from ..host.encoder import load_encoder

        return io.NodeOutput(load_encoder(paths.load_weights(cls.KIND, encoder_name), encoder_name))


class EncodeSemantics(Node):
    """Encodes a photo into semantic tokens."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_EncodeSemantics",
            display_name="Encode Semantics",
            category="ugc_sr",
            search_aliases=["sam2", "segment anything", "image tokens", "read photo"],
            description="Read what a photo shows, as a whole and for each tile, to guide its restoration.",
            inputs=[
                sockets.Encoder.Input("encoder", tooltip="From Load SAM2 Encoder or Load Nano Model."),
                io.Image.Input(
                    "image",
                    tooltip="The small photo as it came, not the enlarged one. Transparency is ignored.",
                ),
                io.Combo.Input(
                    "view",
                    options=["global", "tile", "both"],
                    default="global",
                    optional=True,
                    tooltip="What each tile of Tile Diffusion sees: global, the whole photo, as SeeSR and "
                    "SRlab restore; tile, its own part of it, as SRlab was trained; or both. The last two "
                    "read the photo once more for each tile. Without tiles all are the same.",
                ),
                sockets.Frame.Input(
                    "frame",
                    optional=True,
                    tooltip="From the Prepare Photo of this photo; tells where a tile lies in it. Needed for "
                    "the views tile and both.",
                ),
            ],
            outputs=[
                sockets.Semantics.Output(
                    "semantics",
                    display_name="semantics",
                    tooltip="For Apply Semantic Guidance and Apply Semantic ControlNet.",
                )
            ],
        )

    @classmethod
    def execute(
        cls,
        encoder: LoadedEncoder,
        image: Tensor,
        view: str = "global",
        frame: Frame | None = None,
    ) -> io.NodeOutput:
        from ..host.encoder import encode_views

        return io.NodeOutput(encode_views(encoder, from_socket(image)[:, :3], view, frame))
