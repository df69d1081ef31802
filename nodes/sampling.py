"""Nodes that change how a MODEL is sampled."""

from typing import Any

from comfy_api.latest import io

from ..host.tiling import latent_ratio, tile_diffusion


class TileDiffusion(io.ComfyNode):
    """Samples large photos in overlapping tiles."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_TileDiffusion",
            display_name="Tile Diffusion",
            category="ugc_sr",
            description="Sample a large photo in overlapping tiles: detail at the size that the model "
            "was trained for, in memory that doesn't grow with the photo.",
            search_aliases=["tiled diffusion", "tiled sampling", "MultiDiffusion", "Mixture of Diffusers"],
            inputs=[
                io.Model.Input("model", tooltip="Model that restores the photo; any KSampler can follow."),
                io.Int.Input(
                    "tile_size",
                    default=768,
                    min=256,
                    max=4096,
                    step=64,
                    tooltip="Side of a tile in pixels of the restored photo. Larger tiles see more of the "
                    "scene and agree better, but take more memory. A photo no larger than one tile is "
                    "sampled whole.",
                ),
                io.Int.Input(
                    "overlap",
                    default=256,
                    min=0,
                    max=2048,
                    step=32,
                    tooltip="Least width in pixels that neighbouring tiles share. More hides the seams "
                    "better and takes longer; 0 shows every seam.",
                ),
                io.Int.Input(
                    "tile_batch",
                    default=4,
                    min=1,
                    max=64,
                    tooltip="Tiles computed at once. Changes speed and memory, not the picture. Halved by "
                    "itself when memory runs out.",
                ),
            ],
            outputs=[io.Model.Output(tooltip="The model, sampling in tiles.")],
        )

    @classmethod
    def execute(cls, model: Any, tile_size: int, overlap: int, tile_batch: int) -> io.NodeOutput:
        if overlap >= tile_size:
            raise ValueError(
                f"Tile Diffusion: 'overlap' must be smaller than 'tile_size', {tile_size} px; got {overlap} "
                "px. A third of the tile is a good overlap."
            )
        ratio = latent_ratio(model)
        tile, shared = tile_size // ratio, overlap // ratio
        return io.NodeOutput(tile_diffusion(model, tile=tile, overlap=shared, batch=tile_batch))
