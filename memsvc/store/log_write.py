"""What changes the log: each function is one operation inside the committer's transaction.

A MemsvcError undoes that operation alone; an sqlite3.Error undoes the whole group.
"""

import hashlib
import os
import sqlite3
import uuid
from collections.abc import Sequence
from enum import IntEnum

from memsvc.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from memsvc.store.base import Appended, Payload, Record, RecordKind, StoredEntry, TenantRow
from memsvc.store.schema import PAGE_BYTES

REQUEST_US = 24 * 3600 * 1_000_000
"""How long a request_id is remembered."""

SLICE_ROWS = 256
"""Rows that one slice of a purge takes: appends of others run between slices."""

ID_KEY_BYTES = 32


class Operation(IntEnum):
    """What a request_id was used for. Numbers are part of the format."""

    CREATE = 1
    DELETE = 2


_HASH_BYTES = 16


def create_tenant(
    connection: sqlite3.Connection, *, tenant: str, config: bytes, body: bytes, request_id: str, now_us: int
) -> TenantRow:
    """Create a tenant and its first record.

    Raises:
        AlreadyExistsError: a tenant of that id lives.
        FailedPreconditionError: the request_id was used for something else.
    """
    digest = _hash(tenant.encode(), config, body)
    if (seen := _seen(connection, request_id, Operation.CREATE, digest, now_us)) is not None:
        uid, at_us = seen
        return TenantRow(uid=uid, tenant=tenant, created_us=at_us, config=config)
    name_hash = tenant_hash(tenant)
    if connection.execute("SELECT 1 FROM tenants WHERE tenant_hash = ?", (name_hash,)).fetchone():
        raise AlreadyExistsError("a tenant of that id exists", reason="TENANT_EXISTS")
    uid = uuid.uuid4().hex
    cursor = connection.execute(
        "INSERT INTO tenants (uid, tenant, tenant_hash, created_us, config, id_key) VALUES (?, ?, ?, ?, ?, ?)",
        (uid, tenant.encode(), name_hash, now_us, config, os.urandom(ID_KEY_BYTES)),
    )
    connection.execute(
        "INSERT INTO records VALUES (?, 1, ?, ?, ?, 0, 0, ?)",
        (cursor.lastrowid, now_us, RecordKind.CREATE, body, len(body)),
    )
    connection.execute("INSERT INTO heads VALUES (?, 1, 0, ?, ?)", (cursor.lastrowid, now_us, len(body)))
    _remember(connection, request_id, Operation.CREATE, digest, uid, now_us=now_us)
    return TenantRow(uid=uid, tenant=tenant, created_us=now_us, config=config)


def condemn_tenant(connection: sqlite3.Connection, *, uid: str, request_id: str, now_us: int) -> None:
    """Take a tenant's name, so that it is gone for every reader and its id is free; `purge_slice` does the rest.

    Raises:
        NotFoundError: no such tenant, and the request_id is new.
        FailedPreconditionError: the request_id was used for something else.
    """
    row = connection.execute("SELECT tenant FROM living WHERE uid = ?", (uid,)).fetchone()
    digest = None if row is None else tenant_hash(row[0].decode())
    if (seen := _seen(connection, request_id, Operation.DELETE, digest, now_us)) is not None:
        if seen[0] != uid:
            raise _reused()
        return
    if digest is None:
        raise NotFoundError("no such tenant", reason="TENANT_NOT_FOUND")
    connection.execute("UPDATE tenants SET tenant = NULL, tenant_hash = NULL, config = NULL WHERE uid = ?", (uid,))
    _remember(connection, request_id, Operation.DELETE, digest, uid, now_us=now_us)


def purge_slice(connection: sqlite3.Connection, uid: str) -> bool:
    """Destroy up to SLICE_ROWS rows of a condemned tenant. Return whether nothing is left of it."""
    row = connection.execute("SELECT no FROM tenants WHERE uid = ? AND tenant IS NULL", (uid,)).fetchone()
    if row is None:
        return True
    (no,) = row
    entries = connection.execute(
        "SELECT e.payload, e.number, length(p.id) + length(p.content_hash) + length(p.data) "
        "FROM entries e CROSS JOIN payloads p ON p.no = e.payload WHERE e.tenant = ? ORDER BY e.number LIMIT ?",
        (no, SLICE_ROWS),
    ).fetchall()
    if entries:
        connection.executemany(
            "UPDATE payloads SET id = NULL, content_hash = NULL, data = NULL WHERE no = ?", [(e[0],) for e in entries]
        )
        connection.execute("DELETE FROM entries WHERE tenant = ? AND number <= ?", (no, entries[-1][1]))
        # What lies on overflow pages is given back at once; the rest of the row only by `compact`.
        dead = sum(min(size, PAGE_BYTES) for _, _, size in entries)
        connection.execute("UPDATE meta SET value = value + ? WHERE name = 'dead_bytes'", (dead,))
        return False
    for slice_of in (
        "DELETE FROM ids WHERE tenant = ?1 AND id_hash IN (SELECT id_hash FROM ids WHERE tenant = ?1 LIMIT ?2)",
        "DELETE FROM records WHERE tenant = ?1 AND seq IN (SELECT seq FROM records WHERE tenant = ?1 LIMIT ?2)",
    ):
        if connection.execute(slice_of, (no, SLICE_ROWS)).rowcount:
            return False
    connection.execute("DELETE FROM heads WHERE tenant = ?", (no,))
    connection.execute("UPDATE tenants SET uid = NULL, created_us = NULL, id_key = NULL WHERE no = ?", (no,))
    return True


