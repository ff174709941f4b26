"""How the process' memory is managed where that costs time."""

import ctypes

# Of glibc's malloc.h; its manual page mallopt(3) says what they do.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
MEGABYTE = 2**20


def keep_freed_memory() -> None:
    """Keep freed memory for the next images instead of giving it back to the system each time.

    Fetching the pages of an image's few megabytes anew took a sixth of the time of reading samples.
    Without glibc nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 32 * MEGABYTE)  # the most it takes
        mallopt(M_TRIM_THRESHOLD, 1024 * MEGABYTE)
        mallopt(M_TOP_PAD, 16 * MEGABYTE)
