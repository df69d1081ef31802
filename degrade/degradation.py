"""A degradation: the list of effects, with all parameters fixed, that turns a clean photo into a pair."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..files import brief, demand, parse_json
from .effects import EFFECTS
from .effects.effect import Value


@dataclass(frozen=True)
class Draw:
    """One effect with fixed parameters; `seed` is for effects that draw noise."""

    op: str
    parameters: Mapping[str, Value]
    seed: int


@dataclass(frozen=True)
class Degradation:
    """Effects in order, the scale, and the recipe and seed that they were drawn from.

    Args:
        recipe: name of the recipe.
        seed: seed of the draw.
        scale: side of the clean photo / side of the damaged one.
        draws: effects that make the damaged photo from the clean one.
        clean: effects applied to the photo first, and so to both sides of the pair.
        target: effects applied to the clean side alone, after the damaged one was made.
    """

    recipe: str
    seed: int
    scale: int
    draws: tuple[Draw, ...]
    clean: tuple[Draw, ...] = ()
    target: tuple[Draw, ...] = ()

    def to_json(self) -> str:
        """Return the degradation as one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Degradation":
        """Return the degradation that `to_json` wrote.

        Raises:
            ValueError: naming the error, if the text is not a degradation.
        """
        try:
            data = parse_json(text)
        except ValueError as error:
            raise ValueError(f"degradation: not JSON: {error}.") from None
        if not isinstance(data, dict):
            raise ValueError(f"degradation: expected a JSON object, got {type(data).__name__}.")
        try:
            parts = {part: tuple(Draw(**draw) for draw in data.get(part, ())) for part in PARTS}
            made = cls(**{**data, **parts})
        except TypeError as error:
            raise ValueError(f"degradation: {error}; expected a degradation as JSON.") from None
        made.check()
        return made

    def check(self) -> None:
        """Check every draw against the effects, before any is applied.

        Raises:
            ValueError: naming the draw and the error.
        """
        allowed = type(self.scale) is int and self.scale >= 1  # True is an int too
        demand(allowed, "degradation:", "scale must be a whole number from 1 on", self.scale)
        for part in PARTS:
            for index, draw in enumerate(getattr(self, part)):
                where = f"degradation: {part}[{index}]:"
                if not isinstance(draw.op, str) or draw.op not in EFFECTS:
                    raise ValueError(f"{where} unknown op {brief(draw.op)}; known are {', '.join(EFFECTS)}.")
                named = isinstance(draw.parameters, Mapping)
                demand(named, where, "parameters must be an object", draw.parameters)
                seeds = type(draw.seed) is int and 0 <= draw.seed < 2**64
                demand(seeds, where, "seed must be a whole number in 0..2^64-1", draw.seed)
                try:
                    EFFECTS[draw.op].check(draw.parameters)
                except ValueError as error:
                    raise ValueError(f"{where} {error}") from None


PARTS = ("clean", "draws", "target")


class Pair(NamedTuple):
    """A clean photo (B, 3, H, W) and its damaged version (B, 3, H / scale, W / scale), in steps of 1/255."""

    hr: Tensor
    lr: Tensor


def apply(degradation: Degradation, photo: Tensor) -> Pair:
    """Return a training pair made from photos (B, 3, H, W), RGB in [0, 1].

    The photo is cropped at the bottom and the right to a multiple of the scale. All photos of a batch get
    the same draws and the same noise; each comes out as it would alone.

    Raises:
        ValueError: if the photo is smaller than the scale, or a draw can't be applied.
    """
    degradation.check()
    scale = degradation.scale
    height, width = photo.shape[2] // scale, photo.shape[3] // scale
    if not height or not width:
        raise ValueError(
            f"a photo of {photo.shape[3]}x{photo.shape[2]} px can't be shrunk by {scale}; "
            "use a larger photo or a smaller scale."
        )
    # Contiguous, as torch's sums round differently in another memory layout.
    photo = photo[:, :, : height * scale, : width * scale].contiguous()
    pairs = [_apply(degradation, one, (height, width)) for one in photo.split(1)]
    return pairs[0] if len(pairs) == 1 else Pair(*(torch.cat(side) for side in zip(*pairs, strict=True)))


def _apply(degradation: Degradation, photo: Tensor, lr_size: tuple[int, int]) -> Pair:
    clean = _quantise(_run(degradation.clean, photo, lr_size))
    lr = _run(degradation.draws, clean, lr_size)
    if lr.shape[2:] != lr_size:
        lr = EFFECTS["shrink"](lr, mode="area", lr_size=lr_size)
    hr = _run(degradation.target, clean, lr_size)
    return Pair(_quantise(hr), _quantise(lr))


def _run(draws: tuple[Draw, ...], image: Tensor, lr_size: tuple[int, int]) -> Tensor:
    for draw in draws:
        effect = EFFECTS[draw.op]
        # The generator is on the CPU, so that the noise is the same for every device.
        context = {"generator": torch.Generator().manual_seed(draw.seed), "lr_size": lr_size}
        given = {name: value for name, value in context.items() if name in effect.context}
        image = effect(image, **given, **draw.parameters)
    return image


def _quantise(image: Tensor) -> Tensor:
    """Round and clamp to 8 bits."""
    return image.mul(255).round_().clamp_(0, 255).div_(255)
