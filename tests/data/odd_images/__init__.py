"""Custom nodes for tests: what a broken node upstream could hand over, and a CLIP without meaning."""

import ctypes
import gc

import torch

NAN, INFINITE = float("nan"), float("inf")
IMAGES = {
    "NaN": lambda: torch.full((1, 24, 40, 3), NAN),
    "five channels": lambda: torch.full((1, 24, 40, 5), 0.5),
    "no photos": lambda: torch.zeros(0, 24, 40, 3),
    "no rows": lambda: torch.zeros(1, 0, 40, 3),
    "no batch": lambda: torch.zeros(24, 40, 3),
    "panorama": lambda: torch.full((1, 24, 200, 3), 0.5),
    "millions": lambda: torch.zeros(1, 1, 1, 3).expand(8_000_000, 1, 1, 3),
    "large": lambda: torch.zeros(1, 1, 1, 3).expand(1, 4096, 8192, 3),
    "infinite": lambda: torch.full((1, 24, 40, 3), INFINITE),
    "one channel": lambda: torch.full((1, 24, 40, 1), 0.5),
    "beyond white": lambda: torch.linspace(-1e30, 1e30, 24 * 40 * 3).view(1, 24, 40, 3),
    "half": lambda: torch.full((2, 24, 40, 3), 0.5, dtype=torch.float16),
    "double": lambda: torch.full((1, 24, 40, 4), 0.5, dtype=torch.float64),
    "bytes": lambda: torch.full((1, 24, 40, 3), 200, dtype=torch.uint8),
    "strided": lambda: torch.rand(40, 24, 3, 3).permute(2, 1, 0, 3)[:, ::2, ::2],
    "a line": lambda: torch.rand(1, 1, 300, 3),
    "a column": lambda: torch.rand(1, 300, 1, 4),
}
MASKS = {
    "NaN": lambda: torch.full((1, 24, 40), NAN),
    "empty": lambda: torch.zeros(0, 24, 40),
    "flat": lambda: torch.full((24, 40), 0.5),
    "deep": lambda: torch.full((1, 1, 24, 40), 0.5),
    "three": lambda: torch.rand(3, 24, 40),
    "beyond white": lambda: torch.full((1, 24, 40), 1e30),
    "bytes": lambda: torch.ones((1, 24, 40), dtype=torch.uint8),
    "wide": lambda: torch.ones(1, 24, 400),
}
TOWER = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "hidden_act": "gelu",
    "image_size": 28,
    "patch_size": 14,
    "num_channels": 3,
    "projection_dim": 32,
    "model_type": "clip_vision_model",
}


class Odd:
    CATEGORY = "test"
    FUNCTION = "make"

    def make(self, kind):
        return (self.KINDS[kind](),)


class OddImage(Odd):
    RETURN_TYPES = ("IMAGE",)
    KINDS = IMAGES

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"kind": (list(IMAGES),)}}


class OddMask(Odd):
    RETURN_TYPES = ("MASK",)
    KINDS = MASKS

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"kind": (list(MASKS),)}}


class RandomClip:
    """Both towers of a CLIP, of Stable Diffusion 2's build, small and with random weights."""

    CATEGORY = "test"
    FUNCTION = "make"
    RETURN_TYPES = ("CLIP", "CLIP_VISION")

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def make(self):
        import comfy.sd
        from comfy.clip_vision import ClipVisionModel
        from comfy.text_encoders.sd2_clip import SD2ClipModel, SD2Tokenizer

        class Target:
            clip, tokenizer = SD2ClipModel, SD2Tokenizer
            params: dict = {}  # noqa: RUF012 - the host's own form

        clip = comfy.sd.CLIP(Target(), model_options={"clip_h_model_config": TOWER})
        vision = ClipVisionModel(TOWER)
        for module in (clip.cond_stage_model, vision.model):
            for parameter in module.parameters():
                seeded = torch.Generator().manual_seed(parameter.numel())
                parameter.data.normal_(std=0.3, generator=seeded)
        return clip, vision


class LetGo:
    """Gives back to the system what the C library keeps of freed memory."""

    CATEGORY = "test"
    FUNCTION = "run"
    RETURN_TYPES = ()
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    @classmethod
    def IS_CHANGED(cls):
        return float("nan")

    def run(self):
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        return ()


NODE_CLASS_MAPPINGS = {node.__name__: node for node in (OddImage, OddMask, RandomClip, LetGo)}
