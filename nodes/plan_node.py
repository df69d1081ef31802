"""The node that chooses tile sizes by the available memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..host.progress import say
from ..image import from_socket
from . import sockets
from .bounds import Node

if TYPE_CHECKING:
    from ..host.encoder import LoadedEncoder


class PlanRestoration(Node):
    """Chooses tiles for Tile Diffusion and the VAE, by the size of the photo and the memory."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_PlanRestoration",
            display_name="Plan Restoration",
            category="ugc_sr",
            description="Choose tiles for a photo of any size: near the size that the model was trained for, "
            "as few as cover the photo, as many at once as fit into memory. The plan says what each stage "
            "takes and which one sets the limit.",
            search_aliases=[
                "large photo",
                "panorama",
                "memory",
                "out of memory",
                "VRAM",
                "tile size",
                "auto tile",
                "显存不足",
                "大图",
            ],
            inputs=[
                io.Model.Input(
                    "model", tooltip="The model that goes into Tile Diffusion, after Apply Semantic Guidance."
                ),
                io.Image.Input("hint", tooltip="From Prepare Photo: the photo at the size of the result."),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="Of this model. Plans encoding and decoding too, and 'vae_tile'.",
                ),
                io.ControlNet.Input(
                    "control_net", optional=True, tooltip="Counted with the model, if it is connected."
                ),
                sockets.Encoder.Input(
                    "encoder", optional=True, tooltip="Plans Encode Semantics too, if it is connected."
                ),
                io.Int.Input(
                    "tile_size",
                    default=0,
                    min=0,
                    max=4096,
                    step=64,
                    optional=True,
                    tooltip="Side of a tile in pixels, at least 256. 0 chooses: up to 768 for Stable "
                    "Diffusion 2, 1024 for the bundled model, less where memory asks for it.",
                ),
                io.Float.Input(
                    "memory_gib",
                    default=0.0,
                    min=0.0,
                    max=1024.0,
                    step=0.5,
                    optional=True,
                    tooltip="What the restoration may take, weights included. 0 is what is free now, or "
                    "would be without other models. Set it to get the same plan every time.",
                ),
            ],
            outputs=[
                io.Int.Output(display_name="tile_size", tooltip="For Tile Diffusion."),
                io.Int.Output(display_name="overlap", tooltip="For Tile Diffusion."),
                io.Int.Output(display_name="tile_batch", tooltip="For Tile Diffusion."),
                io.Int.Output(
                    display_name="vae_tile",
                    tooltip="For VAE Encode (Tiled) and VAE Decode (Tiled), where the plan asks for them.",
                ),
                io.String.Output(display_name="plan", tooltip="What each stage takes, in words."),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        hint: Tensor,
        vae: Any = None,
        control_net: Any = None,
        encoder: LoadedEncoder | None = None,
        tile_size: int = 0,
        memory_gib: float = 0.0,
    ) -> io.NodeOutput:
        from ..host.restoration_plan import plan_restoration

        photo = from_socket(hint)[:, :3]
        plan = plan_restoration(model, photo, vae, control_net, encoder, tile_size, memory_gib)
        layout, text = plan.layout, str(plan)
        say(text)
        return io.NodeOutput(
            layout.tile, layout.overlap, plan.tile_batch, plan.vae_tile, text, ui=ui.PreviewText(text)
        )
