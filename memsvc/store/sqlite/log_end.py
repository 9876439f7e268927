"""The end of a tenant's log, where the next record goes."""

import sqlite3
from typing import NamedTuple

from memsvc.store.refusals import no_tenant
from memsvc.store.sqlite.log_about import pack
from memsvc.store.types import EntryState, Record


class End(NamedTuple):
    """A living tenant, and what its next record will have."""

    no: int
    id_key: bytes
    seq: int
    number: int
    """Of its first entry."""
    commit_us: int


def find_end(connection: sqlite3.Connection, uid: str, now_us: int) -> End:
    """Return the end of a tenant's log.

    Raises:
        NotFoundError: no such tenant.
    """
    row = connection.execute("SELECT no, id_key, seq, number, commit_us FROM living WHERE uid = ?", (uid,)).fetchone()
    if row is None:
        raise no_tenant()
    no, id_key, seq, number, commit_us = row
    return End(no, id_key, seq + 1, number + 1, max(now_us, commit_us))


def insert(connection: sqlite3.Connection, no: int, record: Record, previous: int | None = None) -> None:
    """Write a record with its entries there. The index of ids is the caller's.

    Args:
        connection: the committer's.
        no: whose record it is.
        record: its entries live.
        previous: the revision that its entry replaces.
    """
    entries, about = record.entries, pack(record.about)
    first, last = (entries[0].number, entries[-1].number) if entries else (0, 0)
    size = record.size + len(about)
    connection.execute(
        "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (no, record.seq, record.commit_us, record.kind, record.body, about, first, last, size),
    )
    if entries:
        (used,) = connection.execute("SELECT coalesce(max(no), 0) FROM payloads").fetchone()
        rows = list(enumerate(entries, start=used + 1))
        connection.executemany(
            "INSERT INTO payloads VALUES (?, ?, ?, ?)",
            [(row, e.payload.id.encode(), e.payload.content_hash, e.payload.data) for row, e in rows],
        )
        connection.executemany(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, NULL, ?)",
            [
                (no, e.number, e.seq, row, EntryState.LIVE, e.payload.learn, previous, e.payload.expire_us)
                for row, e in rows
            ],
        )
    # What a record is about counts, too: a copy may lack the entry, but its number is not given again.
    connection.execute(
        "UPDATE heads SET seq = ?, number = max(number, ?), commit_us = ?, bytes = bytes + ? WHERE tenant = ?",
        (record.seq, max((last, *record.about)), record.commit_us, size, no),
    )
