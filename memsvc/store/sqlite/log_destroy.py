"""Payloads emptied where they lie, in slices: appends of others run between two of them.

Each function is one operation inside the committer's transaction.
"""

import sqlite3
from collections.abc import Iterable

from memsvc.failpoints import hit
from memsvc.store.hashes import content_hash_left
from memsvc.store.sqlite.log_end import End
from memsvc.store.sqlite.log_names import take_name
from memsvc.store.sqlite.schema import PAGE_BYTES
from memsvc.store.types import EntryState

SLICE_ROWS = 256
"""Rows that one slice takes."""


def condemn(connection: sqlite3.Connection, no: int) -> None:
    """Take a tenant's name and config; `purge_slice` does the rest."""
    take_name(connection, no)
    connection.execute("UPDATE tenants SET config = NULL WHERE no = ?", (no,))


def purge_slice(connection: sqlite3.Connection, uid: str) -> bool:
    """Destroy up to SLICE_ROWS rows of a condemned tenant. Return whether nothing is left of it."""
    row = connection.execute("SELECT no FROM tenants WHERE uid = ? AND config IS NULL", (uid,)).fetchone()
    if row is None:
        return True
    (no,) = row
    entries = connection.execute(
        "SELECT e.payload, e.number, coalesce(length(p.id) + length(p.content_hash) + length(p.data), 0) "
        "FROM entries e CROSS JOIN payloads p ON p.no = e.payload WHERE e.tenant = ? ORDER BY e.number LIMIT ?",
        (no, SLICE_ROWS),
    ).fetchall()
    if entries:
        _empty(connection, (payload for payload, _, _ in entries))
        connection.execute("DELETE FROM entries WHERE tenant = ? AND number <= ?", (no, entries[-1][1]))
        _count_dead(connection, (size for _, _, size in entries))
        return False
    for slice_of in (
        "DELETE FROM ids WHERE tenant = :no AND id_hash IN (SELECT id_hash FROM ids WHERE tenant = :no LIMIT :n)",
        "DELETE FROM records WHERE tenant = :no AND seq IN (SELECT seq FROM records WHERE tenant = :no LIMIT :n)",
        "DELETE FROM erasures WHERE tenant = :no AND seq IN (SELECT seq FROM erasures WHERE tenant = :no LIMIT :n)",
        "UPDATE copies SET tenant = NULL, copy = NULL WHERE no IN (SELECT no FROM copies WHERE tenant = :no LIMIT :n)",
    ):
        if connection.execute(slice_of, {"no": no, "n": SLICE_ROWS}).rowcount:
            return False
    connection.execute("DELETE FROM heads WHERE tenant = ?", (no,))
    connection.execute("DELETE FROM parked WHERE tenant = ?", (no,))
    connection.execute("UPDATE tenants SET uid = NULL, created_us = NULL, id_key = NULL WHERE no = ?", (no,))
    return True


def erase_slice(connection: sqlite3.Connection, uid: str) -> int | None:
    """Destroy up to SLICE_ROWS forgotten entries. Return the bytes of payload, None once no entry is left.

    A condemned tenant's too: whoever erases it may rely on the answer before its purge comes to them.
    """
    row = connection.execute("SELECT no FROM tenants WHERE uid = ?", (uid,)).fetchone()
    if row is None:
        return None
    (no,) = row
    entries = connection.execute(
        "SELECT payload, number, seq, coalesce(size, 0), coalesce(data_size, 0) FROM forgotten WHERE tenant = ? "
        "ORDER BY number LIMIT ?",
        (no, SLICE_ROWS),
    ).fetchall()
    if not entries:
        return None
    _empty(connection, (payload for payload, *_ in entries))
    connection.executemany(
        "DELETE FROM entries WHERE tenant = ? AND number = ?", [(no, number) for _, number, *_ in entries]
    )
    _shrink(connection, no, [(seq, data_size) for _, _, seq, _, data_size in entries])
    sizes = [size for *_, size, _ in entries]
    _count_dead(connection, sizes)
    return int(sum(sizes))


def retire(connection: sqlite3.Connection, end: End, number: int, state: EntryState, *, learn: bool) -> int:
    """Take an entry out of the living by the record at the end; return the bytes of payload that were destroyed."""
    connection.execute(
        "UPDATE entries SET state = ?, died = ? WHERE tenant = ? AND number = ?", (state, end.seq, end.no, number)
    )
    return 0 if learn else _destroy(connection, end.no, end.id_key, number)


def _destroy(connection: sqlite3.Connection, no: int, id_key: bytes, number: int) -> int:
    """Destroy one entry's payload but for what tells whether other content is equal. Return its bytes."""
    payload, seq, content_hash, size, data_size = connection.execute(
        "SELECT e.payload, e.seq, p.content_hash, length(p.id) + length(p.content_hash) + length(p.data), "
        "length(p.data) FROM entries e CROSS JOIN payloads p ON p.no = e.payload WHERE e.tenant = ? AND e.number = ?",
        (no, number),
    ).fetchone()
    connection.execute(
        "UPDATE payloads SET id = NULL, content_hash = ?, data = NULL WHERE no = ?",
        (content_hash_left(id_key, content_hash), payload),
    )
    _shrink(connection, no, [(seq, data_size)])
    _count_dead(connection, [size])
    return int(size)


def _empty(connection: sqlite3.Connection, payloads: Iterable[int]) -> None:
    hit("erase.payloads")
    connection.executemany(
        "UPDATE payloads SET id = NULL, content_hash = NULL, data = NULL WHERE no = ?", [(no,) for no in payloads]
    )


def _shrink(connection: sqlite3.Connection, no: int, sizes: list[tuple[int, int]]) -> None:
    """Take bytes of data, each with its record's seq, from what the tenant's log counts."""
    connection.executemany(
        "UPDATE records SET bytes = bytes - ? WHERE tenant = ? AND seq = ?", [(size, no, seq) for seq, size in sizes]
    )
    total = sum(size for _, size in sizes)
    connection.execute("UPDATE heads SET bytes = bytes - ? WHERE tenant = ?", (total, no))


def _count_dead(connection: sqlite3.Connection, sizes: Iterable[int]) -> None:
    # What lies on overflow pages is given back at once; the rest of the row only by `compact`.
    dead = sum(min(size, PAGE_BYTES) for size in sizes)
    connection.execute("UPDATE meta SET value = value + ? WHERE name = 'dead_bytes'", (dead,))
