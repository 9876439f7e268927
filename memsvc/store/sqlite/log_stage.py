"""Tenants made of another one's records, out of sight until they are published.

Each function is one operation inside the committer's transaction.
"""

import sqlite3
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from memsvc.store.hashes import id_hash, plain_hash
from memsvc.store.refusals import does_not_follow, forgets_what_is_there, forgotten_is_there, nothing_staged, twice
from memsvc.store.requests import Operation, Outcome, Request
from memsvc.store.sqlite.log_destroy import condemn, retire
from memsvc.store.sqlite.log_end import End, insert
from memsvc.store.sqlite.log_names import check_free, give_name
from memsvc.store.sqlite.log_read import published_as
from memsvc.store.sqlite.log_requests import outcome, remember
from memsvc.store.sqlite.log_write import insert_tenant, set_config
from memsvc.store.types import EntryState, Origin, Record, RecordKind, TenantRow

_ENDS = {
    RecordKind.UPDATE: EntryState.REPLACED,
    RecordKind.DELETE: EntryState.DELETED,
    RecordKind.EXPIRE: EntryState.EXPIRED,
}
"""What becomes of the living entries that a record is about."""


class Staged(NamedTuple):
    """A staged tenant, and the end of its log."""

    no: int
    id_key: bytes
    created_us: int
    config: bytes
    seq: int
    number: int
    commit_us: int


def find_staged(connection: sqlite3.Connection, uid: str) -> Staged:
    """Return a staged tenant.

    Raises:
        NotFoundError: nothing is staged under that uid.
    """
    row = connection.execute(
        "SELECT no, id_key, created_us, config, seq, number, commit_us FROM staged WHERE uid = ?", (uid,)
    ).fetchone()
    if row is None:
        raise nothing_staged()
    return Staged(*row)


def stage(connection: sqlite3.Connection, *, origin: Origin, now_us: int) -> str:
    """Begin a tenant without a name and without records, which refuses the ids that are forgotten."""
    uid, no = insert_tenant(connection, origin.created_us, origin.config, origin.id_key)
    connection.executemany(
        "INSERT INTO ids VALUES (?, ?, NULL, NULL)", [(no, hashed) for hashed in dict.fromkeys(origin.forgotten)]
    )
    return uid


def append_staged(
    connection: sqlite3.Connection, *, uid: str, records: Sequence[Record], config: bytes | None, now_us: int
) -> None:
    """Append records as they are.

    Raises:
        InvalidArgumentError: a record does not follow the one before, an id is there twice without an UPDATE, or an
            entry is there that is forgotten.
        NotFoundError: nothing is staged under that uid.
    """
    staged = find_staged(connection, uid)
    for index, record in enumerate(records):
        field = f"records[{index}]"
        _check_follows(staged, record, field)
        end = End(staged.no, staged.id_key, record.seq, 0, record.commit_us)
        _end_living(connection, end, record, field)
        previous = [_check_id(connection, end, record, entry.payload.id, field) for entry in record.entries]
        insert(connection, end.no, record, previous[0] if record.kind == RecordKind.UPDATE and previous else None)
        connection.executemany(
            "INSERT INTO ids VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET current = excluded.current",
            [(end.no, id_hash(end.id_key, entry.payload.id), *[entry.number] * 2) for entry in record.entries],
        )
        last = max((staged.number, *(entry.number for entry in record.entries), *record.about))
        staged = staged._replace(seq=record.seq, number=last, commit_us=record.commit_us)
    set_config(connection, staged.no, config)


def publish(connection: sqlite3.Connection, *, uid: str, tenant: str, request_id: str, now_us: int) -> TenantRow:
    """Give a staged tenant a name.

    Raises:
        AlreadyExistsError: a tenant of that id lives.
        FailedPreconditionError: the request_id was used for something else.
        NotFoundError: nothing is staged under that uid, or what this request published is gone since.
    """
    request = Request(request_id.encode(), Operation.PUBLISH, plain_hash(tenant.encode()))
    if (came := outcome(connection, request, now_us)) is not None:
        return published_as(connection, came.uid)
    staged = find_staged(connection, uid)
    check_free(connection, tenant)
    give_name(connection, staged.no, tenant)
    remember(connection, request, Outcome(uid, now_us, staged.seq, 0))
    return TenantRow(uid=uid, tenant=tenant, created_us=staged.created_us, config=staged.config)


def condemn_staged(connection: sqlite3.Connection, *, uid: str, now_us: int) -> bool:
    """Condemn a staged tenant. Return False where another one, that is to stay, has that uid."""
    row = connection.execute("SELECT no FROM staged WHERE uid = ?", (uid,)).fetchone()
    if row is not None:
        condemn(connection, row[0])
    return connection.execute("SELECT 1 FROM tenants WHERE uid = ? AND config IS NOT NULL", (uid,)).fetchone() is None


def condemn_every_staged(connection: sqlite3.Connection) -> None:
    """Condemn what a process that is gone had staged."""
    for (no,) in connection.execute("SELECT no FROM staged").fetchall():
        condemn(connection, no)


def _check_follows(staged: Staged, record: Record, field: str) -> None:
    numbers = [staged.number, *(entry.number for entry in record.entries)]
    if (
        record.seq != staged.seq + 1
        or record.commit_us < staged.commit_us
        or any(entry.seq != record.seq for entry in record.entries)
        or any(after <= before for before, after in pairwise(numbers))
        or (record.kind == RecordKind.UPDATE and len(record.entries) > 1)
    ):
        raise does_not_follow(field)
    if len({entry.payload.id for entry in record.entries}) < len(record.entries):
        raise twice(field)


def _end_living(connection: sqlite3.Connection, end: End, record: Record, field: str) -> None:
    """Let the living entries that a record is about become what it makes of them, payloads included."""
    for number in record.about:
        row = connection.execute(
            "SELECT learn, state FROM entries WHERE tenant = ? AND number = ?", (end.no, number)
        ).fetchone()
        if row is None:
            continue
        if record.kind == RecordKind.FORGET:
            raise forgets_what_is_there(field)
        if row[1] == EntryState.LIVE and record.kind in _ENDS:
            retire(connection, end, number, _ENDS[record.kind], learn=bool(row[0]))


def _check_id(connection: sqlite3.Connection, end: End, record: Record, id: str, field: str) -> int | None:
    """Return the newest revision of an id that is there: it is replaced by this record, or by one that is not there."""
    row = connection.execute(
        "SELECT i.current, e.state FROM ids i LEFT JOIN entries e ON e.tenant = i.tenant AND e.number = i.current "
        "WHERE i.tenant = ? AND i.id_hash = ?",
        (end.no, id_hash(end.id_key, id)),
    ).fetchone()
    if row is None:
        return None
    current, state = row
    if current is None:
        raise forgotten_is_there(field)
    if record.kind != RecordKind.UPDATE or state != EntryState.REPLACED:
        raise twice(field)
    return int(current)
