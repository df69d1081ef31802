"""The semantic tokens of a photo and their grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from torch import Tensor
from torch.nn import functional as F

# The tokens that a tile attends to: those of the whole photo, of its own part of it, or both.
VIEWS = ("global", "tile", "both")


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
        if self.view not in VIEWS or (self.view != "global" and self.reader is None):
            raise ValueError(
                f"Semantics: view must be one of {', '.join(VIEWS)}, and all but global need a reader of "
                f"tiles; got {self.view} and {self.reader}."
            )

    def pooled(self, factor: int) -> Semantics:
        """Return tokens averaged over factor x factor squares; they overlap if the grid is no multiple."""
        rows, columns = (-(-side // factor) for side in self.grid)
        squares = self.tokens.transpose(1, 2).unflatten(2, self.grid)
        means = F.adaptive_avg_pool2d(squares, (rows, columns)).flatten(2).transpose(1, 2)
        return replace(self, tokens=means, grid=(rows, columns))

    def can_become(self, size: tuple[int, int], padding: int = 0) -> bool:
        """Return True if scaling, then padding by at most `padding` px a side, can give this size."""
        sides = list(zip(self.image_size, size, strict=True))
        smallest = max((side - padding - 0.5) / photo for photo, side in sides)
        largest = min((side + 0.5) / photo for photo, side in sides)
        return smallest <= largest