def append(
    connection: sqlite3.Connection,
    *,
    uid: str,
    kind: RecordKind,
    body: bytes,
    payloads: Sequence[Payload],
    now_us: int,
) -> Appended:
    """Append one record, and number the payloads that are new.

    Raises:
        AlreadyExistsError: an id is known with other content.
        NotFoundError: no such tenant.
    """
    row = connection.execute("SELECT no, id_key, seq, number, commit_us FROM living WHERE uid = ?", (uid,)).fetchone()
    if row is None:
        raise NotFoundError("no such tenant", reason="TENANT_NOT_FOUND")
    no, id_key, last_seq, last_number, last_us = row
    seq, commit_us = last_seq + 1, max(now_us, last_us)

    places: list[tuple[int, int, bool]] = []  # of each payload: seq, number, skipped
    entries: list[StoredEntry] = []
    batch: dict[bytes, tuple[int, int, bytes]] = {}  # of each new id: seq, number, content hash
    for index, payload in enumerate(payloads):
        hashed = id_hash(id_key, payload.id)
        known = (
            batch.get(hashed)
            or connection.execute(
                "SELECT s.seq, s.number, s.content_hash FROM ids i CROSS JOIN stored s ON s.tenant = i.tenant "
                "AND s.number = i.number WHERE i.tenant = ? AND i.id_hash = ?",
                (no, hashed),
            ).fetchone()
        )
        if known is None:
            number = last_number + len(entries) + 1
            entries.append(StoredEntry(number=number, seq=seq, commit_us=commit_us, payload=payload))
            batch[hashed] = (seq, number, payload.content_hash)
            places.append((seq, number, False))
        elif known[2] == payload.content_hash:
            places.append((known[0], known[1], True))
        else:
            raise AlreadyExistsError(
                f"entries[{index}].id: an entry of that id exists with other content",
                reason="ENTRY_EXISTS",
                metadata={"id": payload.id, "index": str(index)},
            )

    record = None
    if entries or not payloads:
        record = Record(seq=seq, commit_us=commit_us, kind=kind, body=body, entries=tuple(entries))
        _insert(connection, no, record, list(batch))
    return Appended(
        record=record,
        seqs=tuple(place[0] for place in places),
        numbers=tuple(place[1] for place in places),
        skipped=tuple(place[2] for place in places),
    )


def touch(connection: sqlite3.Connection, *, now_us: int) -> None:
    """Write something: the readiness check."""
    connection.execute("UPDATE meta SET value = ? WHERE name = 'checked_us'", (now_us,))


def tenant_hash(tenant: str) -> bytes:
    """Return what stands for a tenant's id in an index, whose rows SQLite may leave copies of."""
    return _hash(tenant.encode())


def id_hash(key: bytes, id: str) -> bytes:
    """Return what stands for an entry's id in an index: worthless once the tenant's key is destroyed."""
    return hashlib.blake2b(id.encode(), key=key, digest_size=_HASH_BYTES).digest()


def _insert(connection: sqlite3.Connection, no: int, record: Record, hashes: list[bytes]) -> None:
    entries = record.entries
    first = entries[0].number if entries else 0
    connection.execute(
        "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (no, record.seq, record.commit_us, record.kind, record.body, first, len(entries), record.size),
    )
    if entries:
        (last,) = connection.execute("SELECT coalesce(max(no), 0) FROM payloads").fetchone()
        rows = list(enumerate(entries, start=last + 1))
        connection.executemany(
            "INSERT INTO payloads VALUES (?, ?, ?, ?)",
            [(row, e.payload.id.encode(), e.payload.content_hash, e.payload.data) for row, e in rows],
        )
        connection.executemany(
            "INSERT INTO entries VALUES (?, ?, ?, ?)", [(no, e.number, e.seq, row) for row, e in rows]
        )
        connection.executemany(
            "INSERT INTO ids VALUES (?, ?, ?)", [(no, h, e.number) for h, e in zip(hashes, entries, strict=True)]
        )
    connection.execute(
        "UPDATE heads SET seq = ?, number = number + ?, commit_us = ?, bytes = bytes + ? WHERE tenant = ?",
        (record.seq, len(entries), record.commit_us, record.size, no),
    )


def _seen(
    connection: sqlite3.Connection, request_id: str, operation: Operation, digest: bytes | None, now_us: int
) -> tuple[str, int] | None:
    """Return (uid, time) of the request of that id, if it is remembered; an empty id never is."""
    connection.execute("DELETE FROM requests WHERE at_us <= ?", (now_us - REQUEST_US,))
    row = connection.execute(
        "SELECT operation, digest, uid, at_us FROM requests WHERE request_id = ?", (request_id.encode(),)
    ).fetchone()
    if row is None:
        return None
    if row[0] != operation or (digest is not None and row[1] != digest):
        raise _reused()
    return row[2], row[3]


def _remember(
    connection: sqlite3.Connection, request_id: str, operation: Operation, digest: bytes, uid: str, *, now_us: int
) -> None:
    if request_id:
        connection.execute(
            "INSERT INTO requests VALUES (?, ?, ?, ?, ?)", (request_id.encode(), operation, digest, uid, now_us)
        )


def _reused() -> FailedPreconditionError:
    return FailedPreconditionError(
        "request_id: it was used for another request within 24 hours; use a fresh one", reason="REQUEST_ID_REUSED"
    )


def _hash(*parts: bytes) -> bytes:
    # Lengths in front: no two lists of parts hash alike.
    return hashlib.blake2b(b"".join(len(p).to_bytes(8, "little") + p for p in parts), digest_size=_HASH_BYTES).digest()
