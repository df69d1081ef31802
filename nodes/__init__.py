"""The extension and its nodes, in the order of a graph.

Nodes import what they need to run inside `execute`, so that ComfyUI starts quickly.
"""

from comfy_api.latest import ComfyExtension, io

from .degrade_nodes import DegradeImage, ReplayDegradation
from .guidance_nodes import (
    ApplySemanticControlNet,
    ApplySemanticGuidance,
    LoadSemanticAdapter,
    LoadSemanticControlNet,
)
from .image_nodes import FinishImage, MatchColor, PrepareImage
from .nano_node import LoadNanoModel
from .pair_node import SaveTrainingPairs
from .plan_node import PlanRestoration
from .preset_node import RestorationPreset
from .recipe_nodes import EditRecipe, LoadRecipe, PreviewDegradation
from .region_nodes import BlendRegions, WeighRegions
from .sampling_nodes import LRStart, TileDiffusion
from .score_nodes import CompareSheet, ScoreImage
from .semantics_nodes import EncodeSemantics, LoadSAM2Encoder
from .tag_nodes import EncodeTags, TagPhoto


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
