"""A recipe: a distribution of degradations as data."""

import copy
import json
import random
from dataclasses import dataclass, replace
from typing import Any

from ..files import brief, demand, parse_json
from .degradation import Degradation
from .effects import EFFECTS
from .steps import Steps, check_keys, check_steps, draw_steps, effects_in, step

MAX_SCALE = 16
PARTS = ("clean", "steps", "target")


@dataclass(frozen=True)
class Recipe:
    """A distribution of degradations.

    Args:
        name: part of the random seed: the same steps under another name give other draws.
        scale: side of the clean photo / side of the damaged one; `draw` may override it.
        steps: the damage, in order, in the form that steps.py describes. It is never modified.
        source: origin of the numbers; 'assumed' where they are our own.
        clean: effects applied before the damage, which belong to the target too: captions, stickers, colour
            filters.
        target: effects applied to the target alone: sharpening.

    Raises:
        ValueError: naming the field, if an effect or parameter is unknown, missing or out of range.
    """

    name: str
    scale: int
    steps: Steps
    source: str
    clean: Steps = ()
    target: Steps = ()

    def __post_init__(self) -> None:
        head = f"recipe {brief(self.name)}"
        demand(isinstance(self.name, str) and self.name.strip(), head, "name must be a text", self.name)
        demand(isinstance(self.source, str), head, "source must be a text", self.source)
        allowed = type(self.scale) is int and 1 <= self.scale <= MAX_SCALE  # True is an int too
        demand(allowed, head, f"scale must be a whole number in 1..{MAX_SCALE}", self.scale)
        for part in PARTS:
            steps = getattr(self, part)
            object.__setattr__(self, part, list(steps) if isinstance(steps, tuple) else steps)
            check_steps(getattr(self, part), f"{head}: {part}")

    def draw(self, seed: int, scale: int | None = None) -> Degradation:
        """Return a degradation with all parameters drawn; a seed gives the same draws at every scale."""
        rng = random.Random(f"{self.name}:{seed}")
        clean, steps, target = (tuple(draw_steps(getattr(self, part), rng)) for part in PARTS)
        return Degradation(self.name, seed, scale or self.scale, steps, clean, target)

    def sharpened(self) -> "Recipe":
        """Return the recipe with the sharpened target of Real-ESRGAN: crisper results, lower PSNR."""
        return replace(self, target=[*self.target, step("usm")])

    def differentiable(self) -> "Recipe":
        """Return the recipe with JPEG computed in PyTorch, which stays on the GPU and passes gradients.

        Raises:
            ValueError: if a step is a codec that PyTorch can't compute.
        """
        data = self.to_data()
        for entry in effects_in([entry for part in PARTS for entry in data.get(part, ())]):
            if not EFFECTS[entry["op"]].in_torch:
                raise ValueError(f"recipe {self.name!r} uses {entry['op']}, which PyTorch can't compute.")
            if entry["op"] == "jpeg":  # kornia knows no other subsampling
                entry["parameters"] |= {"codec": "kornia", "subsampling": "4:2:0"}
        return Recipe.from_data(data)

    def to_json(self) -> str:
        """Return the recipe as indented JSON."""
        return json.dumps(self.to_data(), indent=2, ensure_ascii=False)

    def to_data(self) -> dict[str, Any]:
        """Return the recipe as new JSON data, without empty parts."""
        parts = {part: copy.deepcopy(getattr(self, part)) for part in PARTS if getattr(self, part)}
        return {"name": self.name, "scale": self.scale, "source": self.source, **parts}

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """Return the recipe that `to_json` wrote.

        Raises:
            ValueError: naming the wrong field.
        """
        try:
            data = parse_json(text)
        except ValueError as error:
            raise ValueError(f"recipe: not JSON: {error}.") from None
        return cls.from_data(data)

    @classmethod
    def from_data(cls, data: Any) -> "Recipe":
        """Return the recipe that `to_data` wrote.

        Raises:
            ValueError: naming the field that is missing, unknown or wrong.
        """
        head = f"recipe {brief(data['name'])}" if isinstance(data, dict) and "name" in data else "recipe"
        check_keys(data, head, required=("name", "scale", "source", "steps"), optional=("clean", "target"))
        return cls(**data)
