"""A recipe draws degradations; a degradation is plain data that replays to the same pixels."""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from .blur import blur
from .jpeg import jpeg
from .noise import gaussian_noise, shot_noise
from .resize import rescale, resize

Value = float | int | str | bool

SHRINK = "shrink"  # to the final size
EFFECTS: dict[str, Callable[..., Tensor]] = {"blur": blur, "rescale": rescale, "jpeg": jpeg}
NOISE: dict[str, Callable[..., Tensor]] = {"gaussian_noise": gaussian_noise, "shot_noise": shot_noise}


@dataclass(frozen=True)
class Uniform:
    """A number between `low` and `high`, both whole numbers: a whole number."""

    low: float
    high: float

    def draw(self, rng: random.Random) -> float:
        """A number from the range."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return rng.randint(self.low, self.high)
        return rng.uniform(self.low, self.high)


@dataclass(frozen=True)
class Choice:
    """One of `options`, with `weights` that need not add up to 1."""

    options: tuple[Value, ...]
    weights: tuple[float, ...]

    def draw(self, rng: random.Random) -> Value:
        """One of the options."""
        return rng.choices(self.options, self.weights)[0]


@dataclass(frozen=True)
class Step:
    """One entry of a recipe: `op` happens with `probability`, its parameters come from `parameters`."""

    op: str
    parameters: Mapping[str, Uniform | Choice | Value]
    probability: float = 1.0


@dataclass(frozen=True)
class Draw:
    """One op with every parameter settled; `seed` feeds the ops that need noise."""

    op: str
    parameters: Mapping[str, Value]
    seed: int


@dataclass(frozen=True)
class Degradation:
    """What one photo goes through: the draws in order, the final factor, and where they came from."""

    recipe: str
    seed: int
    scale: int
    draws: tuple[Draw, ...]

    def to_json(self) -> str:
        """The whole degradation as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Degradation":
        """The inverse of `to_json`."""
        data = json.loads(text)
        draws = tuple(Draw(**draw) for draw in data.pop("draws"))
        return cls(draws=draws, **data)


@dataclass(frozen=True)
class Recipe:
    """A distribution of degradations; `source` says where its numbers come from."""

    name: str
    scale: int
    steps: tuple[Step, ...]
    source: str

    def draw(self, seed: int) -> Degradation:
        """Settle every parameter. The same seed gives the same degradation."""
        rng = random.Random(f"{self.name}:{seed}")
        draws = []
        for step in self.steps:
            if rng.random() >= step.probability:
                continue
            parameters = {
                name: value.draw(rng) if isinstance(value, Uniform | Choice) else value
                for name, value in step.parameters.items()
            }
            draws.append(Draw(step.op, parameters, seed=rng.getrandbits(32)))
        return Degradation(self.name, seed, self.scale, tuple(draws))


def apply(degradation: Degradation, hr: Tensor) -> Tensor:
    """Damage (B, 3, H, W) RGB in [0, 1] and shrink it by the degradation's scale.

    Every photo of the batch goes through the same draws with its own noise; the result is
    rounded to 8 bits once, at the end.

    Returns:
        (B, 3, H // scale, W // scale) in [0, 1], multiples of 1/255.

    Raises:
        ValueError: if the photo is smaller than the scale, or an op is unknown.
    """
    height, width = hr.shape[2] // degradation.scale, hr.shape[3] // degradation.scale
    if not height or not width:
        raise ValueError(
            f"degrade: a photo of {hr.shape[3]}x{hr.shape[2]} can't be shrunk by {degradation.scale}."
        )
    image = hr
    for draw in degradation.draws:
        if draw.op == SHRINK:
            image = resize(image, height, width, str(draw.parameters["mode"]))
        elif draw.op in NOISE:
            generator = torch.Generator(device=hr.device).manual_seed(draw.seed)
            image = NOISE[draw.op](image, generator=generator, **draw.parameters)
        elif draw.op in EFFECTS:
            image = EFFECTS[draw.op](image, **draw.parameters)
        else:
            known = ", ".join((SHRINK, *EFFECTS, *NOISE))
            raise ValueError(f"degrade: unknown op {draw.op!r}; known are {known}.")
    if image.shape[2:] != (height, width):
        image = resize(image, height, width, "area")
    return image.mul(255).round().clamp(0, 255).div(255)
