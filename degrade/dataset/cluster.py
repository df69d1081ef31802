"""Jobs done by Ray Data, on a cluster or, where there is none, on this machine."""

import json
import logging
import os
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import torch

from ...processes import start_ray
from .jobs import Job, Outcome, Outcomes, Plan, Stopped, work
from .memory import keep_memory

JOBS_A_BLOCK = 4  # Ray hands out blocks; larger ones would come back late
POLL_S = 0.2  # between looks at whether to stop
Row = dict[str, Any]


def check_ray() -> None:
    """Find out whether Ray Data is there.

    Raises:
        RuntimeError: if not.
    """
    # Once Ray is shut down, the thread of `_until` would start another one.
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise RuntimeError(
            '--engine ray needs Ray Data. Install it with  pip install "ugc-super-resolution[cluster]"'
        ) from error


def ray_data(plan: Plan, jobs: Sequence[Job], workers: int, stopped: Stopped) -> Outcomes:
    """Work in up to `workers` tasks of one core each; every machine must see photos and data set alike.

    A plan for CUDA gives each task a GPU of its own, and 0 workers stand for all GPUs that there are. Once
    `stopped` says so, what is at work is given up: Ray has no word for tasks that have begun.
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
            override_num_blocks=-(-len(jobs) // JOBS_A_BLOCK),
        )
        done = rows.map(do, num_cpus=1, num_gpus=1 if gpus else None, concurrency=workers or gpus)
        for row in _until(stopped, done.iter_rows()):
            yield Outcome(**json.loads(row["outcome"]))
        if stopped():
            logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # it would trace its own end
    except RayError as error:
        yield Outcome(fatal=f"Ray: {str(error).strip().splitlines()[-1]}")
    finally:
        if started:
            ray.shutdown()


def _until(stopped: Stopped, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, or those that come before `stopped` says so, without waiting for the next one."""
    coming: queue.Queue[Row | Exception | None] = queue.Queue()

    def take() -> None:
        try:
            for row in rows:
                coming.put(row)
            coming.put(None)
        except Exception as error:  # noqa: BLE001 - raised again where the rows are read
            coming.put(error)

    threading.Thread(target=take, daemon=True).start()
    while not stopped():
        with suppress(queue.Empty):
            row = coming.get(timeout=POLL_S)
            if row is None:
                return
            if isinstance(row, Exception):
                raise row
            yield row
