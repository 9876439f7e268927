"""Tenants made of another one's records, out of sight until they are published, and those parked behind others.

Each function is one operation on a transaction of a shard.
"""

from collections.abc import Sequence
from itertools import pairwise

from memsvc.store.hashes import id_hash, plain_hash
from memsvc.store.redis.log_end import (
    End,
    find_head,
    find_living,
    find_meta,
    find_row,
    insert,
    meta_cell,
    retire,
    want_retired,
)
from memsvc.store.redis.log_requests import outcome, remember
from memsvc.store.redis.log_write import (
    check_free,
    condemn,
    give_name,
    new_uid,
    plain_request,
    published_as,
    put_row,
    set_config,
    take_name,
)
from memsvc.store.redis.rows import FORGOTTEN, Head, Known, Row, Standing
from memsvc.store.redis.transaction import Transaction
from memsvc.store.refusals import (
    does_not_follow,
    forgets_what_is_there,
    forgotten_is_there,
    none_parked,
    nothing_staged,
    restore_pending,
    twice,
)
from memsvc.store.requests import Operation, Outcome, Request
from memsvc.store.types import EntryState, Origin, Record, RecordKind, TenantRow

_ENDS = {
    RecordKind.UPDATE: EntryState.REPLACED,
    RecordKind.DELETE: EntryState.DELETED,
    RecordKind.EXPIRE: EntryState.EXPIRED,
}
"""What becomes of the living entries that a record is about."""


def find_staged(tx: Transaction, uid: str) -> Row:
    """Return a staged tenant.

    Raises:
        NotFoundError: nothing is staged under that uid.
    """
    row = find_row(tx, uid)
    if row is None or row.standing is not Standing.STAGED:
        raise nothing_staged()
    return row


def stage(tx: Transaction, *, origin: Origin, tenant: str) -> str:
    """Begin a tenant without records."""
    uid = new_uid(tx.keys.shard)
    put_row(tx, uid, Row(tenant, origin.created_us, origin.config, origin.id_key, Standing.STAGED))
    tx.hset(tx.keys.heads, uid, Head())
    tx.sadd(tx.keys.staged, uid)
    return uid


def refuse_ids(tx: Transaction, *, uid: str, forgotten: Sequence[bytes]) -> None:
    """Let a staged tenant refuse the ids with these keyed hashes.

    Raises:
        NotFoundError: nothing is staged under that uid.
    """
    find_staged(tx, uid)
    for hashed in forgotten:
        tx.hset(tx.keys.tenant(uid).ids, hashed, FORGOTTEN)


def append_staged(tx: Transaction, *, uid: str, records: Sequence[Record], config: bytes | None) -> None:
    """Append records as they are.

    Raises:
        InvalidArgumentError: a record does not follow the one before, an id is there twice without an UPDATE, or an
            entry is there that is forgotten.
        NotFoundError: nothing is staged under that uid.
    """
    row = find_staged(tx, uid)
    keys = tx.keys.tenant(uid)
    ids = {entry.payload.id for record in records for entry in record.entries}
    tx.want(
        [
            *((keys.ids, id_hash(row.id_key, id)) for id in ids),
            *(meta_cell(tx, uid, number) for record in records for number in record.about),
        ]
    )
    about = {number: find_meta(tx, uid, number) for record in records for number in record.about}
    want_retired(tx, uid, ((number, meta) for number, meta in about.items() if meta is not None))
    for index, record in enumerate(records):
        field = f"records[{index}]"
        head = find_head(tx, uid)
        _check_follows(head, record, field)
        end = End(uid, row.id_key, record.seq, 0, record.commit_us)
        _end_living(tx, end, record, field)
        known = [_check_id(tx, end, record, entry.payload.id, field) for entry in record.entries]
        update = record.kind == RecordKind.UPDATE and bool(known) and known[0] is not None
        hashes = [id_hash(row.id_key, entry.payload.id) for entry in record.entries]
        insert(tx, end, record, hashes, known[0].current if update and known[0] else 0)
        for entry, hashed, of_id in zip(record.entries, hashes, known, strict=True):
            new = Known(entry.number, entry.number, record.seq, entry.payload.content_hash)
            if of_id is not None:
                new = of_id._replace(current=entry.number)
            tx.hset(keys.ids, hashed, new)
    set_config(tx, uid, config)


def publish(tx: Transaction, *, uid: str, tenant: str, request_id: str) -> TenantRow:
    """Give a staged tenant a name.

    Raises:
        AlreadyExistsError: a tenant of that id lives.
        FailedPreconditionError: the request_id was used for something else.
        NotFoundError: nothing is staged under that uid, or what this request published is gone since.
    """
    request = Request(plain_request(request_id), Operation.PUBLISH, plain_hash(tenant.encode()))
    if (came := outcome(tx, request)) is not None:
        return published_as(tx, came.uid)
    staged = find_staged(tx, uid)
    check_free(tx, tenant)
    return _appear(tx, uid, staged._replace(name=tenant), request)


