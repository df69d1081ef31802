"""Processes that end with the one that started them, whatever ends that: a signal, SIGKILL, a crash.

Workers and scripts wait for the other end of a pipe to be closed, which the system does for every process
that ends. Ray's processes watch the one that started them by themselves.
"""

import logging
import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.connection import wait

# Runs a script as `python script.py ...` does, and kills it and all that it started once stdin is closed.
_SCRIPT = """
import os, runpy, signal, sys, threading

def end_with_parent(pipe):
    os.read(pipe, 1)
    os.killpg(0, signal.SIGKILL)

threading.Thread(target=end_with_parent, args=(os.dup(0),), daemon=True).start()
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
del sys.argv[0]
sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""

# A command of these words and a script's ends with us, if its stdin is a pipe and its session its own.
ENDS_WITH_US = (sys.executable, "-c", _SCRIPT)


def end_with_parent() -> None:
    """End this process, which `multiprocessing` started, as soon as the one that started it has ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_and_end, args=(parent.sentinel,), daemon=True).start()


def _wait_and_end(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def start_ray() -> bool:
    """Join the cluster that RAY_ADDRESS names, else start Ray here; False where this process has done so.

    SIGTERM keeps its meaning, which Ray would change. Usage statistics are not sent unless
    RAY_USAGE_STATS_ENABLED says so.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        return False
    before = signal.getsignal(signal.SIGTERM)
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)
    return True
