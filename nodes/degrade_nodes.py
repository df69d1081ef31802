"""Nodes that degrade clean photos, by a recipe or by a degradation that was drawn before."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from comfy_api.latest import io
from torch import Tensor, cat

from ..host.progress import progress
from ..image import opaque, to_socket
from . import sockets
from .bounds import Node
from .recipe_nodes import TakesRecipe, recipe_input, recipe_of

if TYPE_CHECKING:
    from ..degrade.degradation import Degradation, Pair
    from ..degrade.recipe import Recipe


class DegradeImage(TakesRecipe, Node):
    """Draws a degradation for each photo and applies it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_DegradeImage",
            display_name="Degrade Photo",
            category="image/degradation",
            description="Make the small, damaged photo that phones and social networks would have left of a "
            "clean one. The same photo, recipe and seed give the same pixels.",
            search_aliases=[
                "degrade image",
                "training pairs",
                "jpeg artifacts",
                "real-esrgan",
                "low quality",
                "compress like WhatsApp",
                "simulate Instagram",
                "simulate an old phone",
                "模拟压缩",
            ],
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="Clean photo, the larger the better; one or a batch. What is transparent is laid "
                    "on white.",
                ),
                recipe_input(),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="Decides what happens to the photo, and how badly. In a batch the first photo "
                    "takes this seed, each one after it the next.",
                ),
                io.Int.Input(
                    "scale",
                    default=4,
                    min=1,
                    max=8,
                    tooltip="Size of the clean photo / size of the damaged one. The clean photo is cut at "
                    "the bottom and right to a multiple of it.",
                ),
                io.Boolean.Input(
                    "sharpen_target",
                    default=False,
                    tooltip="Sharpen hr as Real-ESRGAN does: models trained on it draw crisper, at a lower "
                    "PSNR. lr stays the same.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.Image.Output(display_name="lr", tooltip="The damaged photo."),
                sockets.Degradation.Output(
                    display_name="degradation", tooltip="What happened to each photo, for Replay and Save."
                ),
                io.String.Output(display_name="json", tooltip="The same as text, one line a photo."),
                io.Image.Output(
                    display_name="hr",
                    tooltip="The clean photo that fits lr: cut to size, with the captions, stickers and "
                    "filters that lr shows.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls, image: Tensor, recipe: "str | Recipe", seed: int, scale: int, sharpen_target: bool
    ) -> io.NodeOutput:
        chosen = recipe_of(recipe)
        if sharpen_target:
            chosen = chosen.sharpened()
        degradations = tuple(chosen.draw(seed + index, scale) for index in range(len(image)))
        pair = _apply_each(degradations, image)
        text = "\n".join(degradation.to_json() for degradation in degradations)
        return io.NodeOutput(to_socket(pair.lr), degradations, text, to_socket(pair.hr))


class ReplayDegradation(Node):
    """Applies degradations that were drawn before."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_ReplayDegradation",
            display_name="Replay Degradation",
            category="image/degradation",
            description="Damage a photo just as another one, or the same one before. Nothing is drawn anew.",
            search_aliases=["degrade image", "repeat degradation", "degradation json"],
            inputs=[
                io.Image.Input("image", tooltip="Clean photo as Degrade Photo got it; one or a batch."),
                io.MultiType.Input(
                    io.String.Input(
                        "degradation",
                        default="",
                        multiline=True,
                        tooltip="From Degrade Photo, or its text, or 'degradation' of a line in "
                        "manifest.jsonl. One for all photos, or one line a photo.",
                    ),
                    [sockets.Degradation],
                ),
            ],
            outputs=[
                io.Image.Output(display_name="lr", tooltip="The damaged photo."),
                io.Image.Output(display_name="hr", tooltip="The clean photo that fits lr."),
            ],
        )

    @classmethod
    def execute(cls, image: Tensor, degradation: "str | tuple[Degradation, ...]") -> io.NodeOutput:
        if not isinstance(degradation, tuple):  # may be of any type in a graph written by hand
            degradation = _from_lines(str(degradation))
        if len(degradation) == 1:
            degradation *= len(image)
        if len(degradation) != len(image):
            raise ValueError(
                f"'degradation' holds {len(degradation)} and 'image' {len(image)} "
                "photos; expected one degradation, or one for each photo."
            )
        if len({one.scale for one in degradation}) > 1:
            scales = ", ".join(str(scale) for scale in sorted({one.scale for one in degradation}))
            raise ValueError(
                f"the photos of a batch get one size, but 'degradation' has the scales "
                f"{scales}. Replay them one after the other."
            )
        pair = _apply_each(degradation, image)
        return io.NodeOutput(to_socket(pair.lr), to_socket(pair.hr))


def _apply_each(degradations: Sequence["Degradation"], image: Tensor) -> "Pair":
    """Return the pairs (B, C, H, W) of photos (B, H, W, 3 or 4), with one degradation for each photo.

    Raises:
        ValueError: if a degradation doesn't fit its photo.
    """
    from ..degrade.degradation import Pair, apply

    done = progress(len(image))
    pairs = []
    for degradation, photo in zip(degradations, opaque(image).split(1), strict=True):
        pairs.append(apply(degradation, photo))
        done(len(pairs))
    return Pair(*(cat(side) for side in zip(*pairs, strict=True)))


def _from_lines(text: str) -> tuple["Degradation", ...]:
    """Return the degradations in a text with one JSON object on each line.

    Raises:
        ValueError: if a line is invalid, which the message names, or if all are empty.
    """
    from ..degrade.degradation import Degradation

    found = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            if line.strip():
                found.append(Degradation.from_json(line))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    if not found:
        raise ValueError("'degradation' is empty. Connect it to Degrade Photo, or paste its text.")
    return tuple(found)
