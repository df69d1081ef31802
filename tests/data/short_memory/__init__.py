"""Custom nodes for tests: parts that run out of memory some of the times that they are used."""

import copy
import dataclasses
from itertools import count

import torch
from comfy.patcher_extension import WrappersMP


def failing(times, function, after=0):
    """`function`, which works `after` times, then fails `times` times before it works again."""
    calls = count()

    def run(*args, **kwargs):
        if after <= next(calls) < after + times:
            raise torch.OutOfMemoryError("out of memory, for a test")
        return function(*args, **kwargs)

    return run


class ShortPart:
    CATEGORY = "test"
    FUNCTION = "shorten"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"part": (cls.RETURN_TYPES[0],), "times": ("INT", {"default": 1})}}


class ShortVAE(ShortPart):
    RETURN_TYPES = ("VAE",)

    @classmethod
    def INPUT_TYPES(cls):
        types = super().INPUT_TYPES()
        types["required"]["stage"] = (["encode", "decode"],)
        return types

    def shorten(self, part, times, stage):
        short = copy.copy(part)
        short.first_stage_model = copy.copy(part.first_stage_model)
        setattr(short.first_stage_model, stage, failing(times, getattr(part.first_stage_model, stage)))
        return (short,)


class ShortModel(ShortPart):
    RETURN_TYPES = ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls):
        types = super().INPUT_TYPES()
        types["optional"] = {"after": ("INT", {"default": 0})}
        return types

    def shorten(self, part, times, after=0):
        short = part.clone()
        fail = failing(times, lambda run, *args, **kwargs: run(*args, **kwargs), after)
        short.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "short_memory", fail)
        return (short,)


class ShortEncoder(ShortPart):
    RETURN_TYPES = ("UGCSR_ENCODER",)

    def shorten(self, part, times):
        module = copy.copy(part.patcher.model)
        module.forward = failing(times, part.patcher.model.forward)
        patcher = type(part.patcher)(
            module, load_device=part.patcher.load_device, offload_device=part.patcher.offload_device
        )
        return (dataclasses.replace(part, patcher=patcher),)


NODE_CLASS_MAPPINGS = {node.__name__: node for node in (ShortVAE, ShortModel, ShortEncoder)}
