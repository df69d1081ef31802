"""The semantic tokens of a photo and their grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import torch
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
        """Check that the tokens fill the grid.

        Raises:
            ValueError: if the fields do not describe the same photo.
        """
        if self.tokens.ndim != 3 or not self.tokens.is_floating_point() or self.tokens.numel() == 0:
            raise ValueError(
                "Semantics: tokens must be a floating-point (batch, tokens, width) tensor with no empty "
                f"dimension, got {tuple(self.tokens.shape)} of {self.tokens.dtype}."
            )
        rows, columns = self.grid
        if min(self.grid) < 1 or rows * columns != self.tokens.shape[1]:
            raise ValueError(
                f"Semantics: a grid of {rows}x{columns} needs {rows * columns} tokens, "
                f"got {self.tokens.shape[1]}."
            )
        if min(self.image_size) < 1:
            raise ValueError(f"Semantics: image_size must be (height, width) >= 1, got {self.image_size}.")
        if self.view not in VIEWS or (VIEWS[self.view].tile and self.reader is None):
            raise ValueError(
                f"Semantics: view must be one of {', '.join(VIEWS)}, and all but global need a reader of "
                f"tiles; got {self.view} and {self.reader}."
            )

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Semantics:
        """Return the same semantics with the tokens on another device or in another float type."""
        return replace(self, tokens=self.tokens.to(device=device, dtype=dtype))

    def can_become(self, size: tuple[int, int], padding: int = 0) -> bool:
        """Return True if scaling, then padding by at most `padding` px a side, can give this size."""
        return is_scaled(self.image_size, size, padding)
