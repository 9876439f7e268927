"""Keeping log.db-wal short without a commit waiting for it."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from memsvc.store.sqlite.schema import PAGE_BYTES

EVERY_BYTES = 16 * 1024 * 1024
"""About what is appended between two checkpoints."""

_OPERATION_BYTES = 4 * PAGE_BYTES
"""What an operation writes to the write-ahead log beside its payload, about: the pages of four tables."""


class Checkpointer:
    """Copies the write-ahead log into the database in two steps.

    The first copies most of it on a thread and connection of its own, beside the commits. The second is the
    committer's, between two groups: it copies the little that was appended meanwhile, so that the log is wholly in the
    database and the next commit starts it again from its beginning. Without the second step a log under steady load
    would never be whole, and grow.
    """

    def __init__(self, connection: sqlite3.Connection, every_bytes: int = EVERY_BYTES) -> None:
        self._connection = connection
        self._every_bytes = every_bytes
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="memsvc-checkpoint")
        self._written = 0
        self._copying = False
        self._copied = False

    def committed(self, committer: sqlite3.Connection, operations: int, size: int) -> None:
        """Take one of the steps if it is due. For the committer's thread, once the group's callers were answered."""
        self._written += operations * _OPERATION_BYTES + size
        if self._copied:
            self._copied = self._copying = False
            _copy(committer)
        elif self._written >= self._every_bytes and not self._copying:
            self._written = 0
            with suppress(RuntimeError):  # the interpreter is going down
                self._executor.submit(self._first_step)
                self._copying = True

    def close(self) -> None:
        """Finish the step under way and close the connection. Blocks."""
        self._executor.shutdown()
        self._connection.close()

    def _first_step(self) -> None:
        _copy(self._connection)
        self._copied = True


def _copy(connection: sqlite3.Connection) -> None:
    # What fails here (a full disk, say) fails again in a commit, where it is told; nothing is lost by not copying.
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
