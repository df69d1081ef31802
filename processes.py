"""Child processes that end with their parent, however that ends: a signal, SIGKILL, a crash.

Both kinds wait for the other end of a pipe to close, which the system does for every process that ends.
"""

import multiprocessing
import os
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
    """End this process, started by `multiprocessing`, as soon as its parent has ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_and_end, args=(parent.sentinel,), daemon=True).start()


def _wait_and_end(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
