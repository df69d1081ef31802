"""The extension and its nodes, in the order of a graph.

Nodes import what they need to run inside `execute`, so that ComfyUI starts quickly.
"""

from comfy_api.latest import ComfyExtension, io

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
    """The extension's entry point for ComfyUI."""

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
