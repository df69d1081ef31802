"""Seconds and memory of every preset on this machine's GPU, through the shipped graphs, in limited time.

Every row comes from one run of a shipped graph, node by node in this process. Weights that are missing from
the models folders are random, of the published shapes: they take the same time and memory. A run that is
expected to take too long gets fewer steps or is left out, and its row says so.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import comfy.model_management as management
import torch

from ugc_sr.host.memory import is_out_of_memory
from ugc_sr.host.tiling import latent_ratio
from ugc_sr.sample.presets import NAMES
from ugc_sr.sample.presets import load as preset
from ugc_sr.sample.tiles import split

from . import forwards, graphs, loaded, machine, parity

SIZES = ((512, 512), (1080, 1920), (4096, 4096))  # sizes of the result, (height, width)
WARM_UP = (256, 256)
SHORT = 2  # steps of a run that would take too long; every schedule has at least these
BACKEND = "inductor"  # mode of torch.compile
COMPILE_S = 120.0  # assumed seconds of a compilation
COLUMNS = {
    "preset": "preset",
    "result": "result",
    "seconds": "seconds",
    "s_per_mp": "s/MP",
    "ran": "steps run",
    "tiles": "tiles",
    "peak_gb": "peak, GB",
    "card_gb": "whole card, GB",
    "weights": "weights",
    "compiled": "compiled",
}

SCALE = 4.0  # size of the result / size of the photo
Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One run: a preset at a size of the result, compiled by the host's TorchCompileModel or not."""

    preset: str
    size: tuple[int, int]
    compiled: bool = False

    @property
    def name(self) -> str:
        """The name of its row."""
        height, width = self.size
        return f"gpu-{self.preset}-{height}x{width}" + ("-compiled" if self.compiled else "")

    @property
    def base(self) -> str:
        """The base of its models."""
        return "nano" if self.preset == "nano" else "sd2"

    @property
    def steps(self) -> int:
        """The preset's number of steps."""
        return int(preset(self.preset).values["KSampler.steps"])

    @property
    def megapixels(self) -> float:
        """The megapixels of the result."""
        return self.size[0] * self.size[1] / 1e6

    def work(self, steps: int) -> float:
        """Return the latent cells of all forwards, to which the seconds of sampling are proportional."""
        settings = forwards.Settings(steps, float(preset(self.preset).values["KSampler.cfg"]))
        plan = forwards.our_plan(*self.size, settings)
        return plan.forwards * plan.side[0] * plan.side[1]

    def graph(self, steps: int) -> graphs.Graph:
        """Return the shipped graph of its preset, with that number of steps."""
        chosen = {} if self.base == "nano" else {"UGCSR_RestorationPreset": {"preset": self.preset}}
        chosen |= {"UGCSR_PrepareImage": {"scale": SCALE}}
        graph = graphs.shipped(loaded.GRAPHS[self.base], KSampler={"steps": steps}, **chosen)
        if self.compiled:
            (sampler,) = [node for node in graph.values() if node["class_type"] == "KSampler"]
            inputs = {"model": sampler["inputs"]["model"], "backend": BACKEND}
            graph["compiled"] = {"class_type": "TorchCompileModel", "inputs": inputs}
            sampler["inputs"]["model"] = ["compiled", 0]
        return graph


@dataclass(frozen=True)
class Speed:
    """The speed of a base's last run: seconds of sampling per latent cell, other seconds per megapixel."""

    cell: float
    megapixel: float

    def expect(self, job: Job, steps: int) -> float:
        """Return the expected seconds of a run."""
        return self.cell * job.work(steps) + self.megapixel * job.megapixels


@dataclass
class Session:
    """The state that all runs share; models and speeds by base."""

    deadline: float
    models: dict[str, loaded.Loaded]
    classes: dict[str, Any] = field(default_factory=graphs.node_classes)
    speeds: dict[str, Speed] = field(default_factory=dict)

    @property
    def left(self) -> float:
        """The seconds until the deadline."""
        return self.deadline - time.monotonic()


def run(
    minutes: float = 9.0,
    fixture: str | None = None,
    sizes: Iterable[tuple[int, int]] | None = None,
    *,
    classic_memory: bool = False,
    models: Mapping[str, loaded.Loaded] | None = None,
) -> Iterator[Row]:
    """Yield a row on the machine, those of the parity fixture, and one for each preset and size.

    Args:
        minutes: time limit; after it no run is started, and a running one is ended.
        fixture: folder with spec.json and cases.safetensors; without it the parity rows are left out.
        sizes: sizes of the results, (height, width); SIZES if not given.
        classic_memory: leave DynamicVRAM off.
        models: base -> models, instead of real or random ones.
    """
    deadline = time.monotonic() + 60 * minutes
    dynamic = "off, as asked" if classic_memory else machine.dynamic_vram()
    yield {"name": "gpu", **machine.describe(), "dynamic_vram": dynamic}
    if fixture:
        yield from _tried("gpu-parity", lambda: list(parity.run(fixture)))
    session, sizes = Session(deadline, dict(models or {})), list(sizes or SIZES)
    presets = ["nano", *(name for name in NAMES if name != "nano")]
    jobs = [Job(name, size) for size in sizes for name in presets]
    jobs += [Job(name, sizes[0], compiled=True) for name in ("nano", "turbo")]
    for done, job in enumerate(jobs):
        share = len(jobs) - done
        yield from _tried(job.name, lambda job=job, share=share: [_measure(session, job, share)])


