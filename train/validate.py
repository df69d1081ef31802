"""Validation: a fixed set of photos, restored during training, scored and drawn on a sheet."""

from dataclasses import replace

import torch
from PIL import Image
from torch import Tensor

from ..image import resize
from ..score.metrics import evaluate
from ..score.pil_image import to_picture
from ..score.sheet import compare, stacked
from .config import Config
from .data import Loader, Part
from .distributed import Distributed
from .loop import Trainer
from .stages import Stage
from .task import Batch

SHOWN = 3  # photos on a sheet


def validation_batch(config: Config, stage: Stage) -> Batch | None:
    """Return the first samples of the run's validation folder, or of the photos that its data holds out.

    A run with neither, or whose stage never validates, has none: nothing is scored and no sheet is drawn.
    """
    data, count = config.preset.data, config.preset.validation
    if not count or not (stage.validate_every or stage.sample_every):
        return None
    if config.validate:
        data = replace(data, parts=(Part("validation", path=config.validate),), turn="none", hold_out=0)
    elif not data.hold_out:
        return None
    loader = Loader(data, config.preset.seed, "validation", count, stage.crop, held_out=not config.validate)
    return next(loader.steps(0, 1))


@torch.no_grad()
def validate(
    trainer: Trainer, batch: Batch, processes: Distributed, sheet: bool
) -> tuple[dict[str, float], Image.Image | None]:
    """Return the mean of each metric over the photos, which the processes share.

    In the main process, also return a sheet of the first photos, if asked for.
    """
    task = trainer.task
    task.eval()
    rows, drawn = [], []
    for place in range(processes.rank, len(batch.seeds), processes.size):
        hr, lr = (photo[place : place + 1] for photo in (batch.hr, batch.lr))
        with trainer.autocast():
            sr = task.restore(lr.to(processes.device), seed=batch.seeds[place])
        sr = sr.float().cpu()
        rows.append(evaluate(sr, gt=hr, lr=lr))
        drawn.append((lr, sr, hr))
    task.train()
    rows = processes.gather(rows)
    names = [name for name in rows[0] if all(name in row for row in rows)]
    means = {name: sum(row[name] for row in rows) / len(rows) for name in names}
    return means, _sheet(drawn[:SHOWN]) if sheet and processes.is_main else None


def _sheet(photos: list[tuple[Tensor, Tensor, Tensor]]) -> Image.Image:
    """Return a sheet with a row per photo: bicubic, restored and original."""
    rows = []
    for lr, sr, hr in photos:
        bicubic = resize(lr, hr.shape[2], hr.shape[3]).clamp(0, 1)
        panels = {"bicubic": bicubic, "restored": sr, "original": hr}
        rows.append(compare([(name, to_picture(photo)) for name, photo in panels.items()], crops=0))
    return stacked(rows)
