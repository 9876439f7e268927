"""A path of a directory's unix socket that the system takes: they may be 100 bytes long, which directories exceed."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

SOCKET = "embedded.sock"
MAX_BYTES = 103
"""What every system takes: macOS no more, Linux 107."""


class SocketPath:
    """The socket lies in the directory; where that is too long a path, the way there is a link from a short one."""

    def __init__(self, directory: Path) -> None:
        self._link: Path | None = None
        self.path = directory / SOCKET
        if len(os.fsencode(self.path)) > MAX_BYTES:
            self._link = Path(tempfile.mkdtemp(prefix="memsvc-")) / "d"  # only this user may look into it
            self._link.symlink_to(directory)
            self.path = self._link / SOCKET

    def close(self) -> None:
        """Take the link away. A process that is killed leaves it behind, an empty directory's worth."""
        if self._link is not None:
            with suppress(OSError):
                self._link.unlink()
                self._link.parent.rmdir()
