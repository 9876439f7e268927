"""The data directory: made private, and held by one process."""

import fcntl
import os
from pathlib import Path

from memsvc.errors import FailedPreconditionError, UnavailableError

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
LOCK = "lock"


class DirectoryLock:
    """An exclusive hold on a data directory, released by `release` or by the end of the process.

    flock, not fcntl's record locks: those a process loses with the first descriptor of the file that it closes.
    """

    def __init__(self, directory: Path) -> None:
        """Make the directory if need be, and take it.

        Raises:
            FailedPreconditionError: another process, or another store of this one, holds it.
            UnavailableError: the directory cannot be made or written.
        """
        try:
            _make(directory)
            self._fd = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            raise UnavailableError(f"the data directory {directory} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._fd, 32).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise FailedPreconditionError(
                f"the data directory {directory} is in use by process {holder or '(unknown)'}: "
                "stop it, or give this one a directory of its own",
                reason="DATA_DIRECTORY_IN_USE",
                metadata={"directory": str(directory), "pid": holder},
            ) from error
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go of the directory. The file stays: to delete it would let two processes lock two files of that name."""
        os.close(self._fd)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _make(directory: Path) -> None:
    missing = [p for p in (directory, *directory.parents) if not p.exists()]
    for path in reversed(missing):
        path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        sync_directory(path.parent)
