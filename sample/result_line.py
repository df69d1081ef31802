"""The report of a restored photo, in one line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .frame import Frame

UNMEASURED = "too small to measure"


@dataclass(frozen=True)
class Sampling:
    """One run of a sampler.

    Attributes:
        preset: name of the preset; empty if not known.
        tiles: number of tiles that the photo was sampled in.
        seconds: duration of the run.
    """

    preset: str
    tiles: int
    seconds: float

    def __str__(self) -> str:
        """Return text such as "preset nano; 12 tiles sampled in 9.1 s"."""
        tiles = f"{self.tiles} tiles sampled" if self.tiles > 1 else "sampled"
        return f"{f'preset {self.preset}; ' if self.preset else ''}{tiles} in {self.seconds:.1f} s"


def result_line(frame: Frame, photos: int, sampling: Sampling | None, after: Mapping[str, float]) -> str:
    """Return a line with the sizes, scale, preset, tiles, seconds, and the scores before and after.

    Args:
        frame: frame of the photo, with the scores of the input photo.
        photos: number of photos in the batch.
        sampling: run of the sampler, or None if it is not known.
        after: the same scores of the result; empty if the result is too small to measure.
    """
    parts = [f"{photos} photos of {frame}" if photos > 1 else str(frame)]
    if frame.alpha is not None:
        parts.append("transparency enlarged with it")
    if sampling is not None:
        parts.append(str(sampling))
    known = (name for name in after if name in frame.before)
    scores = [f"{name} {frame.before[name]:.3g} -> {after[name]:.3g}" for name in known]
    first = " (of the first)" if photos > 1 else ""
    parts.append(f"{', '.join(scores)}{first}" if scores else UNMEASURED)
    return "; ".join(parts)
