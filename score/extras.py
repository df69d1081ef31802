"""Metrics of networks that other packages bring: LPIPS, and three that the challenge scores photos with."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .measures import BYTES, stored, stored_pair

Network = Callable[
    ..., Tensor
]  # takes (B, 3, H, W) RGB in [0, 1]: the result and, if it needs one, the original


@dataclass(frozen=True)
class Extra:
    """A metric whose network another package brings; that one downloads the weights at the first use."""

    load: Callable[[], Network]
    package: str  # also the name of our optional dependency
    licence: str
    reference: str  # "gt" or "nothing"
    better: str  # "higher" or "lower"
    source: str
    space: str = "RGB"
    crop: int = 0
    dtype: str = BYTES.replace("float64", "float32")


def _lpips() -> Network:
    import lpips

    network = lpips.LPIPS(net="alex", version="0.1", verbose=False)
    return lambda sr, gt: network(2 * sr - 1, 2 * gt - 1)


def _pyiqa(name: str) -> Network:
    import pyiqa  # pyright: ignore[reportMissingImports]

    return pyiqa.create_metric(name, device="cpu")


EXTRAS = {
    "lpips": Extra(
        _lpips,
        package="lpips",
        licence="BSD-2-Clause",
        reference="gt",
        better="lower",
        source="arXiv 1801.03924; AlexNet, version 0.1",
    ),
    "musiq": Extra(
        lambda: _pyiqa("musiq"),
        package="pyiqa",
        licence="PolyForm Noncommercial 1.0.0",
        reference="nothing",
        better="higher",
        source="arXiv 2108.05997; trained on KonIQ-10k",
    ),
    "maniqa": Extra(
        lambda: _pyiqa("maniqa"),
        package="pyiqa",
        licence="PolyForm Noncommercial 1.0.0",
        reference="nothing",
        better="higher",
        source="arXiv 2204.08958; trained on KonIQ-10k",
    ),
    "clipiqa": Extra(
        lambda: _pyiqa("clipiqa"),
        package="pyiqa",
        licence="PolyForm Noncommercial 1.0.0",
        reference="nothing",
        better="higher",
        source="arXiv 2207.12396; CLIP RN50",
    ),
}


class Extras:
    """Some of EXTRAS, measured on the CPU; a network is loaded at its first picture and kept for the next."""

    def __init__(self, names: Sequence[str]) -> None:
        """Refuse what can't be measured before anything is.

        Raises:
            ValueError: for a name that is not in EXTRAS.
            RuntimeError: if a package is missing.
        """
        for name in names:
            if name not in EXTRAS:
                raise ValueError(f"There is no extra metric '{name}'; known are {', '.join(EXTRAS)}.")
            extra = EXTRAS[name]
            if importlib.util.find_spec(extra.package) is None:
                raise RuntimeError(
                    f"'{name}' needs the package {extra.package} ({extra.licence}). Install it with  "
                    f'pip install "ugc-super-resolution[{extra.package}]"'
                )
        self.names = tuple(names)
        self._networks: dict[str, Network] = {}

    @torch.no_grad()
    def measure(self, sr: Tensor, gt: Tensor | None = None) -> dict[str, float]:
        """Each metric of (B, 3, H, W) RGB in [0, 1], rounded to bytes first, averaged over the batch.

        Raises:
            ValueError: if an original is needed and not given or not of the same size, or for NaN.
        """
        values = {}
        for name in self.names:
            if EXTRAS[name].reference == "nothing":
                images = [stored(sr)]
            elif gt is None:
                raise ValueError(f"'{name}' compares the result with its original; give that too.")
            else:
                images = stored_pair(sr, gt)
            if name not in self._networks:
                self._networks[name] = EXTRAS[name].load()
            values[name] = self._networks[name](*(image.float().cpu() for image in images)).mean().item()
        return values
