"""Nodes that describe a photo in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io
from torch import Tensor

from ..host.progress import say
from . import sockets
from .bounds import Node

if TYPE_CHECKING:
    from ..host.tags import Tags


class EncodeTags(Node):
    """Encodes a list of words for Tag Photo."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_EncodeTags",
            display_name="Encode Tags",
            category="ugc_sr",
            description="Ready a list of words to find in photos. Runs once for all photos; on a CPU that "
            "takes minutes for the whole list.",
            search_aliases=["tagger", "captioner", "RAM", "DAPE", "zero shot", "CLIP"],
            inputs=[
                io.Clip.Input(
                    "clip",
                    tooltip="Text tower of the CLIP whose image tower Tag Photo uses; that of the checkpoint "
                    "of Stable Diffusion 2-base belongs to CLIP vision H.",
                ),
                io.String.Input(
                    "tags",
                    default="",
                    multiline=True,
                    tooltip="Words to choose from, between commas or lines. Empty takes our list of "
                    "some hundred words: scenes, things, materials, people, food, animals, weather.",
                ),
            ],
            outputs=[sockets.Tags.Output("tags", display_name="tags", tooltip="For Tag Photo.")],
        )

    @classmethod
    def execute(cls, clip: Any, tags: str) -> io.NodeOutput:
        from ..host.tags import encode_tags

        return io.NodeOutput(encode_tags(clip, tags))


class TagPhoto(Node):
    """Outputs the words that fit a photo best."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_TagPhoto",
            display_name="Tag Photo",
            category="ugc_sr",
            description="Find the words that fit a photo best, for Restoration Preset. Needs no weights but "
            "CLIP's; a captioner of another extension does as well.",
            search_aliases=[
                "describe photo",
                "tagger",
                "captioner",
                "RAM",
                "DAPE",
                "zero shot",
                "CLIP interrogator",
            ],
            inputs=[
                io.ClipVision.Input("clip_vision", tooltip="Image tower of the CLIP that the tags are of."),
                sockets.Tags.Input("tags", tooltip="From Encode Tags."),
                io.Image.Input("image", tooltip="The small photo as it came. Transparency is ignored."),
                io.Int.Input("count", default=10, min=1, max=100, tooltip="Most tags to give."),
                io.Float.Input(
                    "threshold",
                    default=0.05,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Least chance of a tag, as a share of the best one's. Higher gives fewer and "
                    "surer tags; 1 the best alone.",
                ),
            ],
            outputs=[
                io.String.Output(
                    "tags",
                    display_name="tags",
                    tooltip="The surest first, between commas; a line for each photo of a batch. One prompt "
                    "serves a whole batch, so restore photos of unlike things one by one.",
                )
            ],
        )

    @classmethod
    def execute(
        cls, clip_vision: Any, tags: Tags, image: Tensor, count: int, threshold: float
    ) -> io.NodeOutput:
        from ..host.tags import tag_photos

        text = "\n".join(tag_photos(clip_vision, tags, image, count, threshold))
        say(text)
        return io.NodeOutput(text)
