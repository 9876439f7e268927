"""Memory for arrays that grow block by block: a process's own, or a file's.

What is of a file the system may take out of memory, and read again. A file here has no name: nobody else opens it, and
it is gone with the process, however that ends.
"""

import logging
import mmap
import os
import tempfile
from pathlib import Path

folder: Path | None = None
"""Where files are made; None keeps all in memory. Of the whole process."""

EXTENT = 64 << 20
"""Bytes of a file: a process may have few files."""
_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}

_log = logging.getLogger(__name__)


def own(size: int) -> memoryview:
    """Return so many bytes of 0 in memory.

    Pages of a private map cost no memory until they are written; an allocator may hand out used ones, and of a shared
    map even those that are only read take some.
    """
    return memoryview(mmap.mmap(-1, size, **_PRIVATE))


class Pages:
    """Blocks of files; of memory where there are no files to be had."""

    def __init__(self) -> None:
        self._left = memoryview(b"")

    def block(self, size: int) -> memoryview:
        """Return so many bytes of 0."""
        if len(self._left) < size:
            self._left = file(max(size, EXTENT)) or own(size)
        taken, self._left = self._left[:size], self._left[size:]
        return taken


def file(size: int) -> memoryview | None:
    """Return so many bytes of 0 of a file; None where there is none to be had."""
    if folder is None or not hasattr(os, "posix_fallocate"):
        return None
    try:
        with tempfile.TemporaryFile(dir=folder) as made:
            # A full disk is told of here; at a write it would be a signal that ends the process.
            os.posix_fallocate(made.fileno(), 0, size)
            return memoryview(mmap.mmap(made.fileno(), size))
    except OSError as error:
        _log.warning("what could lie in a file is kept in memory: %s", error.strerror)
        return None
