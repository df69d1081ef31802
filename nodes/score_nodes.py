"""Nodes that measure restored photos and compare them side by side."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor, cat

from ..host.progress import progress
from ..image import check_image, from_socket, opaque, to_socket
from .bounds import Node

PICTURES = 8  # upper limit of Compare Sheet


class ScoreImage(Node):
    """Measures the quality of restored photos."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_ScoreImage",
            display_name="Score Photo",
            category="image/score",
            description="Measure how good a restored photo is: against the clean original, against the small "
            "photo that it was made from, and on its own. The figures are those of the photo as Save Image "
            "writes it.",
            search_aliases=[
                "score image",
                "image quality",
                "measure sharpness",
                "noise level",
                "psnr",
                "ssim",
                "niqe",
                "metrics",
                "evaluate",
                "画质评分",
            ],
            inputs=[
                io.Image.Input("sr", tooltip="The restored photo; one or a batch."),
                io.Image.Input(
                    "gt",
                    optional=True,
                    tooltip="The clean original at the size of sr, such as hr of Degrade Photo. One for all, "
                    "or one for each photo of sr.",
                ),
                io.Image.Input(
                    "lr",
                    optional=True,
                    tooltip="The small photo that sr was made from: shows what was made up. One for all, or "
                    "one for each photo of sr.",
                ),
                io.Int.Input(
                    "tile_size",
                    default=0,
                    min=0,
                    max=4096,
                    step=64,
                    tooltip="As on Tile Diffusion, to measure seams where tiles meet. Photos that fit in one "
                    "tile have none. 0: not sampled in tiles.",
                    advanced=True,
                ),
                io.Int.Input(
                    "overlap",
                    default=256,
                    min=0,
                    max=2048,
                    step=32,
                    tooltip="As on Tile Diffusion. Counts only with a tile_size.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="table", tooltip="The figures as text, a line a photo and their mean."
                ),
                io.String.Output(
                    display_name="json",
                    tooltip="The same with what each figure means, to keep or to compute.",
                ),
                io.Image.Output(display_name="picture", tooltip="The figures as a picture, to look at."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, sr: Tensor, tile_size: int, overlap: int, gt: Tensor | None = None, lr: Tensor | None = None
    ) -> io.NodeOutput:
        from ..score.card import card
        from ..score.extras import Extras
        from ..score.pil_image import from_picture
        from ..score.scoring import json_safe, summary, table

        given = {"sr": sr, "gt": gt, "lr": lr}
        photos = {socket: _as_saved(image, socket) for socket, image in given.items() if image is not None}
        _check_size(photos)
        report = summary(_scores(_each(photos, like="sr"), tile_size, overlap))
        text = table(report) + (Extras.missing() if gt is not None else "")
        picture = to_socket(from_picture(card(report)))
        shown = ui.PreviewImage(picture, cls=cls).as_dict() | ui.PreviewText(text).as_dict()
        return io.NodeOutput(
            text, json.dumps(json_safe(report), indent=2, allow_nan=False), picture, ui=shown
        )


class CompareSheet(Node):
    """Draws several pictures of one scene side by side."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_CompareSheet",
            display_name="Compare Sheet",
            category="image/score",
            description="One picture to look at: versions of a photo side by side with labels, whole and "
            "zoomed in at the same places, each as its own pixels.",
            search_aliases=[
                "compare images",
                "side by side",
                "contact sheet",
                "zoom",
                "before after",
                "前后对比",
            ],
            inputs=[
                io.Autogrow.Input(
                    "images",
                    template=io.Autogrow.TemplatePrefix(
                        io.Image.Input("image", tooltip="A version of the photo, of any size."),
                        prefix="image",
                        min=1,
                        max=PICTURES,
                    ),
                    tooltip="Versions of the photo from left to right, the best one last. One photo each, or "
                    "batches, which give a sheet for each photo.",
                ),
                io.String.Input(
                    "labels",
                    default="",
                    multiline=True,
                    tooltip="What to write above the pictures, one line each. Empty: picture 1 and so on.",
                ),
                io.Int.Input(
                    "crops",
                    default=2,
                    min=0,
                    max=4,
                    tooltip="Places to zoom in on; 0 shows the whole photos alone.",
                ),
                io.Int.Input(
                    "crop_size",
                    default=0,
                    min=0,
                    max=8192,
                    tooltip="Side of such a place in pixels of the largest picture. 0: a fifth of its "
                    "shorter side.",
                ),
                io.Combo.Input(
                    "find",
                    options=["detail", "difference"],
                    tooltip="Where to zoom in. detail: where the last picture has most of it. difference: "
                    "where the others differ most from the last.",
                ),
                io.String.Input("title", default="", tooltip="A line above all; empty for none."),
            ],
            outputs=[io.Image.Output(display_name="sheet", tooltip="The sheet, to look at or to save.")],
        )

    @classmethod
    def execute(
        cls, images: io.Autogrow.Type, labels: str, crops: int, crop_size: int, find: str, title: str
    ) -> io.NodeOutput:
        from ..score.pil_image import from_picture, to_picture
        from ..score.sheet import compare, level

        for socket, image in images.items():
            check_image(image, socket=socket)
        names = _labels(labels, len(images))
        photos = {socket: opaque(image) for socket, image in images.items()}
        sheets = []
        scenes = _each(photos, like=max(photos, key=lambda socket: len(photos[socket])))
        done = progress(len(scenes))
        for scene in scenes:
            panels = [(name, to_picture(photo)) for name, photo in zip(names, scene.values(), strict=True)]
            sheets.append(compare(panels, crops=crops, crop_px=crop_size, find=find, title=title))
            done(len(sheets))
        return io.NodeOutput(to_socket(cat([from_picture(sheet) for sheet in level(sheets)])))


def _scores(scenes: Sequence[Mapping[str, Tensor]], tile_size: int, overlap: int) -> list[dict[str, Any]]:
    """Return the figures of each photo, by metric.

    Raises:
        ValueError: if photos are too small or don't match, or can't be cut into tiles of that size.
    """
    from ..score.extras import Extras
    from ..score.metrics import evaluate
    from ..score.seams import tile_borders

    networks = Extras.complete(with_gt=any("gt" in scene for scene in scenes))
    done = progress(len(scenes))
    found = []
    for number, scene in enumerate(scenes, 1):
        height, width = scene["sr"].shape[-2:]
        tiled = 0 < tile_size < max(height, width)
        borders = tile_borders(height, width, tile_size, overlap) if tiled else None
        measured = networks.measure(scene["sr"], gt=scene.get("gt"))
        found.append({"name": f"photo {number}", **evaluate(**scene, borders=borders), **measured})
        done(number)
    return found


def _as_saved(image: Tensor, socket: str) -> Tensor:
    """Return an IMAGE as (B, 3, H, W) rounded down to 256 levels, as Save Image does.

    The figures of the node therefore agree with those of the saved file.

    Raises:
        ValueError: if it is partly transparent.
    """
    photo = from_socket(image)
    if photo.shape[1] == 4 and photo[:, 3].min() < 1:
        raise ValueError(
            f"'{socket}' is partly transparent; expected opaque photos. Put Split Image with "
            "Alpha before it, and before what it is compared with."
        )
    return (255 * photo[:, :3]).clamp(0, 255).floor() / 255


def _check_size(photos: Mapping[str, Tensor]) -> None:
    if "gt" in photos and photos["gt"].shape[-2:] != photos["sr"].shape[-2:]:
        (height, width), (tall, wide) = (photos[socket].shape[-2:] for socket in ("gt", "sr"))
        raise ValueError(
            f"'gt' is {width}x{height} px and 'sr' {wide}x{tall} px; expected equal sizes. "
            "Connect hr of Degrade Photo, or crop gt to what sr shows. Don't resize sr."
        )


def _each(batches: Mapping[str, Tensor], like: str) -> list[dict[str, Tensor]]:
    """Return, for each photo of the batch `like`, the photos (1, C, H, W) of all sockets.

    A batch of one serves all photos.

    Raises:
        ValueError: if another batch has neither one photo nor as many as `like`.
    """
    count = len(batches[like])
    for socket, batch in batches.items():
        if len(batch) not in (1, count):
            raise ValueError(
                f"'{socket}' holds {len(batch)} photos and '{like}' {count}; expected as many, or one "
                "for all."
            )
    return [
        {socket: batch[index % len(batch)][None] for socket, batch in batches.items()}
        for index in range(count)
    ]


def _labels(text: str, count: int) -> list[str]:
    """Return the label of each of `count` pictures, one from each line of the text.

    Raises:
        ValueError: if there are more lines than pictures.
    """
    lines = text.rstrip().splitlines()
    if len(lines) > count:
        raise ValueError(
            f"'labels' has {len(lines)} lines for {count} pictures; expected one line a "
            "picture. Remove the lines of those that are not connected."
        )
    lines += [""] * (count - len(lines))
    return [line.strip() or f"picture {number}" for number, line in enumerate(lines, 1)]
