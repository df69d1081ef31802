"""The setup of worker processes."""

import ctypes
import signal
import sys

import torch

from ...processes import end_with_parent

KEPT_BYTES = 256 * 2**20
LARGEST_BYTES = 32 * 2**20  # the most that the library takes; larger blocks go back to the system at once
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # malloc.h of the GNU C library


def keep_memory() -> None:
    """Make this process keep freed memory for the next photo instead of returning it to the system.

    Effects allocate and free tensors of some MB all the time; getting their pages from the system again costs
    7 to 25 % of the time of a chain (measured). The setting holds for the whole process, so call it in
    processes of our own. Does nothing unless the C library is GNU's.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(MMAP_THRESHOLD, LARGEST_BYTES)
        library.mallopt(TRIM_THRESHOLD, KEPT_BYTES)


def start_worker() -> None:
    """Set up a worker: it ends with its parent, leaves Ctrl-C to it, and uses one thread."""
    end_with_parent()  # otherwise it would wait for work for ever after its parent was killed
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to every process; the parent decides
    torch.set_num_threads(1)
    keep_memory()
