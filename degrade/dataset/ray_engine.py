"""The engine that runs jobs with Ray Data, on a cluster or on this machine."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from ...ray_cluster import ray_session
from .jobs import Job, Outcome, Outcomes, PairPlan, Stopped, work
from .worker import keep_memory

JOBS_PER_BLOCK = 4  # Ray returns results block by block, so large blocks would arrive late


def ray_data(plan: PairPlan, jobs: Sequence[Job], workers: int, stopped: Stopped) -> Outcomes:
    """Run jobs in up to `workers` Ray tasks of one core each.

    All machines must see the photos and the data set under the same paths. A plan for CUDA gives each task a
    GPU of its own; 0 workers then mean one for each GPU of the cluster.
    """
    with ray_session():
        import ray
        import ray.data
        from ray.exceptions import RayError

        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True

        def do(row: dict[str, Any]) -> dict[str, Any]:
            torch.set_num_threads(1)
            keep_memory()
            return {"outcome": json.dumps(asdict(work(plan, Job(**json.loads(row["job"])))))}

        gpus = int(ray.cluster_resources().get("GPU", 0)) if plan.device == "cuda" else None
        if gpus == 0:  # Ray would wait for one for ever
            yield Outcome(fatal="Ray: no machine of the cluster has a GPU; leave --device cuda out")
            return
        rows = ray.data.from_items(
            [{"job": json.dumps(asdict(job))} for job in jobs],
            override_num_blocks=-(-len(jobs) // JOBS_PER_BLOCK),
        )
        done = rows.map(do, num_cpus=1, num_gpus=1 if gpus else None, concurrency=workers or gpus)
        try:
            for row in done.iter_rows():
                yield Outcome(**json.loads(row["outcome"]))
                if stopped():
                    return
        except RayError as error:
            yield Outcome(fatal=f"Ray: {str(error).strip().splitlines()[-1]}")
