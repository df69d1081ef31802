"""One ComfyUI on each worker of a Ray cluster; without a cluster, the workers run on this machine."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from ..processes import start_ray
from .api import ATTEMPTS, Client, StoppedError
from .run import Restore
from .server import OwnHost
from .workflow import Workflow

POLL_S = 0.5
PATIENCE_S = 60.0  # limit for a host that does not answer while its process runs
START_LIMIT_S, STOP_LIMIT_S = 600, 30


class HostActor:
    """The Ray actor on a worker: it runs a host, and starts it again if it ends."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.own = OwnHost()
        self.own.__enter__()
        self.client = Client(
            self.own.address(),
            patience_s=PATIENCE_S,
            report=logging.getLogger(__name__).warning,
            stop=self.stop,
            restart=self.own.address,
        )

    def version(self) -> str:
        """Return the version of the host's ComfyUI."""
        return self.client.version()

    def restore(self, name: str, png: bytes, workflow: Workflow) -> bytes:
        """Return the result of a photo, as `Client.restore` does."""
        return self.client.restore(name, png, workflow)

    def close(self) -> None:
        """End the host; a call of `restore` in progress raises StoppedError."""
        self.stop.set()
        self.own.__exit__(None, None, None)


def _restore(actor: Any, stop: threading.Event, name: str, png: bytes, workflow: Workflow) -> bytes:
    import ray

    with _errors_of_ray("Ray"):
        answer = actor.restore.remote(name, png, workflow)
        while not ray.wait([answer], timeout=POLL_S)[0]:
            if stop.is_set():
                raise StoppedError
        return ray.get(answer)


@contextmanager
def ray_workers(count: int | None, stop: threading.Event) -> Iterator[tuple[list[Restore], str]]:
    """Start a host on each of `count` workers; yield a restorer for each, and the version of ComfyUI.

    Each worker gets a GPU if the cluster has any. Ray transfers photos and results, so the machines need no
    shared disk; each needs this package, ComfyUI and its models.

    Args:
        count: number of workers; None for one per GPU, or one per machine without GPUs.
        stop: cancels the work once it is set.

    Raises:
        RuntimeError: if a worker can't be started.
    """
    import ray

    started = start_ray()
    actors: list[Any] = []
    try:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        count = count or gpus or len(ray.nodes())
        remote = ray.remote(HostActor).options(
            num_cpus=1,
            num_gpus=1 if gpus else 0,
            max_concurrency=2,  # `close` must be able to run during `restore`
            max_restarts=ATTEMPTS,
            max_task_retries=ATTEMPTS,
            scheduling_strategy="SPREAD",
        )
        actors = [remote.remote() for _ in range(count)]
        with _errors_of_ray(f"Ray could not start {count} workers"):
            version = ray.get([actor.version.remote() for actor in actors], timeout=START_LIMIT_S)[0]
        yield [partial(_restore, actor, stop) for actor in actors], version
    finally:
        if actors:
            ray.wait(
                [actor.close.remote() for actor in actors], num_returns=len(actors), timeout=STOP_LIMIT_S
            )
        if started:
            ray.shutdown()


@contextmanager
def _errors_of_ray(what: str) -> Iterator[None]:
    """Raise this package's own errors as a worker raised them, and all others of Ray with their last line.

    Raises:
        RuntimeError: for Ray's own errors; `what` is in front.
    """
    from ray.exceptions import RayError, RayTaskError

    try:
        yield
    except RayError as error:
        cause = error.cause if isinstance(error, RayTaskError) else None
        if isinstance(cause, (RuntimeError, ValueError, OSError, StoppedError)):
            raise cause from None
        told = "Ray" if isinstance(error, RayTaskError) else what
        raise RuntimeError(f"{told}: {str(error).strip().splitlines()[-1]}") from error
