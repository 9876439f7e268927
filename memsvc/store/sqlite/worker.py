"""A connection and the one thread that uses it."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from memsvc.errors import MemsvcError
from memsvc.store.sqlite.faults import closed

P = ParamSpec("P")
T = TypeVar("T")


class Worker:
    """Runs functions on a connection, one after another, away from the event loop."""

    def __init__(
        self, name: str, connection: sqlite3.Connection, translate: Callable[[sqlite3.Error], MemsvcError]
    ) -> None:
        self._connection = connection
        self._translate = translate
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return function(connection, *args, **kwargs). A cancelled caller's function runs to its end, or not at all.

        Raises:
            MemsvcError: as the function does, or SQLite's error in words.
        """
        call = partial(function, self._connection, *args, **kwargs)
        try:
            future = asyncio.get_running_loop().run_in_executor(self._executor, call)
        except RuntimeError as error:  # after shutdown
            raise closed() from error
        try:
            return await future
        except sqlite3.Error as error:
            raise self._translate(error) from error

    def close(self) -> None:
        """Finish what was asked for, then close the connection. Blocks."""
        self._executor.shutdown()
        self._connection.close()
