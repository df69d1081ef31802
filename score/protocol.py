"""The protocol of a metric: its reference, how it is measured, and its description."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

BYTES = "uint8 images, float64 arithmetic"
STUDIO_LUMA = "BT.601 studio luma, not rounded"
SHOWN_ONLY = ("title", "unit", "meaning")


@dataclass(frozen=True, kw_only=True)
class MetricProtocol:
    """The protocol of a metric.

    Attributes:
        reference: "gt", "lr", "borders" or "nothing": compared with, or measured at.
        better: "higher", "lower" or "near 1".
        title: name on the page.
        unit: unit on the page, "" for none.
        meaning: one sentence for the page.
        source: the paper or code that defines the metric.
        space: colour space.
        crop: pixels left out at every border.
        dtype: number format.
        least_side: pixels; smaller results have no such score.
    """

    reference: str
    better: str
    title: str
    unit: str = ""
    meaning: str
    source: str = "own"
    space: str = STUDIO_LUMA
    crop: int = 0
    dtype: str = BYTES
    least_side: int = 1

    def data(self) -> dict[str, Any]:
        """Return all that defines the figures, as JSON data."""
        defining = vars(self).keys() - SHOWN_ONLY
        return {name: value for name, value in vars(self).items() if name in defining and not callable(value)}
