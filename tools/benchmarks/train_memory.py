"""The planned and the measured memory of a training step: SRlab's networks at full size, random weights."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ugc_sr.train import memory_plan
from ugc_sr.train.config import changed
from ugc_sr.train.distributed import Distributed
from ugc_sr.train.loop import AUTOCAST, Trainer
from ugc_sr.train.stages import PRESETS
from ugc_sr.train.task import Batch

from .random_base import random_task

SCALE = 4
SPARE = memory_plan.GIB // 2  # bytes left to other programs


def run(settings: list[str], cpu: bool) -> Iterator[dict[str, Any]]:
    """Plan a step with one sample of 512 px (by default), run it, and yield both figures.

    The gradients are measured first. The step, in which AdamW allocates its moments, follows if it fits.

    Args:
        settings: settings of the stage, such as "crop=64".
        cpu: use the CPU even if there is a GPU.

    Raises:
        RuntimeError: if the device has less free memory than the plan asks for.
    """
    small = ["batch=1", "accumulate=1", "ema=0.0", *settings]
    stage = changed(PRESETS["srlab-lite"], [f"adapter.{setting}" for setting in small]).stages[0]
    processes = Distributed(cpu=cpu)
    gpu = processes.device.type == "cuda"
    before = _used(gpu)
    torch.manual_seed(0)
    task = random_task(
        frozen=AUTOCAST.get(stage.precision, torch.float32),
        gradient_checkpointing=stage.gradient_checkpointing,
    )
    trainer = Trainer(task, stage, processes)
    batch = _batch(stage.batch, stage.crop)
    planned = memory_plan.measure(trainer, batch, processes)
    yield {f"{name}_gib": round(value / memory_plan.GIB, 3) for name, value in vars(planned).items()}
    yield {"weights_measured_gib": round((_used(gpu) - before) / memory_plan.GIB, 3)}
    for part, total, work in (
        ("gradients", planned.total - planned.optimizer, trainer.backward),
        ("step", planned.total, trainer.advance),
    ):
        lacking = total + SPARE - (_used(gpu) - before) - _free(gpu)
        if lacking > 0:
            raise RuntimeError(
                f"The {part} need {lacking / memory_plan.GIB:.2f} GiB more than are free here."
            )
        _forget_peak(gpu)
        began = time.monotonic()
        work([batch.to(processes.device)])
        measured = _peak(gpu) - before
        yield {
            "part": part,
            "planned_gib": round(total / memory_plan.GIB, 3),
            "measured_gib": round(measured / memory_plan.GIB, 3),
            "planned_over_measured": round(total / measured, 3),
            "seconds": round(time.monotonic() - began, 1),
        }


def _batch(size: int, crop: int) -> Batch:
    hr = torch.rand(size, 3, SCALE * crop, SCALE * crop)
    return Batch(hr, hr[:, :, ::SCALE, ::SCALE].contiguous(), tuple(range(size)), ("",) * size, ("",) * size)


def _used(gpu: bool) -> int:
    return torch.cuda.memory_allocated() if gpu else _kib("/proc/self/status", "VmRSS")


def _peak(gpu: bool) -> int:
    return torch.cuda.max_memory_allocated() if gpu else _kib("/proc/self/status", "VmHWM")


def _forget_peak(gpu: bool) -> None:
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: resets the peak to the present use


def _free(gpu: bool) -> int:
    return torch.cuda.mem_get_info()[0] if gpu else _kib("/proc/meminfo", "MemAvailable")


def _kib(file: str, name: str) -> int:
    """Return an entry of a /proc file in bytes."""
    lines = dict(line.split(":", 1) for line in Path(file).read_text().splitlines())
    return 1024 * int(lines[name].split()[0])
