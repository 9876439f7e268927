"""The users of a server that ends with the last of them: who holds a lock on a file.

A lock, not a counter: a process that is killed lets go of it like any other.
"""

import asyncio
import fcntl
import os
from pathlib import Path
from threading import Thread

from memsvc.errors import UnavailableError


def watch(path: Path, stop: asyncio.Event) -> None:
    """Set an event of the running loop when nobody holds a shared lock on a file.

    From then on this process holds it alone, to its end: who comes then waits until the next server can be started.

    Raises:
        UnavailableError: the file cannot be opened.
    """
    try:
        held = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise UnavailableError(f"while_held: {path} cannot be opened: {error.strerror}") from error
    loop = asyncio.get_running_loop()

    def wait() -> None:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)

    Thread(target=wait, name="memsvc-users", daemon=True).start()
