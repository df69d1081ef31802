"""Jobs done by Ray Data, on a cluster or, where there is none, on this machine."""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from .jobs import Job, Outcome, Outcomes, Plan, Stopped, work
from .memory import keep_memory

JOBS_A_BLOCK = 4  # Ray hands out blocks; larger ones would come back late


def check_ray() -> None:
    """Find out whether Ray Data is there.

    Raises:
        RuntimeError: if not.
    """
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise RuntimeError(
            '--engine ray needs Ray Data. Install it with  pip install "ugc-super-resolution[cluster]"'
        ) from error


def ray_data(plan: Plan, jobs: Sequence[Job], workers: int, stopped: Stopped) -> Outcomes:
    """Work in up to `workers` tasks of one core each; every machine must see photos and data set alike.

    Joins the cluster that RAY_ADDRESS names, else starts Ray here. A plan for CUDA gives each task a GPU of
    its own, and 0 workers stand for all GPUs that there are. Usage statistics are not sent unless
    RAY_USAGE_STATS_ENABLED says so.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    import ray.data
    from ray.exceptions import RayError

    started = not ray.is_initialized()
    if started:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True

    def do(row: dict[str, Any]) -> dict[str, Any]:
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
        for row in done.iter_rows():
            yield Outcome(**json.loads(row["outcome"]))
            if stopped():
                return
    except RayError as error:
        yield Outcome(fatal=f"Ray: {str(error).strip().splitlines()[-1]}")
    finally:
        if started:
            ray.shutdown()
