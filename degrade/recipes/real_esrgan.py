"""The two-stage chain of Real-ESRGAN (arXiv 2107.10833), and the settings of methods that use it."""

import math
from dataclasses import dataclass, replace

from ..recipe import Recipe
from ..steps import Distribution, Step, choice, either, step, uniform

Range = tuple[float, float]

_SIZES = tuple(range(7, 22, 2))  # of kernels, in pixels; the published code has them fixed
_MODE = choice(("area", "bilinear", "bicubic"))
_ANGLE = uniform(-math.pi, math.pi)


@dataclass(frozen=True)
class Stage:
    """One of the two stages; its fields are named as in the published settings."""

    blur_prob: float
    kernel_prob: tuple[float, ...]  # Gaussian, generalized, plateau; each round, then stretched
    sinc_prob: float
    blur_sigma: Range
    betag_range: Range
    betap_range: Range
    resize_prob: tuple[float, float, float]  # up, down, keep
    resize_range: Range
    gaussian_noise_prob: float
    noise_range: Range  # grey levels of 255
    poisson_scale_range: Range
    gray_noise_prob: float
    jpeg_range: Range

    def blur(self) -> Step:
        """Return a blur by one of seven families of kernels."""
        sigma, size = uniform(*self.blur_sigma), choice(_SIZES)
        families = []
        for op, beta in (
            ("gaussian_blur", None),
            ("generalized_blur", self.betag_range),
            ("plateau_blur", self.betap_range),
        ):
            shape = {} if beta is None else {"beta": _around_one(*beta)}
            for turned in ({}, {"sigma_y": sigma, "angle": _ANGLE}):
                families.append(step(op, size=size, sigma_x=sigma, **turned, **shape))
        weights = [(1 - self.sinc_prob) * weight for weight in self.kernel_prob]
        branches = [(weight, [family]) for weight, family in zip(weights, families, strict=True) if weight]
        small, large = (tuple(size for size in _SIZES if (size < 13) is least) for least in (True, False))
        for sizes, lowest in ((small, math.pi / 3), (large, math.pi / 5)):
            weight = self.sinc_prob * len(sizes) / len(_SIZES)
            sinc = step("sinc_blur", size=choice(sizes), cutoff=uniform(lowest, math.pi))
            branches.append((weight, [sinc]))
        if self.blur_prob == 1:
            return either(*branches)
        blurred = [(weight * self.blur_prob, steps) for weight, steps in branches]
        return either(*blurred, (1 - self.blur_prob, []))

    def factor(self) -> Distribution:
        """Return the distribution of the factor, which enlarges, reduces or keeps the size."""
        low, high = self.resize_range
        return choice((uniform(1.0, high), uniform(low, 1.0), 1.0), self.resize_prob)

    def noise(self) -> Step:
        """Return Gaussian or Poisson noise, in colour or grey."""
        grey = choice((True, False), (self.gray_noise_prob, 1 - self.gray_noise_prob))
        gaussian = step("gaussian_noise", sigma=uniform(*self.noise_range), grey=grey)
        poisson = step("poisson_noise", scale=uniform(*self.poisson_scale_range), grey=grey)
        probability = self.gaussian_noise_prob
        return either((probability, [gaussian]), (1 - probability, [poisson]))

    def jpeg(self) -> Step:
        """Return JPEG with halved chroma."""
        return step("jpeg", quality=uniform(*self.jpeg_range))


def _around_one(low: float, high: float) -> Distribution:
    """A shape parameter below or above 1, equally often; with `high` below 1 always below, as published."""
    return choice((uniform(min(low, 1.0), 1.0), uniform(min(high, 1.0), max(high, 1.0))))


