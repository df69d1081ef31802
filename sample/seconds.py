"""About how long the bundled model takes on a CPU, judged by one convolution."""

import time
from functools import cache

import torch

# What the quick start takes in convolutions of `_probe_s`: at least, and more for each megapixel it makes.
START_PROBES, PROBES = 10, 60


def seconds_on_cpu(width: int, height: int) -> float:
    """Seconds to restore a photo to that size, in pixels, with the bundled model; within a factor of two."""
    return (START_PROBES + PROBES * width * height / 1e6) * _probe_s()


@cache
def _probe_s() -> float:
    """Seconds of one 3x3 convolution of 64 channels at 256x256 px on the CPU, the best of five."""
    convolution, x = torch.nn.Conv2d(64, 64, 3, padding=1), torch.zeros(1, 64, 256, 256)
    seconds = []
    with torch.inference_mode():
        for _ in range(5):
            begun = time.perf_counter()
            convolution(x)
            seconds.append(time.perf_counter() - begun)
    return min(seconds)
