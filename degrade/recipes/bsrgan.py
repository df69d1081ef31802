"""The shuffled chain of BSRGAN (arXiv 2103.14006)."""

import math

from ..recipe import Recipe
from ..steps import Step, choice, either, shuffle, step, uniform

_SIZES = tuple(range(7, 26, 2))  # of kernels, in pixels
_MODE = choice(("area", "bilinear", "bicubic"))
_LEAST = 1e-4  # variance of a blur that does nothing; BSRGAN goes down to 0


def _blur(scale: int) -> Step:
    """Stretched or round Gaussians; the variances along the axes of the stretched ones are uniform."""
    sigma, size = uniform(_LEAST, 4.0 + scale, power=0.5), choice(_SIZES)
    stretched = step("gaussian_blur", size=size, sigma_x=sigma, sigma_y=sigma, angle=uniform(0.0, math.pi))
    circular = step("gaussian_blur", size=size, sigma_x=uniform(_LEAST**0.5, 2 + 0.2 * scale))
    return either((0.5, [stretched]), (0.5, [circular]))


def _reduce(scale: int) -> Step:
    """Reduction to a random size, or a wide blur and every nth pixel."""
    factor = uniform(1.0, 2.0 * scale, power=-1)
    decimate = [
        step("gaussian_blur", size=25, sigma_x=uniform(0.1, 0.6 * scale)),
        step("rescale", factor=1 / scale, mode="nearest"),
    ]
    return either((0.75, [step("rescale", factor=factor, mode=_MODE, antialias=False)]), (0.25, decimate))


def _noise() -> Step:
    """The same in all channels, independent, or correlated at full strength."""
    level = uniform(2, 25)
    return either(
        (0.4, [step("gaussian_noise", sigma=level, grey=False)]),
        (0.4, [step("gaussian_noise", sigma=level, grey=True)]),
        (0.2, [step("correlated_noise", sigma=25.0)]),
    )


_CAMERA = [  # stands in for BSRGAN's camera model, which is not published
    step("sensor_noise", shot=uniform(0.01, 0.06), read=uniform(0.0, 0.01), chroma=uniform(0.0, 1.0)),
    step("demosaic", pattern=choice(("RGGB", "BGGR", "GRBG", "GBRG"))),
]


def _shuffled(scale: int) -> Step:
    """All steps in random order, except that the reduction to the final size comes after the other one."""
    return shuffle(
        [
            [_blur(scale)],
            [_blur(scale)],
            [_reduce(scale)],
            [step("shrink", mode=_MODE, antialias=False)],
            [_noise()],
            [step("jpeg", 0.9, quality=uniform(30, 95))],
            [either((0.25, _CAMERA), (0.75, []))],
        ],
        ordered=(2, 3),
    )


# Reduction to half size, half of the time antialiased.
_HALF = either(
    (0.5, [step("rescale", factor=0.5, mode=_MODE, antialias=False)]),
    (0.5, [step("rescale", factor=0.5, mode="bicubic")]),
)

BSRGAN_X4 = Recipe(
    name="bsrgan_x4",
    scale=4,
    source="BSRGAN (arXiv 2103.14006), utils/utils_blindsr.py; the camera, whose model is not public, is "
    "assumed",
    steps=[
        either((0.25, [_HALF, _shuffled(2)]), (0.75, [_shuffled(4)])),
        step("jpeg", quality=uniform(30, 95)),
    ],
)
