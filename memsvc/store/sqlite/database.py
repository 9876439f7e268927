"""Opening the databases of a data directory: with the right settings, checked, and laid out if new."""

import os
import sqlite3
import time
from pathlib import Path

from memsvc.errors import DataLossError, FailedPreconditionError, UnavailableError
from memsvc.failpoints import hit
from memsvc.store.sqlite.faults import is_damage, translate
from memsvc.store.sqlite.lock import FILE_MODE
from memsvc.store.sqlite.schema import FORMAT, PAGE_BYTES, Database

BUSY_SECONDS = 30.0
CACHE_KIB = 8 * 1024
WAL_KEPT_BYTES = 64 * 1024 * 1024
"""A write-ahead log that a burst made longer is cut back to this."""


def connect(path: Path, database: Database, *, read_only: bool = False) -> sqlite3.Connection:
    """Return a connection with the settings that are not kept in the file. Transactions are explicit."""
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        for pragma in (
            f"page_size = {PAGE_BYTES}",
            "secure_delete = ON",
            f"synchronous = {database.synchronous}",
            "temp_store = MEMORY",  # nothing of a tenant spills into the system's temporary directory
            f"cache_size = -{CACHE_KIB}",
            f"journal_size_limit = {WAL_KEPT_BYTES}",
            f"query_only = {'ON' if read_only else 'OFF'}",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(directory: Path, database: Database, verify_bytes: int) -> sqlite3.Connection:
    """Open a database that is ours, of a format we know, and sound; make it if there is none.

    Args:
        directory: the data directory.
        database: which of the two.
        verify_bytes: up to this size all of it is checked, beyond that only the small tables.

    Raises:
        FailedPreconditionError: it is another program's, or of a newer format.
        DataLossError: it is damaged.
        UnavailableError: it cannot be read or written.
    """
    path = directory / database.name
    create(path)
    try:
        connection = connect(path, database)
        try:
            _prepare(connection, path, database)
            _verify(connection, path, database, verify_bytes)
        except BaseException:
            connection.close()
            raise
        return connection
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_NOTADB":
            raise _foreign(path) from error
        raise (_damaged(path, str(error)) if is_damage(error) else translate(error)) from error


def create(path: Path) -> None:
    """Make the file, private, if there is none: SQLite gives its companions the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))


def pragma_int(connection: sqlite3.Connection, name: str) -> int:
    """Return the value of a pragma that is a number."""
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def truncate_wal(connection: sqlite3.Connection) -> None:
    """Copy the whole write-ahead log into the database and empty it, waiting for readers and for another checkpoint.

    Raises:
        UnavailableError: they outlived the wait.
    """
    hit("erase.files")
    # SQLite waits for readers, but never for another checkpoint.
    deadline = time.monotonic() + BUSY_SECONDS
    while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        if time.monotonic() > deadline:
            raise UnavailableError("the write-ahead log is in use; it could not be emptied", reason="STORE_BUSY")
        time.sleep(0.005)


def _prepare(connection: sqlite3.Connection, path: Path, database: Database) -> None:
    found, version = pragma_int(connection, "application_id"), pragma_int(connection, "user_version")
    new = not found and connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if not new and found != database.application_id:
        raise _foreign(path)
    if version > FORMAT:
        raise FailedPreconditionError(
            f"{path} has format {version}; this version of memsvc reads up to {FORMAT}: use a newer memsvc",
            reason="DATA_FORMAT_NEWER",
            metadata={"found": str(version), "known": str(FORMAT)},
        )
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise UnavailableError(f"{path} cannot have a write-ahead log on this file system; use a local disk")
    if new:
        header = f"PRAGMA application_id = {database.application_id}; PRAGMA user_version = {FORMAT};"
        connection.executescript(f"BEGIN; {database.tables} {header} COMMIT;")
    if database.additions:
        connection.executescript(f"BEGIN; {database.additions} COMMIT;")


def _verify(connection: sqlite3.Connection, path: Path, database: Database, verify_bytes: int) -> None:
    whole = pragma_int(connection, "page_count") * PAGE_BYTES <= verify_bytes
    for table in [""] if whole else [f"({name})" for name in database.small_tables]:
        (found,) = connection.execute(f"PRAGMA quick_check{table}").fetchone()
        if found != "ok":
            raise _damaged(path, found)


def _foreign(path: Path) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"{path} is not a database of memsvc: give it a directory of its own", reason="DATA_FORMAT_UNKNOWN"
    )


def _damaged(path: Path, found: str) -> DataLossError:
    return DataLossError(
        f"{path} is damaged: {found}; restore the data directory from a backup", reason="DATABASE_DAMAGED"
    )
