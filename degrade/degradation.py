"""A degradation: what one photo goes through, with every number settled; it replays to the same pixels."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..files import brief, parse_json
from .effects import EFFECTS
from .effects.effect import Value, check, context


@dataclass(frozen=True)
class Draw:
    """One effect with every parameter settled; `seed` feeds the effects that need noise."""

    op: str
    parameters: Mapping[str, Value]
    seed: int


@dataclass(frozen=True)
class Degradation:
    """The draws in order, the factor between the sizes, and the recipe and seed that they came from.

    Args:
        recipe: name of the recipe.
        seed: seed of the draw.
        scale: size of the clean photo / size of the damaged one.
        draws: what makes the damaged photo of the clean one.
        clean: what happens to the photo before, and so to both.
        target: what happens to the clean photo alone, after the damaged one was made of it.
    """

    recipe: str
    seed: int
    scale: int
    draws: tuple[Draw, ...]
    clean: tuple[Draw, ...] = ()
    target: tuple[Draw, ...] = ()

    def to_json(self) -> str:
        """The whole degradation as one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Degradation":
        """The inverse of `to_json`.

        Raises:
            ValueError: if the text is not a degradation, naming what is wrong.
        """
        try:
            data = parse_json(text)
        except ValueError as error:
            raise ValueError(f"degradation: not JSON: {error}.") from None
        return cls.from_data(data)

    @classmethod
    def from_data(cls, data: Any) -> "Degradation":
        """From parsed JSON.

        Raises:
            ValueError: if it is not a degradation, naming what is wrong.
        """
        if not isinstance(data, dict):
            raise ValueError(f"degradation: expected a JSON object, got {type(data).__name__}.")
        try:
            parts = {part: tuple(Draw(**draw) for draw in data.get(part, ())) for part in PARTS}
            made = cls(**{**data, **parts})
        except TypeError as error:
            raise ValueError(f"degradation: {error}; expected the JSON that Degrade Photo gives.") from None
        made.check()
        return made

    def check(self) -> None:
        """Refuse what can't be applied, before any of it is.

        Raises:
            ValueError: naming the draw and what is wrong with it.
        """
        if type(self.scale) is not int or self.scale < 1:  # True is an int too
            raise ValueError(f"degradation: scale must be a whole number from 1 on, got {brief(self.scale)}.")
        for part in PARTS:
            for index, draw in enumerate(getattr(self, part)):
                where = f"degradation: {part}[{index}]"
                if not isinstance(draw.op, str) or draw.op not in EFFECTS:
                    raise ValueError(f"{where}: unknown op {brief(draw.op)}; known are {', '.join(EFFECTS)}.")
                if not isinstance(draw.parameters, Mapping):
                    raise ValueError(f"{where}: parameters must be an object, got {brief(draw.parameters)}.")
                if type(draw.seed) is not int or not 0 <= draw.seed < 2**64:
                    raise ValueError(
                        f"{where}: seed must be a whole number in 0..2^64-1, got {brief(draw.seed)}."
                    )
                try:
                    check(EFFECTS[draw.op], draw.parameters)
                except ValueError as error:
                    raise ValueError(f"{where}: {error}") from None


PARTS = ("clean", "draws", "target")


class Pair(NamedTuple):
    """A clean photo (B, 3, H, W) and its damaged twin (B, 3, H / scale, W / scale), in steps of 1/255."""

    hr: Tensor
    lr: Tensor


def apply(degradation: Degradation, photo: Tensor) -> Pair:
    """Make a training pair of (B, 3, H, W) RGB in [0, 1].

    The photo is cut at the bottom and right to a multiple of the scale. Every photo of a batch goes
    through the same draws with the same noise, wherever it stands, so that it comes out the same alone.

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
    # In one layout, for torch sums the same numbers otherwise in another.
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
        function = EFFECTS[draw.op]
        given: dict[str, Any] = {}
        if "generator" in context(function):
            # Of the CPU, so that every device gets the same noise.
            given["generator"] = torch.Generator().manual_seed(draw.seed)
        if "lr_size" in context(function):
            given["lr_size"] = lr_size
        image = function(image, **given, **draw.parameters)
    return image


def _quantise(image: Tensor) -> Tensor:
    """To the 8 bits of a file: the one clamp of a chain."""
    return image.mul(255).round_().clamp_(0, 255).div_(255)
