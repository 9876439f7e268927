"""Getting back the room of emptied rows, at start-up, when they are most of log.db."""

import os
import sqlite3
from pathlib import Path

from memsvc.store.sqlite.database import connect, create, pragma_int, truncate_wal
from memsvc.store.sqlite.lock import sync_directory
from memsvc.store.sqlite.schema import LOG, PAGE_BYTES

MIN_DEAD_BYTES = 64 * 1024 * 1024
_COPY_NAME = "log.db-compact"


def discard_copy(directory: Path) -> None:
    """Remove what a crash in the middle of `compact` left."""
    (directory / _COPY_NAME).unlink(missing_ok=True)


def is_worthwhile(connection: sqlite3.Connection, min_dead_bytes: int) -> bool:
    """Whether emptied rows take at least that much, and half of the file."""
    (dead,) = connection.execute("SELECT value FROM meta WHERE name = 'dead_bytes'").fetchone()
    return bool(dead >= max(min_dead_bytes, pragma_int(connection, "page_count") * PAGE_BYTES // 2))


def compact(connection: sqlite3.Connection, directory: Path) -> sqlite3.Connection:
    """Write log.db anew without the room of emptied rows, and return a connection to it. No other may be open.

    Raises:
        sqlite3.Error: there is no room for the copy; the connection given still serves.
    """
    copy, log = directory / _COPY_NAME, directory / LOG.name
    create(copy)
    try:
        connection.execute("VACUUM INTO ?", (str(copy),))
        written = connect(copy, LOG)
        written.execute("UPDATE meta SET value = 0 WHERE name = 'dead_bytes'")
        written.close()
        truncate_wal(connection)
    except sqlite3.Error:
        discard_copy(directory)
        raise
    connection.close()  # the last one: it takes its write-ahead log away, which must not meet the new file
    fd = os.open(copy, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(copy, log)
    sync_directory(directory)
    fresh = connect(log, LOG)
    fresh.execute("PRAGMA journal_mode = WAL").fetchall()
    return fresh
