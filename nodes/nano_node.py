"""The node that loads the bundled model."""

from comfy_api.latest import io

from .bounds import Node
from .sockets import Adapter, Encoder

# Search terms of users who want a better photo, in both languages of the extension.
WORDS = (
    "nano",
    "bundled model",
    "super resolution",
    "restore photo",
    "sharpen",
    "unblur",
    "deblur",
    "denoise",
    "upscale",
    "upscaler",
    "enhance",
    "enhancer",
    "improve quality",
    "blurry",
    "pixelated",
    "compression",
    "jpeg artifacts",
    "old phone",
    "WhatsApp",
    "Instagram",
    "修复照片",
    "锐化",
    "去模糊",
    "去噪",
    "放大",
    "变清晰",
    "画质增强",
    "压缩",
    "微信",
)


class LoadNanoModel(Node):
    """Loads every part of the bundled model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="UGCSR_LoadNanoModel",
            display_name="Load Nano Model",
            category="ugc_sr/loaders",
            description=(
                "The small restoration model that ships with the extension: no download, no GPU needed. "
                "Restores photos at scales 1 to 4 in one step "
                "(KSampler: 1 step, cfg 1, euler, simple, denoise 1). The blueprint Restore Photo wires it."
            ),
            search_aliases=list(WORDS),
            inputs=[
                io.Float.Input(
                    "sharpness",
                    default=0.75,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    optional=True,
                    tooltip="1 is the sharpest picture that the model can make, with detail that it guesses; "
                    "0 is the truest, without it. Restoration Preset sets it by its fidelity.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="Restores the latent that VAE Encode makes."),
                io.Conditioning.Output(
                    display_name="conditioning",
                    tooltip="Stands in for a prompt: the model reads no text. Connect it to both inputs of "
                    "Apply Semantic ControlNet.",
                ),
                io.Vae.Output(display_name="vae", tooltip="Encoding already removes noise and blocking."),
                Adapter.Output(display_name="adapter", tooltip="For Apply Semantic Guidance."),
                io.ControlNet.Output(display_name="control_net", tooltip="For Apply Semantic ControlNet."),
                Encoder.Output(display_name="encoder", tooltip="For Encode Semantics."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **_: float) -> float:
        """Return the modification time of the file, in seconds; 0 if it is missing."""
        from ..host.nano import WEIGHTS

        return WEIGHTS.stat().st_mtime if WEIGHTS.is_file() else 0.0

    @classmethod
    def execute(cls, sharpness: float = 0.75) -> io.NodeOutput:
        from ..host.nano import load_nano, sharpened

        nano = load_nano()
        model = sharpened(nano.model, sharpness)
        return io.NodeOutput(model, nano.conditioning, nano.vae, nano.adapter, nano.control_net, nano.encoder)
