"""Estimate of the bundled model's run time on a CPU, from the measured time of one convolution."""

import time
from functools import cache

import torch

# Time of the quick start in convolutions of `_probe_s`: a constant, and a part for each megapixel of output.
START_PROBES, PROBES = 10, 60


def seconds_on_cpu(width: int, height: int) -> float:
    """Return the estimated seconds for a restoration to width x height px with the bundled model.

    The estimate is within a factor of two.
    """
    return (START_PROBES + PROBES * width * height / 1e6) * _probe_s()


@cache
def _probe_s() -> float:
    """Return the seconds of one 3x3 convolution of 64 channels at 256x256 px on the CPU, the best of five."""
    convolution, x = torch.nn.Conv2d(64, 64, 3, padding=1), torch.zeros(1, 64, 256, 256)
    seconds = []
    with torch.inference_mode():
        for _ in range(5):
            begun = time.perf_counter()
            convolution(x)
            seconds.append(time.perf_counter() - begun)
    return min(seconds)
