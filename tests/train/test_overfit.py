"""Training learns: a tiny network remembers four photos."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from ugc_sr.image import resize
from ugc_sr.restore.server import CHECKOUT
from ugc_sr.score.metrics import evaluate
from ugc_sr.train.distributed import Distributed
from ugc_sr.train.loop import Trainer
from ugc_sr.train.regression import Regression
from ugc_sr.train.stages import Stage
from ugc_sr.train.task import Batch

SIDE = 48
STEPS = 700


def pairs():
    photo = torch.from_numpy(np.array(Image.open(CHECKOUT / "demo" / "photo_gt.jpg"))).permute(2, 0, 1) / 255
    corners = ((576, 480), (912, 192), (288, 336), (192, 288))  # fur and cloth
    hr = torch.stack([photo[:, y : y + SIDE, x : x + SIDE] for y, x in corners])
    return Batch(hr, F.avg_pool2d(hr, 4), seeds=(1, 2, 3, 4))


@pytest.mark.deep
def test_four_photos_are_remembered_to_35_db():
    batch = pairs()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        task = Regression(width=64, blocks=3)
    stage = Stage(name="s", task="regression", steps=STEPS, learning_rate=2e-3, schedule="cosine", batch=4)
    trainer = Trainer(task, replace(stage, warmup=20, weight_decay=0.0), Distributed(cpu=True))
    for _ in range(STEPS):
        trainer.advance([batch])
    restored = task.restore(batch.lr).detach()
    assert min(psnr(photo, original) for photo, original in zip(restored, batch.hr, strict=True)) > 35
    enlarged = resize(batch.lr, SIDE, SIDE)
    assert max(psnr(photo, original) for photo, original in zip(enlarged, batch.hr, strict=True)) < 30


def psnr(photo, original):
    return evaluate(photo[None], gt=original[None])["psnr_y"]
