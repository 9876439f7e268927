"""What adds to the log, and whole tenants: each function is one operation inside the committer's transaction.

A MemsvcError undoes that operation alone; an sqlite3.Error undoes the whole group.
"""

import os
import sqlite3
import uuid
from collections.abc import Sequence
from typing import NamedTuple

from memsvc.store.hashes import asked_hash, content_hash_left, id_hash, plain_hash, request_hash, tenant_hash
from memsvc.store.refusals import entry_exists, entry_forgotten, no_tenant, reused
from memsvc.store.requests import Operation, Outcome, Request
from memsvc.store.sqlite.log_destroy import condemn
from memsvc.store.sqlite.log_end import End, find_end, insert
from memsvc.store.sqlite.log_names import check_free, give_name
from memsvc.store.sqlite.log_requests import outcome, remember
from memsvc.store.types import Appended, Payload, Record, RecordKind, StoredEntry, TenantRow

ID_KEY_BYTES = 32


class _Known(NamedTuple):
    """The first revision of an id."""

    seq: int
    number: int
    content_hash: bytes
    destroyed: bool


def create_tenant(
    connection: sqlite3.Connection, *, tenant: str, config: bytes, body: bytes, request_id: str, now_us: int
) -> TenantRow:
    """Create a tenant and its first record.

    Raises:
        AlreadyExistsError: a tenant of that id lives.
        FailedPreconditionError: the request_id was used for something else.
    """
    request = Request(request_id.encode(), Operation.CREATE, plain_hash(tenant.encode(), config, body))
    if (came := outcome(connection, request, now_us)) is not None:
        return TenantRow(uid=came.uid, tenant=tenant, created_us=came.at_us, config=config)
    check_free(connection, tenant)
    uid, no = insert_tenant(connection, now_us, config, os.urandom(ID_KEY_BYTES))
    give_name(connection, no, tenant)
    insert(connection, no, Record(seq=1, commit_us=now_us, kind=RecordKind.CREATE, body=body))
    remember(connection, request, Outcome(uid, now_us, 1, 0))
    return TenantRow(uid=uid, tenant=tenant, created_us=now_us, config=config)


def condemn_tenant(connection: sqlite3.Connection, *, uid: str, request_id: str, now_us: int) -> list[str]:
    """Condemn a tenant and what is parked behind it. Return the uids to purge, in that order: the last finds the rest.

    Raises:
        NotFoundError: no such tenant, and the request_id is new.
        FailedPreconditionError: the request_id was used for something else.
    """
    row = connection.execute("SELECT name FROM living WHERE uid = ?", (uid,)).fetchone()
    digest = None if row is None else tenant_hash(row[0].decode())
    request = Request(request_id.encode(), Operation.DELETE, digest)
    if (came := outcome(connection, request, now_us)) is not None:
        if came.uid != uid:
            raise reused()
    elif digest is None:
        raise no_tenant()
    rows = connection.execute(
        "SELECT t.no, t.uid FROM tenants f CROSS JOIN parked p ON p.front = f.no "
        "CROSS JOIN tenants t ON t.no = p.tenant WHERE f.uid = :uid UNION ALL "
        "SELECT no, uid FROM tenants WHERE uid = :uid",
        {"uid": uid},
    ).fetchall()
    if came is None:
        for no, _ in rows:
            condemn(connection, no)
        remember(connection, request, Outcome(uid, now_us, 0, 0))
    return [uid for _, uid in rows]


