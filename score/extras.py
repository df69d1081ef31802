"""Metrics of networks whose weights other packages bring: ST-LPIPS, LPIPS, and three of the challenge's."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from . import perceptual
from .measures import BYTES, stored, stored_pair

Network = Callable[
    ..., Tensor
]  # takes (B, 3, H, W) RGB in [0, 1]: the result and, if it needs one, the original


@dataclass(frozen=True)
class Extra:
    """A metric whose network another package brings.

    `complete` packages bring the weights too, and are measured wherever they are installed; others download
    them at the first use, and are measured when a person asks.
    """

    load: Callable[[], Network]
    package: str
    licence: str
    reference: str  # "gt" or "nothing"
    better: str  # "higher" or "lower"
    source: str
    space: str = "RGB"
    crop: int = 0
    dtype: str = BYTES.replace("float64", "float32")
    option: str = ""  # our optional dependency; named like the package if empty
    complete: bool = False
    least_side: int = 1  # pixels

    @property
    def install(self) -> str:
        """The command that brings it."""
        return f'pip install "ugc-super-resolution[{self.option or self.package}]"'

    @property
    def installed(self) -> bool:
        """Whether its package is there; nothing of it is imported."""
        return importlib.util.find_spec(self.package) is not None


def _st_lpips(net: str) -> Network:
    network = perceptual.STLPIPS(net)
    return lambda sr, gt: perceptual.in_tiles(network, sr, gt)


def _st_lpips_extra(net: str, title: str, *, complete: bool) -> Extra:
    return Extra(
        lambda: _st_lpips(net),
        package=perceptual.PACKAGE,
        licence="BSD-2-Clause",
        reference="gt",
        better="lower",
        source=f"arXiv 2207.13686; {title}, version 0.0; above {perceptual.TILE_PX} px a side in tiles",
        option="perceptual",
        complete=complete,
        least_side=perceptual.LEAST_SIDE,
    )


def _lpips() -> Network:
    import lpips

    network = lpips.LPIPS(net="alex", version="0.1", verbose=False)
    return lambda sr, gt: network(2 * sr - 1, 2 * gt - 1)


def _pyiqa(name: str) -> Network:
    import pyiqa  # pyright: ignore[reportMissingImports]

    return pyiqa.create_metric(name, device="cpu")


EXTRAS = {
    "st_lpips": _st_lpips_extra("alex", "AlexNet", complete=True),
    "st_lpips_vgg": _st_lpips_extra("vgg", "VGG-16", complete=False),
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
            if not extra.installed:
                raise RuntimeError(
                    f"'{name}' needs the package {extra.package} ({extra.licence}). Install it with  "
                    f"{extra.install}"
                )
        self.names = tuple(dict.fromkeys(names))
        self._networks: dict[str, Network] = {}

    @classmethod
    def complete(cls, names: Sequence[str] = (), *, with_gt: bool) -> Extras:
        """Those of `names`, and of the installed complete ones those that the given references allow.

        Raises:
            ValueError: for a name that is not in EXTRAS.
            RuntimeError: if a package is missing.
        """
        found = [n for n, e in EXTRAS.items() if e.complete and e.installed]
        return cls([*names, *(n for n in found if with_gt or EXTRAS[n].reference == "nothing")])

    @staticmethod
    def missing() -> str:
        """A line for each complete one that isn't installed: how to get it."""
        lacking = {name: extra for name, extra in EXTRAS.items() if extra.complete and not extra.installed}
        return "".join(f"\n{name} was not measured: {e.install}\n" for name, e in lacking.items())

    @torch.no_grad()
    def measure(self, sr: Tensor, gt: Tensor | None = None) -> dict[str, float]:
        """Each metric of (B, 3, H, W) RGB in [0, 1], rounded to bytes first, averaged over the batch.

        What needs larger pictures is left out.

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
            if min(sr.shape[-2:]) < EXTRAS[name].least_side:
                continue
            if name not in self._networks:
                self._networks[name] = EXTRAS[name].load()
            values[name] = self._networks[name](*(image.float().cpu() for image in images)).mean().item()
        return values
