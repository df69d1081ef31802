"""The node that outputs the settings of a named preset."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..host.samplers import SAMPLERS, SCHEDULERS
from .bounds import Node

PRESETS = {
    "wild": "SRlab's for photos from phones and social networks, at their own size",
    "synthetic": "SRlab's for shrunk and compressed photos, four times as large",
    "seesr": "SeeSR's own",
    "balanced": "20 steps",
    "fast": "10 steps",
    "turbo": "SeeSR's with sd-turbo",
    "nano": "the bundled model",
}

# Outputs after the prompts, in order; the type of KSampler's menus is the list of their options.
OUTPUTS: dict[str, tuple[str, Any, str]] = {
    "steps": ("KSampler.steps", "INT", "For KSampler."),
    "cfg": ("KSampler.cfg", "FLOAT", "For KSampler. At 1 the negative prompt is unused and time halves."),
    "sampler_name": ("KSampler.sampler_name", SAMPLERS, "For KSampler."),
    "scheduler": ("KSampler.scheduler", SCHEDULERS, "For KSampler."),
    "guidance_strength": ("UGCSR_ApplySemanticGuidance.strength", "FLOAT", "For Apply Semantic Guidance."),
    "control_strength": ("UGCSR_ApplySemanticControlNet.strength", "FLOAT", "For Apply Semantic ControlNet."),
    "color_method": ("UGCSR_MatchColor.method", "COMBO", "For Match Color."),
    "denoise": ("KSampler.denoise", "FLOAT", "For KSampler; 1 unless 'fidelity' changes it."),
    "guidance_start": (
        "UGCSR_ApplySemanticGuidance.start_percent",
        "FLOAT",
        "For Apply Semantic Guidance; 0 unless 'fidelity' changes it.",
    ),
    "guidance_end": (
        "UGCSR_ApplySemanticGuidance.end_percent",
        "FLOAT",
        "For Apply Semantic Guidance; 1 unless 'fidelity' changes it.",
    ),
    "control_start": (
        "UGCSR_ApplySemanticControlNet.start_percent",
        "FLOAT",
        "For Apply Semantic ControlNet; 0 unless 'fidelity' changes it.",
    ),
    "control_end": (
        "UGCSR_ApplySemanticControlNet.end_percent",
        "FLOAT",
        "For Apply Semantic ControlNet; 1 unless 'fidelity' changes it.",
    ),
}


class RestorationPreset(Node):
    """Outputs settings for the other nodes of a restoration."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_RestorationPreset",
            display_name="Restoration Preset",
            category="ugc_sr",
            description="Settings, prompts and start that go together. wild and synthetic are SRlab's, seesr "
            "and turbo SeeSR's, all for the published weights on Stable Diffusion 2-base, turbo on sd-turbo; "
            "balanced and fast are quicker and not yet measured; nano is for the bundled model. Where each "
            "number comes from: docs/presets.md.",
            search_aliases=[
                "settings",
                "phone photo",
                "social media photo",
                "faithful or sharp",
                "SeeSR",
                "SRlab",
                "prompt",
                "wild",
                "synthetic",
                "turbo",
                "balanced",
                "手机照片",
                "社交媒体",
            ],
            inputs=[
                io.Model.Input(
                    "model", tooltip="Model that restores, before or after its guidance and tiles."
                ),
                io.Latent.Input("latent", tooltip="From VAE Encode of the hint."),
                io.Combo.Input(
                    "preset",
                    options=list(PRESETS),
                    default="wild",
                    tooltip="; ".join(f"{name}: {purpose}" for name, purpose in PRESETS.items()) + ".",
                ),
                io.String.Input(
                    "tags",
                    default="",
                    multiline=True,
                    tooltip="What the photo shows, from Tag Photo, any captioner or typed, between commas or "
                    "lines. All lines make one prompt. Empty is fine.",
                ),
                io.String.Input(
                    "extra_prompt",
                    default="",
                    optional=True,
                    tooltip="Words that come after the tags as they are.",
                ),
                io.Float.Input(
                    "fidelity",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    tooltip="With nano, 1 is the picture that is truest to the photo and 0 the sharpest, "
                    "whatever the sharpness of Load Nano Model. With other presets nothing changes, as the "
                    "trade was not measured with them.",
                ),
            ],
            outputs=[
                io.Model.Output("model", display_name="model", tooltip="The model, with the preset's start."),
                io.Latent.Output(
                    "latent",
                    display_name="latent",
                    tooltip="For KSampler: the photo's, or empty where the preset starts from noise alone.",
                ),
                io.String.Output("positive", display_name="positive", tooltip="For CLIP Text Encode."),
                io.String.Output("negative", display_name="negative", tooltip="For CLIP Text Encode."),
                *(
                    io.Custom(kind).Output(name, display_name=name, tooltip=tooltip)
                    for name, (_, kind, tooltip) in OUTPUTS.items()
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        latent: dict,
        preset: str,
        tags: str,
        extra_prompt: str = "",
        fidelity: float = 1.0,
    ) -> io.NodeOutput:
        from ..host.preset_start import prepare
        from ..sample.presets import load

        chosen = load(preset)
        values = chosen.at(fidelity)
        return io.NodeOutput(
            *prepare(chosen, model, latent, fidelity),
            chosen.positive(tags, extra_prompt),
            chosen.negative,
            *(values[target] for target, _, _ in OUTPUTS.values()),
        )
