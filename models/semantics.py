"""The semantic tokens of a photo and their grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from ..image import is_scaled


class View(NamedTuple):
    """The tokens that a tile attends to.

    Attributes:
        whole: True if it attends to those of the whole photo.
        tile: True if it attends to those of its own part of the photo.
    """

    whole: bool
    tile: bool


VIEWS = {"global": View(True, False), "tile": View(False, True), "both": View(True, True)}


class TileReader(Protocol):
    """Computes the tokens of single tiles of a photo during sampling."""

    def read(self, boxes: Sequence[tuple[int, int, int, int]], full: tuple[int, int]) -> list[Tensor]:
        """Return tokens (B, N, D) of boxes (top, left, height, width) of a latent of `full` cells (h, w)."""
        ...

    def clear(self) -> None:
        """Discard all cached tokens."""
        ...


@dataclass(frozen=True, eq=False)
class Semantics:
    """The tokens of a whole photo, in row-major order of an even grid over it.

    Attributes:
        tokens: (B, N, D), N = rows * columns; one item per photo.
        grid: (rows, columns).
        image_size: (height, width) in pixels of the photo that was read.
        encoder: name of the encoder, for example "sam2.1_tiny" or "nano".
        view: one of `VIEWS`. Without tiles the whole photo is the only tile, and the views are equal.
        reader: computes the tokens of single tiles, if `view` needs them.
        runs: dict to which the samplers that these tokens guide add their reports; None for no reports.
    """

    tokens: Tensor
    grid: tuple[int, int]
    image_size: tuple[int, int]
    encoder: str
    view: str = "global"
    reader: TileReader | None = None
    runs: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        """Check the view, which may come over a link.

        Raises:
            ValueError: if it is unknown, or needs a reader of tiles that isn't there.
        """
        if self.view not in VIEWS or (VIEWS[self.view].tile and self.reader is None):
            raise ValueError(
                f"Semantics: view must be one of {', '.join(VIEWS)}, and all but global need a reader of "
                f"tiles; got {self.view} and {self.reader}."
            )

    def can_become(self, size: tuple[int, int], padding: int = 0) -> bool:
        """Return True if scaling, then padding by at most `padding` px a side, can give this size."""
        return is_scaled(self.image_size, size, padding)
