"""What an image encoder read from a photo: tokens and where they lie."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Semantics:
    """Tokens of a whole photo, in row-major order of an even grid laid over it.

    Attributes:
        tokens: (B, N, D), N = rows * columns; one item a photo.
        grid: (rows, columns).
        image_size: (height, width) in pixels of the photo that was read.
        encoder: which encoder read it, for example "sam2.1_tiny" or "nano".
    """

    tokens: Tensor
    grid: tuple[int, int]
    image_size: tuple[int, int]
    encoder: str

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

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Semantics:
        """The same semantics with the tokens elsewhere or in another float type."""
        return replace(self, tokens=self.tokens.to(device=device, dtype=dtype))
