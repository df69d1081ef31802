"""Metrics by networks of optional packages: ST-LPIPS, LPIPS, and three of the challenge."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from . import perceptual
from .measures import stored, stored_pair
from .protocol import BYTES, MetricProtocol

# Takes (B, 3, H, W) RGB in [0, 1]: the result and, if it needs one, the original.
Network = Callable[..., Tensor]


@dataclass(frozen=True, kw_only=True)
class Extra(MetricProtocol):
    """A metric whose network comes with another package.

    `complete` packages include the weights, and are measured wherever they are installed; the others download
    weights at the first use, and are measured on request.
    """

    load: Callable[[], Network]
    package: str
    licence: str
    space: str = "RGB"
    dtype: str = BYTES.replace("float64", "float32")
    option: str = ""  # our optional dependency; named like the package if empty
    complete: bool = False

    @property
    def install(self) -> str:
        """The command that installs the package."""
        return f'pip install "ugc-super-resolution[{self.option or self.package}]"'

    @property
    def installed(self) -> bool:
        """Whether the package is installed; it is not imported."""
        return importlib.util.find_spec(self.package) is not None


def _st_lpips(net: str) -> Network:
    network = perceptual.STLPIPS(net)
    return lambda sr, gt: perceptual.in_tiles(network, sr, gt)


def _lpips() -> Network:
    import lpips

    network = lpips.LPIPS(net="alex", version="0.1", verbose=False)
    return lambda sr, gt: network(2 * sr - 1, 2 * gt - 1)


def _pyiqa(name: str) -> Network:
    import pyiqa  # pyright: ignore[reportMissingImports]

    return pyiqa.create_metric(name, device="cpu")


_DISTANCE = partial(Extra, licence="BSD-2-Clause", reference="gt", better="lower")
_ST_LPIPS = partial(
    _DISTANCE, package=perceptual.PACKAGE, option="perceptual", least_side=perceptual.LEAST_SIDE
)
_ST_LPIPS_SOURCE = f"version 0.0; above {perceptual.TILE_PX} px a side in tiles"
_PYIQA = partial(
    Extra, package="pyiqa", licence="PolyForm Noncommercial 1.0.0", reference="nothing", better="higher"
)

EXTRAS = {
    "st_lpips": _ST_LPIPS(
        load=partial(_st_lpips, "alex"),
        title="ST-LPIPS",
        meaning="Difference by a network (AlexNet), tolerant to small shifts; 0 is equal.",
        source=f"arXiv 2207.13686; AlexNet, {_ST_LPIPS_SOURCE}",
        complete=True,
    ),
    "st_lpips_vgg": _ST_LPIPS(
        load=partial(_st_lpips, "vgg"),
        title="ST-LPIPS (VGG)",
        meaning="The same by a larger network (VGG-16); 0 is equal.",
        source=f"arXiv 2207.13686; VGG-16, {_ST_LPIPS_SOURCE}",
    ),
    "lpips": _DISTANCE(
        load=_lpips,
        title="LPIPS",
        meaning="Difference by a network (AlexNet); 0 is equal.",
        package="lpips",
        source="arXiv 1801.03924; AlexNet, version 0.1",
    ),
    "musiq": _PYIQA(
        load=partial(_pyiqa, "musiq"),
        title="MUSIQ",
        meaning="Human rating predicted by a network, of about 100.",
        source="arXiv 2108.05997; trained on KonIQ-10k",
    ),
    "maniqa": _PYIQA(
        load=partial(_pyiqa, "maniqa"),
        title="MANIQA",
        meaning="Human rating predicted by a network, of about 1.",
        source="arXiv 2204.08958; trained on KonIQ-10k",
    ),
    "clipiqa": _PYIQA(
        load=partial(_pyiqa, "clipiqa"),
        title="CLIP-IQA",
        meaning="Similarity to a good rather than a bad photo for CLIP; up to 1.",
        source="arXiv 2207.12396; CLIP RN50",
    ),
}


class Extras:
    """A selection of EXTRAS, measured on the CPU; each network is loaded at its first picture and kept."""

    def __init__(self, names: Sequence[str]) -> None:
        """Check that all names are known and installed.

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
        """Return `names` with all installed complete extras that the available references allow.

        Raises:
            ValueError: for a name that is not in EXTRAS.
            RuntimeError: if a package is missing.
        """
        found = [n for n, e in EXTRAS.items() if e.complete and e.installed]
        return cls([*names, *(n for n in found if with_gt or EXTRAS[n].reference == "nothing")])

    @staticmethod
    def missing() -> str:
        """Return a line for each complete extra that isn't installed, with the command that installs it."""
        lacking = {name: extra for name, extra in EXTRAS.items() if extra.complete and not extra.installed}
        return "".join(f"\n{name} was not measured: {e.install}\n" for name, e in lacking.items())

    @torch.no_grad()
    def measure(self, sr: Tensor, gt: Tensor | None = None) -> dict[str, float]:
        """Return each metric of (B, 3, H, W) RGB in [0, 1], rounded to 8 bits first, averaged over the batch.

        Metrics that need larger pictures are left out.

        Raises:
            ValueError: if an original is needed and missing or of another size, or for NaN.
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
            # float32 sums differ by the order of the numbers in memory
            given = (image.float().cpu().contiguous() for image in images)
            values[name] = self._networks[name](*given).mean().item()
        return values