def table(rows: Iterable[Row]) -> str:
    """Return the rows as a Markdown table for docs/speed.md, with remarks on rows without seconds below."""
    about = [row for row in rows if row["name"] == "gpu"]
    measured = [row for row in rows if "s_per_mp" in row]
    lines = [
        ", ".join(f"{key} {value}" for key, value in row.items() if key != "name") + "." for row in about
    ]
    lines += ["", f"| {' | '.join(COLUMNS.values())} |", "|" + "---|" * len(COLUMNS)]
    lines += [f"| {' | '.join(str(row.get(column, '-')) for column in COLUMNS)} |" for row in measured]
    rest = [row for row in rows if row not in about and row not in measured]
    return "\n".join([*lines, "", *(f"- {row['name']}: {_remark(row)}" for row in rest)])


def _remark(row: Row) -> str:
    if "max_abs_diff" in row:
        verdict = "within" if row["passed"] else "BEYOND"
        return (
            f"{row['max_abs_diff']:.1e} from the original networks, {verdict} the limit of {row['limit']:g}"
        )
    return str(row.get("skipped") or row.get("error"))


def _tried(name: str, work: Callable[[], list[Row]]) -> Iterator[Row]:
    """Yield the rows of `work`, or one row with the reason why it failed."""
    try:
        yield from work()
        return
    except management.InterruptProcessingException:
        yield {"name": name, "skipped": "it did not end in the time that was left"}
    except Exception as error:  # noqa: BLE001 - whatever fails is told, and the next run is begun
        said = str(error).strip().partition("\n")[0]
        short = is_out_of_memory(error)
        problem = f"the card has too little memory ({said})" if short else f"{type(error).__name__}: {said}"
        yield {"name": name, "error": problem}
    management.unload_all_models()
    management.soft_empty_cache()


def _measure(session: Session, job: Job, share: int) -> Row:
    """Return the row of one run; the remaining time is divided among `share` runs."""
    if session.left <= 0:
        return {"name": job.name, "skipped": "the time was over"}
    if job.base not in session.models:
        session.models[job.base] = loaded.load(job.base, session.classes)
    if job.base not in session.speeds:
        warm_up = Job(job.preset, WARM_UP)
        _run(session, warm_up, SHORT)  # loading and choosing kernels happens once, so it is not part of a run
        session.speeds[job.base] = _speed(warm_up, SHORT, _run(session, warm_up, SHORT))
    speed, steps = session.speeds[job.base], job.steps
    if speed.expect(job, steps) > 2 * session.left / share:
        steps = min(SHORT, steps)
    expected = speed.expect(job, steps) + COMPILE_S * job.compiled
    if expected > session.left:
        left = f"it would take about {expected:.0f} s, and {max(session.left, 0):.0f} s were left"
        return {"name": job.name, "skipped": left}
    first = _run(session, job, steps) if job.compiled else None
    measured = _run(session, job, steps)
    if not job.compiled:
        session.speeds[job.base] = _speed(job, steps, measured)
    compiling = {"compile_s": round(first["sampling_s"] - measured["sampling_s"], 1)} if first else {}
    return {"name": job.name, **_row(job, steps, measured), **compiling}


def _speed(job: Job, steps: int, measured: Row) -> Speed:
    return Speed(measured["sampling_s"] / job.work(steps), measured["rest_s"] / job.megapixels)


def _row(job: Job, steps: int, measured: Row) -> Row:
    """Return a run's figures; if it had fewer steps, the missing ones are assumed to take as long each."""
    sampling, rest = measured["sampling_s"] * job.steps / steps, measured["rest_s"]
    return {
        "preset": job.preset,
        "result": f"{job.size[1]}x{job.size[0]}",
        "seconds": round(sampling + rest, 2),
        "s_per_mp": round((sampling + rest) / job.megapixels, 2),
        "sampling_s": round(sampling, 2),
        "ran": str(job.steps) if steps == job.steps else f"{steps} of {job.steps}",
        "compiled": "yes" if job.compiled else "no",
        **{name: value for name, value in measured.items() if name not in ("sampling_s", "rest_s")},
    }


def _run(session: Session, job: Job, steps: int) -> Row:
    """Return the seconds and the memory of one run.

    Raises:
        RuntimeError: if the picture isn't finite.
    """
    models, graph, device = session.models[job.base], job.graph(steps), management.get_torch_device()
    size = [max(1, round(side / SCALE)) for side in job.size]
    photo = torch.rand(1, *size, 3, generator=torch.Generator().manual_seed(0))
    with machine.ended(session.left), machine.peaks(device) as peaks:
        done = graphs.execute(graph, photo, session.classes, models.outputs, lambda: machine.wait(device))
    if not done.inputs["SaveImage"]["images"].isfinite().all():
        raise RuntimeError("the picture isn't finite")
    sampling = sum(done.seconds[key] for key, node in graph.items() if node["class_type"] == "KSampler")
    model, tiling = done.inputs["KSampler"]["model"], done.inputs["UGCSR_TileDiffusion"]
    cell = latent_ratio(model)
    canvas = (side // cell for side in done.inputs["UGCSR_FinishImage"]["frame"].canvas)
    boxes = split(*canvas, tile=tiling["tile_size"] // cell, overlap=tiling["overlap"] // cell)
    return {
        "tiles": f"{len(boxes)} of {boxes[0].width * cell}x{boxes[0].height * cell}, "
        f"{min(tiling['tile_batch'], len(boxes))} at once",
        "weights": f"{str(model.model.get_dtype()).removeprefix('torch.')}, {models.source}",
        "sampling_s": sampling,
        "rest_s": sum(done.seconds.values()) - sampling,
        **{name: round(size / machine.GB, 2) for name, size in peaks.items()},
    }
