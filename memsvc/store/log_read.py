"""What the log answers: each function reads on a connection of its own, and finishes every cursor it opens."""

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from memsvc.store.base import EntryState, Erasure, Payload, Record, RecordKind, StoredEntry, TenantRow
from memsvc.store.log_about import unpack
from memsvc.store.log_end import no_tenant
from memsvc.store.log_hash import id_hash, tenant_hash
from memsvc.store.log_ids import deleted, forgotten
from memsvc.store.log_requests import REQUEST_US, Operation

TENANT_BYTES = 1024
ENTRY_BYTES = 160
"""What a tenant and an entry take on disk beside what a caller wrote, about, as measured."""

_RECORD_BYTES = 64
"""What a record counts for beside its payload, so that empty ones do not make a read endless."""


def get_tenant(connection: sqlite3.Connection, tenant: str) -> TenantRow | None:
    """Return the living tenant of that id."""
    row = connection.execute(
        "SELECT uid, tenant, created_us, config FROM living WHERE tenant_hash = ?", (tenant_hash(tenant),)
    ).fetchone()
    return None if row is None else _tenant(row)


def list_tenants(connection: sqlite3.Connection, after: str, limit: int) -> list[TenantRow]:
    """Return up to `limit` living tenants in byte order.

    It reads them all: an index of their ids would leave copies of them behind.
    """
    rows = connection.execute(
        "SELECT uid, tenant, created_us, config FROM tenants WHERE tenant > ? ORDER BY tenant LIMIT ?",
        (after.encode(), limit),
    )
    return [_tenant(row) for row in rows.fetchall()]


def find_deleted(connection: sqlite3.Connection, tenant: str, request_id: str, now_us: int) -> bool:
    """Whether this request_id deleted a tenant of that id within 24 hours."""
    row = connection.execute(
        "SELECT 1 FROM requests WHERE request_id = ? AND operation = ? AND digest = ? AND at_us > ?",
        (request_id.encode(), Operation.DELETE, tenant_hash(tenant), now_us - REQUEST_US),
    ).fetchone()
    return row is not None


def head(connection: sqlite3.Connection, uid: str) -> int:
    """Return the seq of the last record.

    Raises:
        NotFoundError: no such tenant.
    """
    row = connection.execute("SELECT seq FROM living WHERE uid = ?", (uid,)).fetchone()
    if row is None:
        raise no_tenant()
    return int(row[0])


