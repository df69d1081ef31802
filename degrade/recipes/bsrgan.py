"""The shuffled chain of BSRGAN (arXiv 2103.14006)."""

import math

from ..recipe import Recipe
from ..steps import Branch, Choice, Either, Entry, Shuffle, Step, Uniform

_SIZES = tuple(range(7, 26, 2))  # of kernels, in pixels
_MODE = Choice(("area", "bilinear", "bicubic"))
_LEAST = 1e-4  # variance of a blur that does nothing; BSRGAN goes down to 0


def _blur(scale: int) -> Either:
    """Stretched or round Gaussians; the variances along the axes of the stretched ones are uniform."""
    sigma = Uniform(_LEAST, 4.0 + scale, power=0.5)
    size = Choice(_SIZES)
    stretched = {"size": size, "sigma_x": sigma, "sigma_y": sigma, "angle": Uniform(0.0, math.pi)}
    round_ = {"size": size, "sigma_x": Uniform(_LEAST**0.5, 2 + 0.2 * scale)}
    return Either(
        (Branch(0.5, (Step("gaussian_blur", stretched),)), Branch(0.5, (Step("gaussian_blur", round_),)))
    )


def _reduce(scale: int) -> Either:
    """Reduction to a random size, or a wide blur and every nth pixel."""
    factor = Uniform(1.0, 2.0 * scale, power=-1)
    decimate = (
        Step("gaussian_blur", {"size": 25, "sigma_x": Uniform(0.1, 0.6 * scale)}),
        Step("rescale", {"factor": 1 / scale, "mode": "nearest"}),
    )
    return Either(
        (
            Branch(0.75, (Step("rescale", {"factor": factor, "mode": _MODE, "antialias": False}),)),
            Branch(0.25, decimate),
        )
    )


def _noise() -> Either:
    """The same in all channels, independent, or correlated at full strength."""
    level = Uniform(2, 25)
    return Either(
        (
            Branch(0.4, (Step("gaussian_noise", {"sigma": level, "grey": False}),)),
            Branch(0.4, (Step("gaussian_noise", {"sigma": level, "grey": True}),)),
            Branch(0.2, (Step("correlated_noise", {"sigma": 25.0}),)),
        )
    )


_JPEG = {"quality": Uniform(30, 95)}
_CAMERA = (  # stands in for BSRGAN's camera model, which is not published
    Step(
        "sensor_noise", {"shot": Uniform(0.01, 0.06), "read": Uniform(0.0, 0.01), "chroma": Uniform(0.0, 1.0)}
    ),
    Step("demosaic", {"pattern": Choice(("RGGB", "BGGR", "GRBG", "GBRG"))}),
)


def _shuffled(scale: int) -> Shuffle:
    """All steps in random order, except that the reduction to the final size comes after the other one."""
    return Shuffle(
        (
            (_blur(scale),),
            (_blur(scale),),
            (_reduce(scale),),
            (Step("shrink", {"mode": _MODE, "antialias": False}),),
            (_noise(),),
            (Step("jpeg", _JPEG, probability=0.9),),
            (Either((Branch(0.25, _CAMERA), Branch(0.75, ()))),),
        ),
        ordered=(2, 3),
    )


def _half() -> Entry:
    """Reduction to half size, half of the time antialiased."""
    half = {"factor": 0.5, "mode": _MODE, "antialias": False}
    return Either(
        (
            Branch(0.5, (Step("rescale", half),)),
            Branch(0.5, (Step("rescale", {"factor": 0.5, "mode": "bicubic"}),)),
        )
    )


BSRGAN_X4 = Recipe(
    name="bsrgan_x4",
    scale=4,
    source="BSRGAN (arXiv 2103.14006), utils/utils_blindsr.py; the camera, whose model is not public, is "
    "assumed",
    steps=(
        Either((Branch(0.25, (_half(), _shuffled(2))), Branch(0.75, (_shuffled(4),)))),
        Step("jpeg", _JPEG),
    ),
)
