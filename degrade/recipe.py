"""A recipe: what may happen to a photo, how likely and how strongly, as data."""

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
        name: it goes into the draws: the same steps under another name draw otherwise.
        scale: size of the clean photo / size of the damaged one, unless `draw` is told otherwise.
        steps: the damage, in order.
        source: where the numbers come from; 'assumed' where they are ours.
        clean: what happens to the photo before it is damaged and so belongs to the target: captions,
            stickers, colour filters.
        target: what happens to the target alone: sharpening.

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
        """Settle every parameter. The same seed gives the same draws, whatever the scale."""
        rng = random.Random(f"{self.name}:{seed}")
        clean, steps, target = (tuple(draw_all(part, rng)) for part in (self.clean, self.steps, self.target))
        return Degradation(self.name, seed, scale or self.scale, steps, clean, target)

    def sharpened(self) -> "Recipe":
        """The same recipe with a target sharpened as in Real-ESRGAN; crisper results, lower PSNR."""
        return replace(self, target=(*self.target, Step("usm", {})))

    def differentiable(self) -> "Recipe":
        """The same recipe with JPEG computed in PyTorch: it stays on the GPU and lets gradients through.

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
        """The recipe as JSON to read and edit."""
        return json.dumps(self.to_data(), indent=2, ensure_ascii=False)

    def to_data(self) -> dict[str, Any]:
        """The recipe as what JSON can hold; parts without steps are left out."""
        parts = {part: entries_to_data(getattr(self, part)) for part in PARTS if getattr(self, part)}
        return {"name": self.name, "scale": self.scale, "source": self.source, **parts}

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """The inverse of `to_json`.

        Raises:
            ValueError: naming the bad field.
        """
        try:
            data = parse_json(text)
        except ValueError as error:
            raise ValueError(f"recipe: not JSON: {error}.") from None
        return cls.from_data(data)

    @classmethod
    def from_data(cls, data: Any) -> "Recipe":
        """The inverse of `to_data`.

        Raises:
            ValueError: naming the field that is missing, unknown or wrong.
        """
        head = f"recipe {brief(data['name'])}" if isinstance(data, dict) and "name" in data else "recipe"
        check_keys(data, head, required=("name", "scale", "source", "steps"), optional=("clean", "target"))
        parts = {part: entries_from_data(data.get(part, []), f"{head}: {part}") for part in PARTS}
        return cls(name=data["name"], scale=data["scale"], source=data["source"], **parts)
