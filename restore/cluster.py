"""A ComfyUI on each worker of a Ray cluster, or, where there is none, of this machine."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..processes import start_ray
from .own import OwnHost
from .remote import ATTEMPTS, Server, StoppedError
from .workflow import Workflow

POLL_S = 0.5
PATIENCE_S = 60.0  # a host that does not answer while its process runs
START_LIMIT_S, STOP_LIMIT_S = 600, 30


class HostActor:
    """What runs on a worker: a host, and all that it takes to keep it at work."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.own = OwnHost()
        self.own.__enter__()
        self.server = Server(
            self.own.address(),
            patience_s=PATIENCE_S,
            tell=logging.getLogger(__name__).warning,
            stop=self.stop,
            revive=self.own.address,
        )

    def version(self) -> str:
        """The host's version."""
        return self.server.version()

    def restore(self, name: str, png: bytes, workflow: Workflow) -> bytes:
        """As `Server.restore`."""
        return self.server.restore(name, png, workflow)

    def close(self) -> None:
        """End the host; what it works at raises StoppedError."""
        self.stop.set()
        self.own.__exit__(None, None, None)


class Worker:
    """The near end of a `HostActor`."""

    def __init__(self, actor: Any, stop: threading.Event) -> None:
        self.actor = actor
        self.stop = stop

    def restore(self, name: str, png: bytes, workflow: Workflow) -> bytes:
        """As `Server.restore`.

        Raises:
            RuntimeError: besides what that raises, if the worker was lost and could not be replaced.
            StoppedError: if `stop` was set.
        """
        import ray
        from ray.exceptions import RayError, RayTaskError

        try:
            answer = self.actor.restore.remote(name, png, workflow)
            while not ray.wait([answer], timeout=POLL_S)[0]:
                if self.stop.is_set():
                    raise StoppedError
            return ray.get(answer)
        except RayTaskError as error:
            reason = _cause(error)
            raise reason from None
        except RayError as error:
            raise RuntimeError(f"Ray: {_last_line(error)}") from error


@contextmanager
def ray_workers(count: int | None, stop: threading.Event) -> Iterator[tuple[list[Worker], str]]:
    """Start a host on each of `count` workers; gives them and the version of ComfyUI.

    Each worker gets a GPU where the cluster has any. Photos and results travel through Ray: the machines need
    no common disk, but this package, ComfyUI and its models.

    Args:
        count: None for one a GPU, or one a machine where there is no GPU.
        stop: ends what is at work.

    Raises:
        RuntimeError: if a worker can't be started.
    """
    import ray
    from ray.exceptions import RayError, RayTaskError

    started = start_ray()
    actors: list[Any] = []
    try:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        count = count or gpus or len(ray.nodes())
        remote = ray.remote(HostActor).options(
            num_cpus=1,
            num_gpus=1 if gpus else 0,
            max_concurrency=2,  # `close` must get through while `restore` works
            max_restarts=ATTEMPTS,
            max_task_retries=ATTEMPTS,
            scheduling_strategy="SPREAD",
        )
        actors = [remote.remote() for _ in range(count)]
        try:
            version = ray.get([actor.version.remote() for actor in actors], timeout=START_LIMIT_S)[0]
        except RayTaskError as error:
            reason = _cause(error)
            raise reason from None
        except RayError as error:
            raise RuntimeError(f"Ray could not start {count} workers: {_last_line(error)}") from error
        yield [Worker(actor, stop) for actor in actors], version
    finally:
        if actors:
            ray.wait(
                [actor.close.remote() for actor in actors], num_returns=len(actors), timeout=STOP_LIMIT_S
            )
        if started:
            ray.shutdown()


def _cause(error: Any) -> Exception:
    """What a worker raised, as our own errors are; anything else in the words of Ray."""
    if isinstance(error.cause, (RuntimeError, ValueError, OSError, StoppedError)):
        return error.cause
    return RuntimeError(f"Ray: {_last_line(error)}")


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
