"""The engine that runs jobs with Ray Data, on a cluster or on this machine."""

import json
import logging
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import torch

from ...processes import start_ray
from .jobs import Job, Outcome, Outcomes, PairPlan, Stopped, work
from .worker import keep_memory

JOBS_PER_BLOCK = 4  # Ray returns results block by block, so large blocks would arrive late
POLL_S = 0.2  # between calls of `stopped`
Row = dict[str, Any]


def ray_data(plan: PairPlan, jobs: Sequence[Job], workers: int, stopped: Stopped) -> Outcomes:
    """Run jobs in up to `workers` Ray tasks of one core each.

    All machines must see the photos and the data set under the same paths. A plan for CUDA gives each task a
    GPU of its own; 0 workers then mean one for each GPU of the cluster. Once `stopped()` is true, running
    jobs are abandoned, as Ray can't message tasks that have begun.
    """
    import ray
    import ray.data
    from ray.exceptions import RayError

    started = start_ray()
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True

    def do(row: Row) -> Row:
        torch.set_num_threads(1)
        keep_memory()
        return {"outcome": json.dumps(asdict(work(plan, Job(**json.loads(row["job"])))))}

    try:
        gpus = int(ray.cluster_resources().get("GPU", 0)) if plan.device == "cuda" else None
        if gpus == 0:  # Ray would wait for one for ever
            yield Outcome(fatal="Ray: no machine of the cluster has a GPU; leave --device cuda out")
            return
        rows = ray.data.from_items(
            [{"job": json.dumps(asdict(job))} for job in jobs],
            override_num_blocks=-(-len(jobs) // JOBS_PER_BLOCK),
        )
        done = rows.map(do, num_cpus=1, num_gpus=1 if gpus else None, concurrency=workers or gpus)
        for row in _until(stopped, done.iter_rows()):
            yield Outcome(**json.loads(row["outcome"]))
        if stopped():
            logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # it would log a traceback of its end
    except RayError as error:
        yield Outcome(fatal=f"Ray: {str(error).strip().splitlines()[-1]}")
    finally:
        if started:
            ray.shutdown()


def _until(stopped: Stopped, rows: Iterable[Row]) -> Iterator[Row]:
    """Yield rows until `stopped()` is true, without waiting for the next row then."""
    arrived: queue.Queue[Row | Exception | None] = queue.Queue()

    def take() -> None:
        try:
            for row in rows:
                arrived.put(row)
            arrived.put(None)
        except Exception as error:  # noqa: BLE001 - raised again by the reader
            arrived.put(error)

    threading.Thread(target=take, daemon=True).start()
    while not stopped():
        with suppress(queue.Empty):
            row = arrived.get(timeout=POLL_S)
            if row is None:
                return
            if isinstance(row, Exception):
                raise row
            yield row
