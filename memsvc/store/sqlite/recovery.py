"""A data directory before it serves: checked, laid out if new, and what a crash left unfinished is finished."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

from memsvc.errors import DataLossError, FailedPreconditionError
from memsvc.store.sqlite import log_destroy, log_read, log_stage, views
from memsvc.store.sqlite.compact import compact, discard_copy, is_worthwhile
from memsvc.store.sqlite.database import prepare, truncate_wal
from memsvc.store.sqlite.schema import LOG, VIEWS

_logger = logging.getLogger(__name__)


def recover(directory: Path, *, verify_bytes: int, compact_bytes: int) -> None:
    """Make both databases ready, with empty write-ahead logs and nothing of a deleted or staged tenant in them.

    An unfinished erasure is the caller's to go on with: before payloads go, views must be folded without them.

    Raises:
        FailedPreconditionError: a file is of a newer format, or another program's.
        DataLossError: the log is damaged. Damaged views are replaced, and that is logged.
        UnavailableError: a file cannot be read or written.
        sqlite3.Error: likewise.
    """
    stay = _recover_log(directory, verify_bytes, compact_bytes)
    with closing(_open_views(directory, verify_bytes, ours=bool(stay))) as connection:
        for uid in views.tenants(connection) - stay:
            views.drop_from(connection, uid)
        truncate_wal(connection)


def _recover_log(directory: Path, verify_bytes: int, compact_bytes: int) -> set[str]:
    """Return the uids of the tenants that stay: the living, and those parked behind them."""
    discard_copy(directory)
    connection = prepare(directory, LOG, verify_bytes)
    try:
        connection.execute("BEGIN IMMEDIATE")
        log_stage.condemn_every_staged(connection)
        connection.execute("COMMIT")
        for uid in log_read.condemned(connection):
            done = False
            while not done:
                connection.execute("BEGIN IMMEDIATE")
                done = log_destroy.purge_slice(connection, uid)
                connection.execute("COMMIT")
        if is_worthwhile(connection, compact_bytes):
            connection = _compact(connection, directory)
        truncate_wal(connection)
        return log_read.undying(connection)
    finally:
        connection.close()


def _compact(connection: sqlite3.Connection, directory: Path) -> sqlite3.Connection:
    try:
        return compact(connection, directory)
    except sqlite3.Error as error:
        _logger.warning("log.db keeps the room of deleted text: %s", error)
        return connection


def _open_views(directory: Path, verify_bytes: int, *, ours: bool) -> sqlite3.Connection:
    try:
        return prepare(directory, VIEWS, verify_bytes)
    except (DataLossError, FailedPreconditionError) as error:
        # Beside a log with tenants, a file of this name that does not read was ours.
        if error.reason != "DATABASE_DAMAGED" and not (ours and error.reason == "DATA_FORMAT_UNKNOWN"):
            raise
        _logger.warning("the snapshots are lost and will be made again from the log: %s", error)
    for suffix in ("", "-wal", "-shm"):
        (directory / f"{VIEWS.name}{suffix}").unlink(missing_ok=True)
    return prepare(directory, VIEWS, verify_bytes)
