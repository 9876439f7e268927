"""What the machine has."""

import os
from contextlib import suppress
from pathlib import Path

CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
FALLBACK_BYTES = 4 << 30
"""Where the system does not tell."""


def memory_bytes() -> int:
    """Return the memory of the machine, or of the container that this process is held to."""
    sizes = []
    with suppress(ValueError, OSError, AttributeError):
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in CGROUP_LIMITS:
        with suppress(ValueError, OSError):  # "max" is no number, and no limit
            sizes.append(int(limit.read_text()))
    return min((size for size in sizes if size > 0), default=FALLBACK_BYTES)
