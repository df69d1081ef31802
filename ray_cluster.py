"""Ray: a connection to a cluster, or, where there is none, a start on this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager


def check_ray() -> None:
    """Check that Ray and Ray Data are installed.

    Raises:
        RuntimeError: if one of them is missing, with the command that installs both.
    """
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise RuntimeError(
            '--engine ray needs Ray. Install it with  pip install "ugc-super-resolution[cluster]"'
        ) from error


@contextmanager
def ray_session() -> Iterator[None]:
    """Join the cluster that RAY_ADDRESS names, or start Ray on this machine and stop it at the end.

    Usage statistics are not sent unless RAY_USAGE_STATS_ENABLED says so.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    started = not ray.is_initialized()
    if started:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        if started:
            ray.shutdown()
