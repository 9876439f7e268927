"""The table of credentials in log.db."""

import sqlite3
from collections.abc import Collection, Mapping

from memsvc.store import refusals
from memsvc.store.credentials import CredentialTable


def table(connection: sqlite3.Connection) -> CredentialTable:
    """Return every credential."""
    connection.execute("BEGIN")  # the version is that of the rows
    try:
        bodies = dict(connection.execute("SELECT id, body FROM credentials").fetchall())
        return CredentialTable(version(connection), bodies)
    finally:
        connection.execute("ROLLBACK")


def version(connection: sqlite3.Connection) -> int:
    """Return the table's version."""
    (found,) = connection.execute("SELECT value FROM meta WHERE name = 'credentials_version'").fetchone()
    return int(found)


def change(
    connection: sqlite3.Connection, *, expected: int, put: Mapping[str, bytes], drop: Collection[str], now_us: int
) -> int:
    """Put and drop credentials; an operation of the committer's.

    Raises:
        FailedPreconditionError: the table is of another version.
    """
    if version(connection) != expected:
        raise refusals.credentials_changed()
    connection.executemany("DELETE FROM credentials WHERE id = ?", ((id,) for id in drop))
    connection.executemany("INSERT OR REPLACE INTO credentials VALUES (?, ?)", put.items())
    connection.execute("UPDATE meta SET value = ? WHERE name = 'credentials_version'", (expected + 1,))
    return expected + 1