def append(
    connection: sqlite3.Connection,
    *,
    uid: str,
    kind: RecordKind,
    body: bytes,
    payloads: Sequence[Payload],
    request_id: str,
    config: bytes | None,
    now_us: int,
) -> Appended:
    """Append one record, and number the payloads that are new.

    Raises:
        AlreadyExistsError: an id is known with other content.
        FailedPreconditionError: an id is forgotten, or the request_id was used for something else.
        NotFoundError: no such tenant.
    """
    end = find_end(connection, uid, now_us)
    request = Request(
        request_hash(end.id_key, uid, request_id), Operation.APPEND, asked_hash(end.id_key, bytes([kind]), body)
    )
    if (came := outcome(connection, request, now_us)) is not None:
        return Appended(record=None, seqs=(came.seq,), numbers=(), skipped=())

    places: list[tuple[int, int, bool]] = []  # of each payload: seq, number, skipped
    entries: list[StoredEntry] = []
    batch: dict[bytes, _Known] = {}  # each new id
    for index, payload in enumerate(payloads):
        hashed = id_hash(end.id_key, payload.id)
        known = batch.get(hashed) or _find(connection, end.no, hashed, payload.id, index)
        if known is None:
            number = end.number + len(entries)
            entries.append(StoredEntry(number=number, seq=end.seq, commit_us=end.commit_us, payload=payload))
            batch[hashed] = _Known(end.seq, number, payload.content_hash, False)
            places.append((end.seq, number, False))
        elif _is_equal(end, known, payload):
            places.append((known.seq, known.number, True))
        else:
            raise entry_exists(payload.id, index)

    record = None
    if entries or not payloads:
        record = Record(seq=end.seq, commit_us=end.commit_us, kind=kind, body=body, entries=tuple(entries))
        insert(connection, end.no, record)
        connection.executemany(
            "INSERT INTO ids VALUES (?, ?, ?, ?)", [(end.no, hashed, k.number, k.number) for hashed, k in batch.items()]
        )
        remember(connection, request, Outcome(uid, now_us, end.seq, 0))
        set_config(connection, end.no, config)
    return Appended(
        record=record,
        seqs=tuple(place[0] for place in places),
        numbers=tuple(place[1] for place in places),
        skipped=tuple(place[2] for place in places),
    )


def note_copy(connection: sqlite3.Connection, *, uid: str, copy: str, now_us: int) -> None:
    """Remember what was made of a tenant, once. One that is gone is left alone."""
    connection.execute(
        "INSERT INTO copies (tenant, copy) SELECT no, :copy FROM living l WHERE uid = :uid "
        "AND NOT EXISTS (SELECT 1 FROM copies c WHERE c.tenant = l.no AND c.copy = :copy)",
        {"uid": uid, "copy": copy},
    )


def insert_tenant(connection: sqlite3.Connection, created_us: int, config: bytes, id_key: bytes) -> tuple[str, int]:
    """Write a tenant without a name and without records. Return its uid and number."""
    uid = uuid.uuid4().hex
    cursor = connection.execute(
        "INSERT INTO tenants (uid, created_us, config, id_key) VALUES (?, ?, ?, ?)", (uid, created_us, config, id_key)
    )
    no = cursor.lastrowid or 0
    connection.execute("INSERT INTO heads VALUES (?, 0, 0, 0, 0)", (no,))
    return uid, no


def set_config(connection: sqlite3.Connection, no: int, config: bytes | None) -> None:
    """Replace a tenant's config, unless it is None. It holds no text, so its row may move."""
    if config is not None:
        connection.execute("UPDATE tenants SET config = ? WHERE no = ?", (config, no))


def touch(connection: sqlite3.Connection, *, now_us: int) -> None:
    """Write something: the readiness check."""
    connection.execute("UPDATE meta SET value = ? WHERE name = 'checked_us'", (now_us,))


def _find(connection: sqlite3.Connection, no: int, hashed: bytes, id: str, index: int) -> _Known | None:
    row = connection.execute(
        "SELECT e.seq, e.number, p.content_hash, p.data IS NULL FROM ids i LEFT JOIN entries e "
        "ON e.tenant = i.tenant AND e.number = i.first LEFT JOIN payloads p ON p.no = e.payload "
        "WHERE i.tenant = ? AND i.id_hash = ?",
        (no, hashed),
    ).fetchone()
    if row is None:
        return None
    if row[0] is None:
        raise entry_forgotten(id, index)
    return _Known(*row)


def _is_equal(end: End, known: _Known, payload: Payload) -> bool:
    given = payload.content_hash
    return known.content_hash == (content_hash_left(end.id_key, given) if known.destroyed else given)
