"""Memory allocation in worker processes."""

import ctypes
import sys

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
