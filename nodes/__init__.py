"""What users see: every node of the extension, in the order of the graph.

What only a queued graph needs, the nodes import when it runs: a start of ComfyUI pays for the list alone.
"""

from comfy_api.latest import ComfyExtension, io

from . import retired
from .degrade import DegradeImage, ReplayDegradation
from .guidance import (
    ApplySemanticControlNet,
    ApplySemanticGuidance,
    LoadSemanticAdapter,
    LoadSemanticControlNet,
)
from .image import FinishImage, MatchColor, PrepareImage
from .nano import LoadNanoModel
from .pairs import SaveTrainingPairs
from .plan import PlanRestoration
from .presets import RestorationPreset
from .recipes import EditRecipe, LoadRecipe, PreviewDegradation
from .regions import BlendRegions, WeighRegions
from .sampling import LRStart, TileDiffusion
from .score import CompareSheet, ScoreImage
from .semantics import EncodeSemantics, LoadSAM2Encoder
from .tags import EncodeTags, TagPhoto


class Extension(ComfyExtension):
    """The table of contents."""

    async def on_load(self) -> None:
        """Say what stands for nodes that workflows of older versions hold."""
        await retired.register()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            LoadNanoModel,
            LoadSAM2Encoder,
            LoadSemanticAdapter,
            LoadSemanticControlNet,
            PrepareImage,
            EncodeSemantics,
            ApplySemanticGuidance,
            ApplySemanticControlNet,
            EncodeTags,
            TagPhoto,
            RestorationPreset,
            PlanRestoration,
            TileDiffusion,
            LRStart,
            WeighRegions,
            MatchColor,
            BlendRegions,
            FinishImage,
            LoadRecipe,
            EditRecipe,
            DegradeImage,
            ReplayDegradation,
            PreviewDegradation,
            SaveTrainingPairs,
            ScoreImage,
            CompareSheet,
        ]
