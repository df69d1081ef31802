"""Child processes that end with their parent, however that ends: a signal, SIGKILL, a crash.

Workers, scripts and the guard of a local Ray wait for the other end of a pipe to close, which the system does
for every process that ends.
"""

import logging
import multiprocessing
import os
import signal
import subprocess
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

# Kills the processes with these numbers once stdin is closed. Left alone, the agents of a Ray whose driver
# was killed live on for minutes; its workers end with it. The driver names them, as it may end before the
# guard looks.
_GUARD = """
import contextlib, psutil, sys

named = []
for number in sys.argv[1:]:
    with contextlib.suppress(psutil.NoSuchProcess):
        named.append(psutil.Process(int(number)))
sys.stdin.read()
for process in named:
    with contextlib.suppress(psutil.Error):
        process.kill()
"""

# A command of these words and a script's ends with us, if its stdin is a pipe and its session its own.
ENDS_WITH_US = (sys.executable, "-c", _SCRIPT)
_guards: list[subprocess.Popen[bytes]] = []  # while they are referenced, their pipes stay open


def end_with_parent() -> None:
    """End this process, started by `multiprocessing`, as soon as its parent has ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_and_end, args=(parent.sentinel,), daemon=True).start()


def _wait_and_end(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def check_ray() -> None:
    """Check that Ray, Ray Data and psutil are installed.

    Raises:
        RuntimeError: if one of them is missing, with the command that installs all.
    """
    # After a shutdown, any call of Ray from a thread that is left would start it again.
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
    try:
        import psutil  # noqa: F401
        import ray.data  # noqa: F401
    except ImportError as error:
        raise RuntimeError(
            '--engine ray needs Ray. Install it with  pip install "ugc-super-resolution[cluster]"'
        ) from error


def start_ray() -> bool:
    """Join the cluster that RAY_ADDRESS names, or start Ray on this machine.

    SIGTERM keeps its handler, which Ray would replace. Usage statistics are not sent unless
    RAY_USAGE_STATS_ENABLED says so.

    Returns:
        True if the caller has to shut Ray down; False if it was running in this process before.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import psutil
    import ray

    if ray.is_initialized():
        return False
    before = signal.getsignal(signal.SIGTERM)
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)
    started = (str(process.pid) for process in psutil.Process().children(recursive=True))
    guard = (sys.executable, "-c", _GUARD, *started)
    _guards.append(subprocess.Popen(guard, stdin=subprocess.PIPE, start_new_session=True))
    return True
