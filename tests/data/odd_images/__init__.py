"""A custom node for tests: images that a broken node upstream could hand over."""

import torch

IMAGES = {
    "NaN": lambda: torch.full((1, 24, 40, 3), float("nan")),
    "five channels": lambda: torch.full((1, 24, 40, 5), 0.5),
    "no photos": lambda: torch.zeros(0, 24, 40, 3),
    "no rows": lambda: torch.zeros(1, 0, 40, 3),
    "no batch": lambda: torch.zeros(24, 40, 3),
    "panorama": lambda: torch.full((1, 24, 200, 3), 0.5),
    "large": lambda: torch.zeros(1, 1, 1, 3).expand(1, 8192, 8192, 3),
}


class OddImage:
    CATEGORY = "test"
    FUNCTION = "make"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"kind": (list(IMAGES),)}}

    def make(self, kind):
        return (IMAGES[kind](),)


NODE_CLASS_MAPPINGS = {"OddImage": OddImage}
