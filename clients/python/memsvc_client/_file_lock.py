"""A lock on a file, for as long as it is open."""

import fcntl
import os
from pathlib import Path

from memsvc_client import _values


class FileLock:
    """One descriptor of a file, made when it is not there, and the lock on it (flock).

    Raises:
        InvalidArgumentError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _values.wrong("path", f"{path} cannot be opened: {error.strerror}") from error

    def take(self) -> bool:
        """Try to hold the lock alone; return whether it is held."""
        return self._lock(fcntl.LOCK_EX)

    def share(self) -> bool:
        """Try to hold the lock together with others who share it; return whether it is held."""
        return self._lock(fcntl.LOCK_SH)

    def close(self) -> None:
        """Let go, unless another process was handed the descriptor. The file stays."""
        os.close(self.descriptor)

    def _lock(self, kind: int) -> bool:
        try:
            fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