def replace(tx: Transaction, *, uid: str, staged: str, request_id: str) -> TenantRow:
    """Give a staged tenant the name of a living one, and park that behind it.

    Raises:
        FailedPreconditionError: another is parked behind the living one, or the request_id was used for something else.
        NotFoundError: no such tenants, or what this request made is gone since.
    """
    request = Request(plain_request(request_id), Operation.REPLACE, plain_hash(uid.encode()))
    if (came := outcome(tx, request)) is not None:
        return published_as(tx, came.uid)
    front, new = find_living(tx, uid), find_staged(tx, staged)
    if front.behind:
        raise restore_pending()
    take_name(tx, front.name)
    put_row(tx, uid, front._replace(standing=Standing.PARKED))
    return _appear(tx, staged, new._replace(name=front.name, behind=uid), request)


def _appear(tx: Transaction, uid: str, row: Row, request: Request) -> TenantRow:
    put_row(tx, uid, row._replace(standing=Standing.LIVING))
    give_name(tx, uid, row.name)
    tx.srem(tx.keys.staged, uid)
    remember(tx, request, Outcome(uid, tx.now_us, find_head(tx, uid).seq, 0))
    return row.tenant(uid)


def unpark(tx: Transaction, *, uid: str, request_id: str) -> TenantRow:
    """Give the parked tenant its name again, and condemn the one in front of it.

    Raises:
        FailedPreconditionError: none is parked, or the request_id was used for something else.
        NotFoundError: what this request gave its name back to is gone since.
    """
    front = find_row(tx, uid)
    living = front is not None and front.standing is Standing.LIVING
    # A retry comes with the uid of the one that is back, or of the one that was in front, which is gone.
    behind = front.behind if front is not None else ""
    digest = plain_hash((behind or uid).encode()) if living else None
    request = Request(plain_request(request_id), Operation.UNPARK, digest)
    if (came := outcome(tx, request)) is not None:
        return published_as(tx, came.uid)
    row = find_row(tx, behind) if behind and living else None
    if row is None:
        raise none_parked()
    condemn(tx, uid)
    put_row(tx, behind, row._replace(standing=Standing.LIVING))
    give_name(tx, behind, row.name)
    remember(tx, request, Outcome(behind, tx.now_us, 0, 0))
    return row.tenant(behind)


def condemn_parked(tx: Transaction, *, uid: str, request_id: str) -> None:
    """Condemn the tenant that is parked behind a living one.

    Raises:
        FailedPreconditionError: none is parked, or the request_id was used for something else.
    """
    request = Request(plain_request(request_id), Operation.CONFIRM, plain_hash(uid.encode()))
    if outcome(tx, request) is not None:
        return
    front = find_row(tx, uid)
    if front is None or front.standing is not Standing.LIVING or not front.behind:
        raise none_parked()
    condemn(tx, front.behind)
    put_row(tx, uid, front._replace(behind=""))
    remember(tx, request, Outcome(front.behind, tx.now_us, 0, 0))


def condemn_staged(tx: Transaction, *, uid: str) -> bool:
    """Condemn a staged tenant. Return False where another one, that is to stay, has that uid."""
    row = find_row(tx, uid)
    if row is not None and row.standing is not Standing.STAGED:
        return False
    condemn(tx, uid)
    return True


def _check_follows(head: Head, record: Record, field: str) -> None:
    numbers = [head.number, *(entry.number for entry in record.entries)]
    if (
        record.seq != head.seq + 1
        or record.commit_us < head.commit_us
        or any(entry.seq != record.seq for entry in record.entries)
        or any(after <= before for before, after in pairwise(numbers))
        or (record.kind == RecordKind.UPDATE and len(record.entries) > 1)
    ):
        raise does_not_follow(field)
    if len({entry.payload.id for entry in record.entries}) < len(record.entries):
        raise twice(field)


def _end_living(tx: Transaction, end: End, record: Record, field: str) -> None:
    """Let the living entries that a record is about become what it makes of them, payloads included."""
    for number in record.about:
        meta = find_meta(tx, end.uid, number)
        if meta is None:
            continue
        if record.kind == RecordKind.FORGET:
            raise forgets_what_is_there(field)
        if meta.state is EntryState.LIVE and record.kind in _ENDS:
            retire(tx, end, number, meta, _ENDS[record.kind])


def _check_id(tx: Transaction, end: End, record: Record, id: str, field: str) -> Known | None:
    """Return what is known of an id that is there: it is replaced by this record, or by one that is not there."""
    data = tx.hget(tx.keys.tenant(end.uid).ids, id_hash(end.id_key, id))
    if data is None:
        return None
    if not data:
        raise forgotten_is_there(field)
    known = Known.decode(data)
    meta = find_meta(tx, end.uid, known.current)
    if record.kind != RecordKind.UPDATE or meta is None or meta.state is not EntryState.REPLACED:
        raise twice(field)
    return known