@dataclass(frozen=True)
class Settings:
    """Both stages in the published order.

    `final_sinc_prob` is the probability of a sinc filter after the last reduction, `bicubic_prob` that of a
    bicubic reduction instead of everything else.
    """

    first: Stage
    second: Stage
    final_sinc_prob: float
    bicubic_prob: float = 0.0

    def steps(self) -> list[Step]:
        """Return blur, resize, noise and JPEG, twice; the second resize is relative to the final size."""
        resize = {"mode": _MODE, "antialias": False}
        cutoff = uniform(math.pi / 3, math.pi)
        last = [
            step("shrink", **resize),
            step("sinc_blur", self.final_sinc_prob, size=choice(_SIZES), cutoff=cutoff),
        ]
        jpeg = self.second.jpeg()
        chain = [
            self.first.blur(),
            step("rescale", factor=self.first.factor(), **resize),
            self.first.noise(),
            self.first.jpeg(),
            self.second.blur(),
            step("shrink", factor=self.second.factor(), **resize),
            self.second.noise(),
            either((0.5, [*last, jpeg]), (0.5, [jpeg, *last])),
        ]
        if not self.bicubic_prob:
            return chain
        bicubic = step("shrink", mode="bicubic", antialias=False)
        return [either((self.bicubic_prob, [bicubic]), (1 - self.bicubic_prob, chain))]


_FIRST = Stage(
    blur_prob=1,
    kernel_prob=(0.45, 0.25, 0.12, 0.03, 0.12, 0.03),
    sinc_prob=0.1,
    blur_sigma=(0.2, 3),
    betag_range=(0.5, 4),
    betap_range=(1, 2),
    resize_prob=(0.2, 0.7, 0.1),
    resize_range=(0.15, 1.5),
    gaussian_noise_prob=0.5,
    noise_range=(1, 30),
    poisson_scale_range=(0.05, 3),
    gray_noise_prob=0.4,
    jpeg_range=(30, 95),
)
_SECOND = replace(
    _FIRST,
    blur_prob=0.8,
    blur_sigma=(0.2, 1.5),
    resize_prob=(0.3, 0.4, 0.3),
    resize_range=(0.3, 1.2),
    noise_range=(1, 25),
    poisson_scale_range=(0.05, 2.5),
)
_SLIGHT = Stage(
    blur_prob=1,
    kernel_prob=(0.6, 0.2, 0.1, 0.05, 0.05, 0),
    sinc_prob=0.05,
    blur_sigma=(0.01, 0.02),
    betag_range=(0.01, 0.02),
    betap_range=(0.01, 0.02),
    resize_prob=(0.4, 0.4, 0.2),
    resize_range=(0.95, 1.05),
    gaussian_noise_prob=0.03,
    noise_range=(0.01, 0.03),
    poisson_scale_range=(0.01, 0.1),
    gray_noise_prob=0.1,
    jpeg_range=(80, 100),
)

_WILD = Settings(_FIRST, _SECOND, final_sinc_prob=0.8)
SETTINGS = {
    "real_esrgan_x4": _WILD,
    "srlab_wild": _WILD,
    "srlab_synthetic": Settings(
        _SLIGHT, replace(_SLIGHT, blur_prob=0.1), final_sinc_prob=0.4, bicubic_prob=0.5
    ),
    "mild": Settings(
        replace(
            _FIRST,
            resize_range=(0.3, 1.5),
            noise_range=(1, 15),
            poisson_scale_range=(0.05, 2),
            jpeg_range=(60, 95),
        ),
        replace(
            _SECOND,
            blur_prob=0.5,
            resize_range=(0.6, 1.2),
            noise_range=(1, 12),
            poisson_scale_range=(0.05, 1),
            jpeg_range=(60, 100),
        ),
        final_sinc_prob=0.8,
    ),
}


def _recipe(name: str, source: str) -> Recipe:
    return Recipe(name, scale=4, steps=SETTINGS[name].steps(), source=source)


REAL_ESRGAN_X4 = _recipe(
    "real_esrgan_x4", "Real-ESRGAN (arXiv 2107.10833), options/train_realesrgan_x4plus.yml"
)
SRLAB_WILD = _recipe(
    "srlab_wild",
    "SRlab (arXiv 2504.09887), utils_data/make_paired_data.py, the commented block, which is SeeSR's; drawn "
    "for every photo, not once a batch",
)
SRLAB_SYNTHETIC = _recipe(
    "srlab_synthetic",
    "SRlab (arXiv 2504.09887), utils_data/make_paired_data.py, the active block; drawn for every photo, not "
    "once a batch",
)
MILD = _recipe(
    "mild", "SRlab and SeeSR, dataloaders/params_realesrgan.yml, milder settings in the manner of PASD"
)
