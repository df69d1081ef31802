"""A recipe: a distribution of degradations as data."""

import json
import random
from dataclasses import dataclass, replace
from typing import Any

from ..files import brief, parse_json
from .degradation import Degradation
from .schema import check_entries, check_keys, demand, entries_from_data, entries_to_data
from .steps import Entry, Step, change_steps, draw_all

MAX_SCALE = 16
PARTS = ("clean", "steps", "target")


@dataclass(frozen=True)
class Recipe:
    """A distribution of degradations.

    Args:
        name: part of the random seed: the same steps under another name give other draws.
        scale: side of the clean photo / side of the damaged one; `draw` may override it.
        steps: the damage, in order.
        source: origin of the numbers; 'assumed' where they are our own.
        clean: effects applied before the damage, which belong to the target too: captions, stickers, colour
            filters.
        target: effects applied to the target alone: sharpening.

    Raises:
        ValueError: naming the field, if an effect or parameter is unknown, missing or out of range.
    """

    name: str
    scale: int
    steps: tuple[Entry, ...]
    source: str
    clean: tuple[Entry, ...] = ()
    target: tuple[Entry, ...] = ()

    def __post_init__(self) -> None:
        head = f"recipe {brief(self.name)}"
        demand(isinstance(self.name, str) and self.name.strip(), head, "name must be a text", self.name)
        demand(isinstance(self.source, str), head, "source must be a text", self.source)
        whole = isinstance(self.scale, int) and not isinstance(self.scale, bool)
        allowed = whole and 1 <= self.scale <= MAX_SCALE
        demand(allowed, head, f"scale must be a whole number in 1..{MAX_SCALE}", self.scale)
        for part in PARTS:
            check_entries(getattr(self, part), f"{head}: {part}")

    def draw(self, seed: int, scale: int | None = None) -> Degradation:
        """Return a degradation with all parameters drawn; a seed gives the same draws at every scale."""
        rng = random.Random(f"{self.name}:{seed}")
        clean, steps, target = (tuple(draw_all(part, rng)) for part in (self.clean, self.steps, self.target))
        return Degradation(self.name, seed, scale or self.scale, steps, clean, target)

    def sharpened(self) -> "Recipe":
        """Return the recipe with the sharpened target of Real-ESRGAN: crisper results, lower PSNR."""
        return replace(self, target=(*self.target, Step("usm", {})))

    def differentiable(self) -> "Recipe":
        """Return the recipe with JPEG computed in PyTorch, which stays on the GPU and passes gradients.

        Raises:
            ValueError: if a step is a codec that PyTorch can't compute.
        """
        swapped = {
            part: change_steps(getattr(self, part), self._on_device) for part in ("clean", "steps", "target")
        }
        return replace(self, **swapped)

    def _on_device(self, step: Step) -> Step:
        if step.op in ("webp", "avif", "video", "caption", "sticker"):
            raise ValueError(f"recipe {self.name!r} uses {step.op}, which PyTorch can't compute.")
        if step.op != "jpeg":
            return step
        computed = {"codec": "kornia", "subsampling": "4:2:0"}  # it knows no other
        return replace(step, parameters={**step.parameters, **computed})

    def to_json(self) -> str:
        """Return the recipe as indented JSON."""
        return json.dumps(self.to_data(), indent=2, ensure_ascii=False)

    def to_data(self) -> dict[str, Any]:
        """Return the recipe as JSON data, without empty parts."""
        parts = {part: entries_to_data(getattr(self, part)) for part in PARTS if getattr(self, part)}
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
        parts = {part: entries_from_data(data.get(part, []), f"{head}: {part}") for part in PARTS}
        return cls(name=data["name"], scale=data["scale"], source=data["source"], **parts)
