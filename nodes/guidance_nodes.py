"""Nodes for semantic guidance and the semantic ControlNet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io
from torch import Tensor

from ..host import paths
from ..image import from_socket
from . import sockets
from .bounds import LoadsWeights, Node

if TYPE_CHECKING:
    from ..host.adapter import LoadedAdapter
    from ..host.controlnet import SemanticControlNet
    from ..models.semantics import Semantics


class LoadSemanticAdapter(LoadsWeights, Node):
    """Loads the image attentions of a SeeSR or SRlab UNet."""

    KIND, WIDGET = "adapter", "adapter_name"

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_LoadSemanticAdapter",
            display_name="Load Semantic Adapter",
            category="ugc_sr/loaders",
            description="Load the part of a SeeSR or SRlab UNet that looks at semantics. To fetch the file "
            "with all that it is used with, in a terminal in custom_nodes: python -m ugc_sr.models fetch "
            "srlab, or fetch seesr. By hand: docs/weights.md.",
            search_aliases=["seesr", "srlab", "image attention", "semantic unet"],
            inputs=[
                cls.file_input(
                    "UNet of SeeSR or SRlab in models/model_patches: a .safetensors file or their "
                    "folder unet, whole or its image attentions alone. The base model comes from a "
                    "checkpoint of Stable Diffusion 2 as usual."
                ),
            ],
            outputs=[
                sockets.Adapter.Output(
                    "adapter", display_name="adapter", tooltip="For Apply Semantic Guidance."
                )
            ],
        )

    @classmethod
    def execute(cls, adapter_name: str) -> io.NodeOutput:
        from ..host.adapter import load_adapter

        return io.NodeOutput(load_adapter(paths.load_weights(cls.KIND, adapter_name), adapter_name))


class ApplySemanticGuidance(Node):
    """Adds image attentions to semantic tokens to a MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_ApplySemanticGuidance",
            display_name="Apply Semantic Guidance",
            category="ugc_sr",
            description="Guide every step of the restoration by what the photo shows. Guidances add up.",
            search_aliases=["seesr", "srlab", "semantics", "image attention", "sam2 guidance"],
            inputs=[
                io.Model.Input("model", tooltip="Model that the adapter was trained on; LoRAs keep acting."),
                sockets.Adapter.Input("adapter", tooltip="From Load Semantic Adapter or Load Nano Model."),
                sockets.Semantics.Input("semantics", tooltip="From Encode Semantics, of the small photo."),
                _strength(maximum=2.0),
                *_range(),
            ],
            outputs=[io.Model.Output(tooltip="The model, guided.")],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        adapter: LoadedAdapter,
        semantics: Semantics,
        strength: float,
        start_percent: float,
        end_percent: float,
    ) -> io.NodeOutput:
        from ..host.guidance import apply_guidance

        guided = apply_guidance(model, adapter, semantics, strength, start_percent, end_percent)
        return io.NodeOutput(guided)


class LoadSemanticControlNet(LoadsWeights, Node):
    """Loads a ControlNet with image attentions."""

    KIND, WIDGET = "controlnet", "control_net_name"

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_LoadSemanticControlNet",
            display_name="Load Semantic ControlNet",
            category="ugc_sr/loaders",
            description="Load a ControlNet that looks at semantics, as SeeSR and SRlab publish it. To fetch "
            "the file with that of Load Semantic Adapter, in a terminal in custom_nodes: python -m "
            "ugc_sr.models fetch srlab, or fetch seesr. By hand: docs/weights.md.",
            search_aliases=["seesr", "srlab", "controlnet loader"],
            inputs=[
                cls.file_input(
                    "ControlNet of SeeSR or SRlab in models/controlnet: a .safetensors file or their "
                    "folder controlnet. The core loader would drop its image attentions without a word."
                ),
            ],
            outputs=[
                io.ControlNet.Output(
                    "control_net", display_name="control_net", tooltip="For Apply Semantic ControlNet."
                )
            ],
        )

    @classmethod
    def execute(cls, control_net_name: str) -> io.NodeOutput:
        from ..host.controlnet import load_controlnet

        weights = paths.load_weights(cls.KIND, control_net_name)
        return io.NodeOutput(load_controlnet(weights, control_net_name))


class ApplySemanticControlNet(Node):
    """Adds a semantic ControlNet to the conditionings."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_ApplySemanticControlNet",
            display_name="Apply Semantic ControlNet",
            category="ugc_sr",
            description="Hold the restoration to the structure of the photo, helped by what the photo shows.",
            search_aliases=["seesr", "srlab", "controlnet", "apply controlnet"],
            inputs=[
                io.Conditioning.Input("positive", tooltip="What the result should look like."),
                io.Conditioning.Input("negative", tooltip="What it should not look like; unused at cfg 1."),
                io.ControlNet.Input("control_net", tooltip="From its loader or Load Nano Model."),
                io.Image.Input(
                    "hint",
                    tooltip="The photo at the size of the result, from Prepare Photo, as for VAE Encode.",
                ),
                sockets.Semantics.Input("semantics", tooltip="From Encode Semantics, of the small photo."),
                _strength(maximum=10.0),
                *_range(),
            ],
            outputs=[
                io.Conditioning.Output(
                    "positive", display_name="positive", tooltip="For KSampler, with the control attached."
                ),
                io.Conditioning.Output(
                    "negative", display_name="negative", tooltip="For KSampler, with the control attached."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        positive: list,
        negative: list,
        control_net: SemanticControlNet,
        hint: Tensor,
        semantics: Semantics,
        strength: float,
        start_percent: float,
        end_percent: float,
    ) -> io.NodeOutput:
        from ..host.controlnet import apply_controlnet

        positive, negative = apply_controlnet(
            (positive, negative),
            control_net,
            from_socket(hint)[:, :3],
            semantics,
            strength,
            (start_percent, end_percent),
        )
        return io.NodeOutput(positive, negative)


def _strength(maximum: float) -> io.Float.Input:
    return io.Float.Input(
        "strength",
        default=1.0,
        min=0.0,
        max=maximum,
        step=0.01,
        tooltip="How much the photo's content weighs. 1 is what the weights were trained for, 0 is off.",
    )


def _range() -> list[io.Float.Input]:
    return [
        io.Float.Input(name, default=default, min=0.0, max=1.0, step=0.001, tooltip=tooltip)
        for name, default, tooltip in (
            (
                "start_percent",
                0.0,
                "Part of the sampling after which it begins to act; 0 acts from the first step.",
            ),
            (
                "end_percent",
                1.0,
                "Part of the sampling after which it stops; the late steps draw the fine detail.",
            ),
        )
    ]
