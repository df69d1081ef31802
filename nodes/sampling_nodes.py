"""Nodes that change the sampling of a MODEL."""

from typing import Any

from comfy_api.latest import io

from .bounds import Node


class TileDiffusion(Node):
    """Samples large photos in overlapping tiles."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_TileDiffusion",
            display_name="Tile Diffusion",
            category="ugc_sr",
            description="Sample a large photo in overlapping tiles: detail at the size that the model "
            "was trained for, in memory that doesn't grow with the photo.",
            search_aliases=[
                "large photo",
                "panorama",
                "tiled upscale",
                "tiled diffusion",
                "tiled sampling",
                "MultiDiffusion",
                "Mixture of Diffusers",
                "大图",
            ],
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
                io.Combo.Input(
                    "grid",
                    options=["even", "seesr"],
                    default="even",
                    optional=True,
                    advanced=True,
                    tooltip="even: tiles spread evenly over the photo. seesr: laid out and blended exactly "
                    "as SeeSR and SRlab do it, to compare with their results; a photo of no more pixels than "
                    "a tile is sampled whole.",
                ),
            ],
            outputs=[io.Model.Output(tooltip="The model, sampling in tiles.")],
        )

    @classmethod
    def execute(
        cls, model: Any, tile_size: int, overlap: int, tile_batch: int, grid: str = "even"
    ) -> io.NodeOutput:
        from ..host.tiling import latent_ratio, tile_diffusion

        if overlap >= tile_size:
            raise ValueError(
                f"'overlap' must be smaller than 'tile_size', {tile_size} px; got {overlap} "
                "px. A third of the tile is a good overlap."
            )
        ratio = latent_ratio(model)
        tile, shared = tile_size // ratio, overlap // ratio
        return io.NodeOutput(tile_diffusion(model, tile=tile, overlap=shared, batch=tile_batch, grid=grid))


class LRStart(Node):
    """Starts the sampling from the noised photo, as SeeSR does."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_LRStart",
            display_name="LR Start",
            category="ugc_sr",
            description="Start from the photo as SeeSR does: under the most noise of the schedule, more than "
            "the first step is told. With an empty latent, start from noise alone as SRlab does. Both are "
            "exact with sampler ddpm, scheduler ddim_uniform and a number of steps that divides 1000, such "
            "as 50, 20 or 10; with others ddim_uniform takes more and smaller steps, 31 for 30. Without this "
            "node a KSampler starts from nearly the same.",
            search_aliases=["start point", "LR embedding", "LRE", "SeeSR", "SRlab", "start from photo"],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="Model that restores the photo. A KSampler must follow, with 'denoise' 1 and "
                    "VAE Encode of the hint as 'latent_image', or an empty latent.",
                ),
            ],
            outputs=[io.Model.Output(tooltip="The model, sampling from the photo under noise.")],
        )

    @classmethod
    def execute(cls, model: Any) -> io.NodeOutput:
        from ..host.lr_start import lr_start

        return io.NodeOutput(lr_start(model))
