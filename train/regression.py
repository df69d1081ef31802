"""A small network trained with L1 to correct bicubic enlargement; no sampler, no semantics."""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..image import resize
from .checkpoint import write
from .stages import Stage
from .task import Batch, Start, Task

SCALE = 4


class Regression(Task):
    """Residual blocks at LR size, then a pixel shuffle (Shi 2016); initially bicubic enlargement."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)
            )
            for _ in range(blocks)
        )
        self.last = nn.Conv2d(width, 3 * SCALE**2, 3, padding=1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def restored(self, lr: Tensor) -> Tensor:
        """Return photos (B, 3, h, w) in [0, 1] enlarged to (B, 3, 4h, 4w), not clamped."""
        x = self.first(lr * 2 - 1)
        for block in self.blocks:
            x = x + block(x)
        enlarged = resize(lr, SCALE * lr.shape[2], SCALE * lr.shape[3])
        return enlarged + F.pixel_shuffle(self.last(F.silu(x)), SCALE).float()

    def forward(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return the mean absolute error."""
        return {"loss": (self.restored(batch.lr) - batch.hr).abs().mean()}

    def restore(self, lr: Tensor, seed: int = 0) -> Tensor:  # noqa: ARG002 - nothing is drawn
        """Return photos (B, 3, h, w) enlarged to (B, 3, 4h, 4w), both in [0, 1]."""
        return self.restored(lr).clamp(0, 1)

    def export(self, folder: Path) -> list[Path]:
        """Write regression.safetensors."""
        file = folder / "regression.safetensors"
        write(file, self.state_dict(), {"format": "pt"})
        return [file]


def build(stage: Stage, start: Start, *, width: int, blocks: int) -> Task:  # noqa: ARG001
    """Return a network of `width` channels and `blocks` residual blocks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(start.seed)
        task = Regression(width, blocks)
    if start.weights:
        task.load_state_dict(dict(start.weights))
    return task
