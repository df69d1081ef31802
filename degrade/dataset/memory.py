"""Memory of worker processes."""

import ctypes
import sys

KEPT_BYTES = 256 * 2**20
LARGEST_BYTES = 32 * 2**20  # the most that the library takes; larger blocks go back to the system at once
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # malloc.h of the GNU C library


def keep_memory() -> None:
    """Keep what this process frees for its next photo, instead of giving it back to the system at once.

    Effects make and drop tensors of some MB all the time; getting their pages anew from the system costs
    7 to 25 % of the time of a chain (measured). For processes of our own: it holds for the whole process.
    Does nothing where the C library is not GNU's.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(MMAP_THRESHOLD, LARGEST_BYTES)
        library.mallopt(TRIM_THRESHOLD, KEPT_BYTES)