def heads(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the seq of the last record of every tenant, by uid."""
    return dict(connection.execute("SELECT uid, seq FROM living").fetchall())


def read(connection: sqlite3.Connection, uid: str, after_seq: int, max_bytes: int) -> list[Record]:
    """Return whole records after that seq, in order."""
    no = _number_of(connection, uid)
    return [] if no is None else _records(connection, no, after_seq, max_bytes)


def record_at(connection: sqlite3.Connection, no: int, seq: int) -> Record:
    """Return one record, which is there."""
    return _records(connection, no, seq - 1, 0)[0]


def entries(connection: sqlite3.Connection, uid: str, numbers: Sequence[int]) -> list[StoredEntry]:
    """Return the living entries of those numbers, in the order asked."""
    if (no := _number_of(connection, uid)) is None:
        return []
    query = (
        "SELECT number, seq, commit_us, id, content_hash, data, learn FROM stored "
        "WHERE tenant = ? AND number = ? AND state = ?"
    )
    rows = (connection.execute(query, (no, number, EntryState.LIVE)).fetchone() for number in numbers)
    return _entries(row for row in rows if row is not None)


def entry_by_id(connection: sqlite3.Connection, uid: str, id: str) -> StoredEntry | None:
    """Return the living entry of that id.

    Raises:
        NotFoundError: it was deleted or forgotten.
    """
    row = connection.execute("SELECT no, id_key FROM living WHERE uid = ?", (uid,)).fetchone()
    if row is None:
        return None
    no, id_key = row
    # One statement: between two, what the first found could be replaced and destroyed.
    found = connection.execute(
        "SELECT e.state, e.number, e.seq, r.commit_us, p.id, p.content_hash, p.data, e.learn FROM ids i "
        "LEFT JOIN entries e ON e.tenant = i.tenant AND e.number = i.current "
        "LEFT JOIN records r ON r.tenant = e.tenant AND r.seq = e.seq LEFT JOIN payloads p ON p.no = e.payload "
        "WHERE i.tenant = ? AND i.id_hash = ?",
        (no, id_hash(id_key, id)),
    ).fetchone()
    if found is None:
        return None
    state, *entry = found
    if state != EntryState.LIVE:
        raise deleted(id) if state == EntryState.DELETED else forgotten(id)
    return _entries([entry])[0]


def scan(connection: sqlite3.Connection, uid: str, after_number: int, limit: int) -> list[StoredEntry]:
    """Return up to `limit` living entries with greater numbers, in order."""
    if (no := _number_of(connection, uid)) is None:
        return []
    rows = connection.execute(
        "SELECT number, seq, commit_us, id, content_hash, data, learn FROM stored "
        "WHERE tenant = ? AND number > ? AND state = ? ORDER BY number LIMIT ?",
        (no, after_number, EntryState.LIVE, limit),
    )
    return _entries(rows.fetchall())


def erasure(connection: sqlite3.Connection, operation: str) -> Erasure | None:
    """Return an erasure of a living tenant by its name."""
    row = connection.execute(
        "SELECT e.operation, t.uid, e.seq, e.entries, e.first_seq, e.done, e.receipt FROM erasures e "
        "CROSS JOIN living t ON t.no = e.tenant WHERE e.operation = ?",
        (operation,),
    ).fetchone()
    return None if row is None else _erasure(row)


def erasure_of(connection: sqlite3.Connection, uid: str, seq: int) -> Erasure:
    """Return the erasure that the FORGET at that seq started, which is there."""
    row = connection.execute(
        "SELECT e.operation, t.uid, e.seq, e.entries, e.first_seq, e.done, e.receipt FROM living t "
        "CROSS JOIN erasures e ON e.tenant = t.no WHERE t.uid = ? AND e.seq = ?",
        (uid, seq),
    ).fetchone()
    return _erasure(row)


def unfinished_erasures(connection: sqlite3.Connection) -> list[Erasure]:
    """Return every living tenant's erasures that are not done, in the order of their records."""
    rows = connection.execute(
        "SELECT e.operation, t.uid, e.seq, e.entries, e.first_seq, e.done, e.receipt FROM erasures e "
        "CROSS JOIN living t ON t.no = e.tenant WHERE e.done = 0 ORDER BY e.tenant, e.seq"
    )
    return [_erasure(row) for row in rows.fetchall()]


def size(connection: sqlite3.Connection, uid: str) -> int:
    """Return about how many bytes of log.db are the tenant's."""
    row = connection.execute("SELECT bytes, number FROM living WHERE uid = ?", (uid,)).fetchone()
    return 0 if row is None else TENANT_BYTES + int(row[0]) + ENTRY_BYTES * int(row[1])


def condemned(connection: sqlite3.Connection) -> list[str]:
    """Return the uids of tenants whose deletion was not finished."""
    rows = connection.execute("SELECT uid FROM tenants WHERE tenant IS NULL AND uid IS NOT NULL").fetchall()
    return [uid for (uid,) in rows]


def _records(connection: sqlite3.Connection, no: int, after_seq: int, max_bytes: int) -> list[Record]:
    rows: list[Any] = []
    size = 0
    cursor = connection.execute(
        "SELECT seq, commit_us, kind, body, about, first, count, bytes FROM records WHERE tenant = ? AND seq > ? "
        "ORDER BY seq",
        (no, after_seq),
    )
    for row in cursor:
        size += row[7] + _RECORD_BYTES
        if rows and size > max_bytes:
            break
        rows.append(row)
    cursor.close()  # an open cursor would hold up the checkpoint
    with_entries = [row for row in rows if row[6]]
    entries: dict[int, tuple[StoredEntry, ...]] = {}
    if with_entries:
        first, last = with_entries[0][5], with_entries[-1][5] + with_entries[-1][6] - 1
        stored = connection.execute(
            "SELECT number, seq, commit_us, id, content_hash, data, learn FROM stored "
            "WHERE tenant = ? AND number BETWEEN ? AND ? ORDER BY number",
            (no, first, last),
        ).fetchall()
        entries = {seq: tuple(group) for seq, group in groupby(_entries(stored), key=attrgetter("seq"))}
    return [
        Record(
            seq=seq,
            commit_us=commit_us,
            kind=RecordKind(kind),
            body=body,
            entries=entries.get(seq, ()),
            about=unpack(about),
        )
        for seq, commit_us, kind, body, about, *_ in rows
    ]


def _number_of(connection: sqlite3.Connection, uid: str) -> int | None:
    row = connection.execute("SELECT no FROM living WHERE uid = ?", (uid,)).fetchone()
    return None if row is None else int(row[0])


def _tenant(row: tuple[str, bytes, int, bytes]) -> TenantRow:
    uid, tenant, created_us, config = row
    return TenantRow(uid=uid, tenant=tenant.decode(), created_us=created_us, config=config)


def _entries(rows: Iterable[Any]) -> list[StoredEntry]:
    return [
        StoredEntry(
            number=number,
            seq=seq,
            commit_us=commit_us,
            payload=Payload(id=id.decode(), content_hash=content_hash, data=data, learn=bool(learn)),
        )
        for number, seq, commit_us, id, content_hash, data, learn in rows
    ]


def _erasure(row: tuple[str, str, int, int, int, int, bytes]) -> Erasure:
    operation, uid, seq, entries, first_seq, done, receipt = row
    return Erasure(
        operation=operation,
        uid=uid,
        seq=seq,
        entries=entries,
        first_seq=first_seq,
        done=bool(done),
        receipt=receipt,
    )
