"""The node that saves training pairs."""

from itertools import count
from typing import TYPE_CHECKING

from comfy_api.latest import io, ui
from torch import Tensor

from ..host.folders import check_name, dataset_folder
from ..host.progress import say
from ..image import opaque
from . import sockets
from .bounds import Node

if TYPE_CHECKING:
    from ..degrade.degradation import Degradation


class SaveTrainingPairs(Node):
    """Adds training pairs to a data set on disk."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_SaveTrainingPairs",
            display_name="Save Training Pairs",
            category="image/degradation",
            description="Add clean and damaged photos to a data set: hr/, lr/, and manifest.jsonl, which "
            "tells how each was made. What is there already stays.",
            search_aliases=["dataset", "training data", "save pairs", "manifest"],
            inputs=[
                io.Image.Input("hr", tooltip="Clean photos, from hr of Degrade Photo."),
                io.Image.Input("lr", tooltip="Damaged photos, from lr of Degrade Photo."),
                sockets.Degradation.Input("degradation", tooltip="What made lr of hr, from Degrade Photo."),
                io.String.Input(
                    "folder",
                    default="my_pairs",
                    tooltip="Folder inside ComfyUI's datasets folder; made if it isn't there. Sub-folders "
                    "such as pets/first work.",
                ),
                io.String.Input(
                    "name",
                    default="photo",
                    tooltip="What the files are called, with a number behind: photo_00001.png and so on.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, hr: Tensor, lr: Tensor, degradation: tuple["Degradation", ...], folder: str, name: str
    ) -> io.NodeOutput:
        from ..degrade.dataset.pair_folder import PairFolder
        from ..degrade.degradation import Pair

        _check_fit(hr, lr, degradation)
        name, place = check_name(name.strip(), "name"), dataset_folder(folder)
        photos = zip(degradation, opaque(hr).split(1), opaque(lr).split(1), strict=True)
        try:
            with PairFolder(place) as data:
                numbers = count(len(data.pairs) + 1)
                for made, *pair in photos:
                    file = next(file for n in numbers if (file := f"{name}_{n:05d}.png") not in data.pairs)
                    data.add(file, Pair(*pair), name, degradation=made)
                total = len(data.pairs)
        except (ValueError, RuntimeError, OSError) as error:
            raise RuntimeError(f"Save Training Pairs: {error}") from error
        said = f"{len(degradation)} saved, {total} in all: {place}"
        say(said)
        return io.NodeOutput(ui=ui.PreviewText(said))


def _check_fit(hr: Tensor, lr: Tensor, degradations: tuple["Degradation", ...]) -> None:
    """Raise if photos and degradations don't form valid training pairs.

    Raises:
        ValueError: if their numbers differ, or the sizes don't fit the scale.
    """
    if not len(hr) == len(lr) == len(degradations):
        raise ValueError(
            f"{len(hr)} photos in 'hr', {len(lr)} in 'lr' and {len(degradations)} in "
            "'degradation'; expected as many of each. Connect all three to the same Degrade Photo."
        )
    height, width = lr.shape[1:3]
    for degradation in degradations:
        wanted = height * degradation.scale, width * degradation.scale
        if hr.shape[1:3] != wanted:
            raise ValueError(
                f"'hr' has {hr.shape[2]}x{hr.shape[1]} px; expected "
                f"{wanted[1]}x{wanted[0]}, {degradation.scale} times 'lr' of {width}x{height}. Connect hr of "
                "Degrade Photo, not the photo that went into it."
            )
