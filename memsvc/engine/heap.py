"""The C heap: what it keeps between two pieces of work, and what it gives back to the system."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt."""
KEPT_BYTES = 32 << 20
"""An array up to this size is taken from what is free, and as much stays free for the next."""


def prepare() -> None:
    """Let arrays reuse memory, where the C library can be told.

    By default glibc asks the system anew for each larger one: filling its pages in took a third of a recall among
    100,000 entries.
    """
    if (libc := _glibc()) is not None:
        libc.mallopt(_MMAP_THRESHOLD, KEPT_BYTES)
        libc.mallopt(_TRIM_THRESHOLD, 2 * KEPT_BYTES)


def trim() -> None:
    """Return what is free to the system: glibc keeps the holes that unloaded tenants leave."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "malloc_trim") else None
