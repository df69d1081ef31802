"""The same few photos restored again and again, scored by `score` and drawn on a sheet."""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from ..image import resize
from ..score.metrics import evaluate
from ..score.picture import to_picture
from ..score.sheet import compare
from .crew import Crew
from .data import Loader, Part
from .loop import Trainer
from .presets import Stage
from .task import Batch

if TYPE_CHECKING:
    from .run import Config

SHOWN = 3  # photos on a sheet


class Validation:
    """Photos that are shared among the processes, and how to score what becomes of them."""

    def __init__(self, batch: Batch | None, crew: Crew) -> None:
        self._batch, self._crew = batch, crew

    @classmethod
    def of(cls, config: "Config", stage: Stage, crew: Crew) -> "Validation":
        """The first samples of the run's validation folder, or else of the photos that its data holds out.

        None are there if the run has neither: nothing is scored then, and no sheet is drawn.
        """
        data, count = config.preset.data, config.preset.validation
        if config.validate:
            data = replace(data, parts=(Part("validation", path=config.validate),), turn="none", hold_out=0)
        elif not data.hold_out:
            return cls(None, crew)
        if not count or not (stage.validate_every or stage.sample_every):
            return cls(None, crew)
        loader = Loader(
            data,
            seed=config.preset.seed,
            stage="validation",
            batch=count,
            crop=stage.crop,
            held_out=not config.validate,
        )
        return cls(next(loader.steps(0, 1)), crew)

    @torch.no_grad()
    def run(self, trainer: Trainer, sheet: bool) -> tuple[dict[str, float], Image.Image | None]:
        """Means of each metric over all photos, in every process; in the main one, a sheet of the first."""
        if self._batch is None:
            return {}, None
        task, crew = trainer.task, self._crew
        task.eval()
        rows, drawn = [], []
        for place in range(crew.rank, len(self._batch.seeds), crew.size):
            hr, lr = (photo[place : place + 1] for photo in (self._batch.hr, self._batch.lr))
            with trainer.autocast():
                sr = task.restore(lr.to(crew.device), seed=self._batch.seeds[place])
            sr = sr.float().cpu()
            rows.append(evaluate(sr, gt=hr, lr=lr))
            drawn.append((lr, sr, hr))
        task.train()
        rows = crew.gathered(rows)
        names = [name for name in rows[0] if all(name in row for row in rows)]
        means = {name: sum(row[name] for row in rows) / len(rows) for name in names}
        return means, _sheet(drawn[:SHOWN]) if sheet and crew.main else None


def _sheet(photos: list[tuple[Tensor, Tensor, Tensor]]) -> Image.Image:
    """One row of bicubic, restored and original for each photo."""
    rows = []
    for lr, sr, hr in photos:
        bicubic = resize(lr, hr.shape[2], hr.shape[3]).clamp(0, 1)
        panels = [
            (name, to_picture(photo))
            for name, photo in (("bicubic", bicubic), ("restored", sr), ("original", hr))
        ]
        rows.append(compare(panels, crops=0))
    sheet = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)))
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet
