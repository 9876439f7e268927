"""What the log answers: each function reads on a connection of its own, and finishes every cursor it opens."""

import sqlite3
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from memsvc.store.hashes import id_hash, tenant_hash
from memsvc.store.refusals import gone, no_tenant
from memsvc.store.requests import REQUEST_US, Operation
from memsvc.store.sqlite.log_about import unpack
from memsvc.store.types import EntryState, Erasure, Origin, Payload, Record, RecordKind, Span, StoredEntry, TenantRow

TENANT_BYTES = 1024
ENTRY_BYTES = 160
"""What a tenant and an entry take on disk beside what a caller wrote, about, as measured."""

_NOW = 2**63 - 1
"""As of no record: after the last."""

_RECORD_BYTES = 64
"""What a record counts for beside its payload, so that empty ones do not make a read endless."""


def get_tenant(connection: sqlite3.Connection, tenant: str) -> TenantRow | None:
    """Return the living tenant of that id."""
    row = connection.execute(
        "SELECT t.uid, n.name, t.created_us, t.config FROM names n CROSS JOIN tenants t ON t.no = n.tenant "
        "WHERE n.name_hash = ?",
        (tenant_hash(tenant),),
    ).fetchone()
    return None if row is None else _tenant(row)


def list_tenants(connection: sqlite3.Connection, after: str, limit: int, within: Sequence[Span]) -> list[TenantRow]:
    """Return up to `limit` living tenants in byte order, of those within the spans.

    It reads them all: an index of their ids would leave copies of them behind.
    """
    spans = " OR ".join("n.name >= ?" if span.end is None else "n.name >= ? AND n.name < ?" for span in within)
    rows = connection.execute(
        "SELECT t.uid, n.name, t.created_us, t.config FROM names n CROSS JOIN tenants t ON t.no = n.tenant "  # noqa: S608  # marks alone
        f"WHERE n.name > ? AND ({spans or '0'}) ORDER BY n.name LIMIT ?",
        (after.encode(), *(bound for span in within for bound in span if bound is not None), limit),
    )
    return [_tenant(row) for row in rows.fetchall()]


def find_deleted(connection: sqlite3.Connection, tenant: str, request_id: str, now_us: int) -> bool:
    """Whether this request_id deleted a tenant of that id within 24 hours."""
    row = connection.execute(
        "SELECT 1 FROM requests WHERE request_id = ? AND operation = ? AND digest = ? AND at_us > ?",
        (request_id.encode(), Operation.DELETE, tenant_hash(tenant), now_us - REQUEST_US),
    ).fetchone()
    return row is not None


def published(connection: sqlite3.Connection, tenant: str, request_id: str, now_us: int) -> TenantRow | None:
    """Return the living tenant of that id that was published with this request_id within 24 hours."""
    row = connection.execute(
        "SELECT l.uid, l.name, l.created_us, l.config FROM requests r CROSS JOIN living l ON l.uid = r.uid "
        "WHERE r.request_id = ? AND r.operation IN (?, ?) AND r.at_us > ? AND l.name = ?",
        (request_id.encode(), Operation.PUBLISH, Operation.REPLACE, now_us - REQUEST_US, tenant.encode()),
    ).fetchone()
    return None if row is None else _tenant(row)


def published_as(connection: sqlite3.Connection, uid: str) -> TenantRow:
    """Return what a repeated request published.

    Raises:
        NotFoundError: it does not live any more; a retry must not bring it back.
    """
    row = connection.execute("SELECT uid, name, created_us, config FROM living WHERE uid = ?", (uid,)).fetchone()
    if row is None:
        raise no_tenant()
    return _tenant(row)


def takes_snapshots(connection: sqlite3.Connection, uid: str) -> None:
    """Return if the tenant is living, staged or parked.

    Raises:
        NotFoundError: no such tenant.
    """
    if not connection.execute("SELECT 1 FROM tenants WHERE uid = ? AND config IS NOT NULL", (uid,)).fetchone():
        raise no_tenant()


def seq_at(connection: sqlite3.Connection, uid: str, time_us: int) -> int:
    """Return the seq of the last record committed at or before that time.

    Raises:
        NotFoundError: no such tenant.
    """
    row = connection.execute("SELECT no, seq FROM living WHERE uid = ?", (uid,)).fetchone()
    if row is None:
        raise no_tenant()
    no, last = row

    def commit_us(seq: int) -> int:
        found = connection.execute("SELECT commit_us FROM records WHERE tenant = ? AND seq = ?", (no, seq)).fetchone()
        if found is None:  # it was deleted meanwhile
            raise no_tenant()
        return int(found[0])

    return bisect_right(range(1, last + 1), time_us, key=commit_us)


def origin(connection: sqlite3.Connection, uid: str) -> Origin:
    """Return what a copy of the tenant takes over beside its records.

    Raises:
        NotFoundError: no such tenant.
    """
    row = connection.execute("SELECT no, created_us, config, id_key FROM living WHERE uid = ?", (uid,)).fetchone()
    if row is None:
        raise no_tenant()
    no, created_us, config, id_key = row
    hashes = connection.execute(
        "SELECT id_hash FROM ids WHERE tenant = ? AND current IS NULL ORDER BY id_hash", (no,)
    ).fetchall()
    forgotten = tuple(hashed for (hashed,) in hashes)
    return Origin(created_us=created_us, config=config, id_key=id_key, forgotten=forgotten)


def copies(connection: sqlite3.Connection, uid: str) -> list[str]:
    """Return what was made of a tenant, in order."""
    if (no := _number_of(connection, uid)) is None:
        return []
    rows = connection.execute("SELECT copy FROM copies WHERE tenant = ? ORDER BY no", (no,)).fetchall()
    return [copy for (copy,) in rows]


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


def entries(
    connection: sqlite3.Connection, uid: str, numbers: Sequence[int], as_of: int | None = None
) -> list[StoredEntry]:
    """Return the entries of those numbers that live, or lived as of a record, in the order asked."""
    if (no := _number_of(connection, uid)) is None:
        return []
    query = (
        "SELECT number, seq, commit_us, id, content_hash, data, learn, expire_us FROM stored WHERE tenant = :no "
        "AND number = :number AND state != :forgotten AND seq <= :as_of AND (died IS NULL OR died > :as_of)"
    )
    values = _living(no, as_of)
    rows = (connection.execute(query, values | {"number": number}).fetchone() for number in numbers)
    return _entries(row for row in rows if row is not None)


def entry_by_id(connection: sqlite3.Connection, uid: str, id: str, as_of: int | None = None) -> StoredEntry | None:
    """Return the entry of that id that lives, or lived as of a record.

    Raises:
        NotFoundError: it was deleted, expired or forgotten.
    """
    row = connection.execute("SELECT no, id_key FROM living WHERE uid = ?", (uid,)).fetchone()
    if row is None:
        return None
    no, id_key = row
    # One statement: between two, what the first found could be replaced and destroyed. From the newest revision back
    # to the first that was there.
    as_of = _NOW if as_of is None else as_of
    found = connection.execute(
        "WITH RECURSIVE revisions (number, seq, previous) AS ("
        "SELECT e.number, e.seq, e.previous FROM ids i LEFT JOIN entries e ON e.tenant = i.tenant "
        "AND e.number = i.current WHERE i.tenant = :no AND i.id_hash = :hash UNION ALL "
        "SELECT e.number, e.seq, e.previous FROM revisions v CROSS JOIN entries e ON e.tenant = :no "
        "AND e.number = v.previous WHERE v.seq > :as_of) "
        "SELECT e.state, e.died, e.number, e.seq, r.commit_us, p.id, p.content_hash, p.data, e.learn, e.expire_us "
        "FROM revisions v LEFT JOIN entries e ON e.tenant = :no AND e.number = v.number "
        "LEFT JOIN records r ON r.tenant = e.tenant AND r.seq = e.seq LEFT JOIN payloads p ON p.no = e.payload "
        "WHERE v.seq IS NULL OR v.seq <= :as_of",
        {"no": no, "hash": id_hash(id_key, id), "as_of": as_of},
    ).fetchone()
    if found is None:
        return None
    state, died, *entry = found
    if state in (None, EntryState.FORGOTTEN) or (died is not None and died <= as_of):
        raise gone(id, state)
    if entry[5] is None:  # it lived then, but its text went with it
        raise gone(id, EntryState.DELETED)
    return _entries([entry])[0]


def scan(
    connection: sqlite3.Connection, uid: str, after_number: int, limit: int, as_of: int | None = None
) -> list[StoredEntry]:
    """Return up to `limit` entries with greater numbers that live, or lived as of a record, in order."""
    if (no := _number_of(connection, uid)) is None:
        return []
    rows = connection.execute(
        "SELECT number, seq, commit_us, id, content_hash, data, learn, expire_us FROM stored WHERE tenant = :no "
        "AND number > :after AND state != :forgotten AND seq <= :as_of AND (died IS NULL OR died > :as_of) "
        "ORDER BY number LIMIT :limit",
        _living(no, as_of) | {"after": after_number, "limit": limit},
    )
    return _entries(rows.fetchall())


def _living(no: int, as_of: int | None) -> dict[str, int]:
    return {"no": no, "forgotten": EntryState.FORGOTTEN, "as_of": _NOW if as_of is None else as_of}


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


def undying(connection: sqlite3.Connection) -> set[str]:
    """Return the uids of tenants that are to stay: the living, staged and parked."""
    rows = connection.execute("SELECT uid FROM tenants WHERE config IS NOT NULL").fetchall()
    return {uid for (uid,) in rows}


def condemned(connection: sqlite3.Connection) -> list[str]:
    """Return the uids of tenants whose deletion was not finished."""
    rows = connection.execute("SELECT uid FROM tenants WHERE config IS NULL AND uid IS NOT NULL").fetchall()
    return [uid for (uid,) in rows]


def _records(connection: sqlite3.Connection, no: int, after_seq: int, max_bytes: int) -> list[Record]:
    rows: list[Any] = []
    size = 0
    cursor = connection.execute(
        "SELECT seq, commit_us, kind, body, about, first, last, bytes FROM records WHERE tenant = ? AND seq > ? "
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
        first, last = with_entries[0][5], with_entries[-1][6]
        stored = connection.execute(
            "SELECT number, seq, commit_us, id, content_hash, data, learn, expire_us FROM stored "
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
            payload=Payload(
                id=id.decode(), content_hash=content_hash, data=data, learn=bool(learn), expire_us=expire_us
            ),
        )
        for number, seq, commit_us, id, content_hash, data, learn, expire_us in rows
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
