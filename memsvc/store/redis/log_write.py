"""What adds to the log, and whole tenants: each function is one operation on a transaction of a shard."""

import os
import uuid
from collections.abc import Sequence

import msgpack

from memsvc import damage
from memsvc.store.hashes import asked_hash, id_hash, plain_hash, request_hash, tenant_hash
from memsvc.store.redis.keys import SHARD_DIGITS
from memsvc.store.redis.log_end import End, find_end, find_living, find_row, insert
from memsvc.store.redis.log_requests import outcome, remember, request_cells
from memsvc.store.redis.rows import Head, Known, Row, Standing
from memsvc.store.redis.transaction import Transaction
from memsvc.store.refusals import entry_exists, entry_forgotten, no_tenant, reused, tenant_exists
from memsvc.store.requests import Operation, Outcome, Request
from memsvc.store.types import Appended, Payload, Record, RecordKind, StoredEntry, TenantRow

ID_KEY_BYTES = 32


def new_uid(shard: int) -> str:
    """Return the uid of a new tenant of a shard."""
    return f"{shard:0{SHARD_DIGITS}x}{uuid.uuid4().hex[SHARD_DIGITS:]}"


def plain_request(request_id: str) -> bytes:
    """Return what stands for a request_id outside any tenant; empty for an empty one."""
    return plain_hash(request_id.encode()) if request_id else b""


def create_tenant(tx: Transaction, *, tenant: str, config: bytes, body: bytes, request_id: str) -> TenantRow:
    """Create a tenant and its first record.

    Raises:
        AlreadyExistsError: a tenant of that id lives.
        FailedPreconditionError: the request_id was used for something else.
    """
    digest = plain_hash(tenant.encode(), config, body)
    request = Request(plain_request(request_id), Operation.CREATE, digest)
    tx.want([(tx.keys.name(tenant_hash(tenant)), None), *request_cells(tx, request)])
    if (came := outcome(tx, request)) is not None:
        return TenantRow(uid=came.uid, tenant=tenant, created_us=came.at_us, config=config)
    check_free(tx, tenant)
    uid = new_uid(tx.keys.shard)
    row = Row(tenant, tx.now_us, config, os.urandom(ID_KEY_BYTES), Standing.LIVING)
    tx.hset(tx.keys.heads, uid, Head())
    put_row(tx, uid, row)
    give_name(tx, uid, tenant)
    record = Record(seq=1, commit_us=tx.now_us, kind=RecordKind.CREATE, body=body)
    insert(tx, End(uid, row.id_key, 1, 1, tx.now_us), record)
    remember(tx, request, Outcome(uid, tx.now_us, 1, 0))
    return row.tenant(uid)


def append(
    tx: Transaction,
    *,
    uid: str,
    kind: RecordKind,
    body: bytes,
    payloads: Sequence[Payload],
    request_id: str,
    config: bytes | None,
) -> Appended:
    """Append one record, and number the payloads that are new.

    Raises:
        AlreadyExistsError: an id is known with other content.
        FailedPreconditionError: an id is forgotten, or the request_id was used for something else.
        NotFoundError: no such tenant.
    """
    end = find_end(tx, uid)
    keys = tx.keys.tenant(uid)
    asked = asked_hash(end.id_key, bytes([kind]), body) if request_id else None
    request = Request(request_hash(end.id_key, uid, request_id), Operation.APPEND, asked)
    hashes = [id_hash(end.id_key, payload.id) for payload in payloads]
    tx.presume_absent([*request_cells(tx, request), *((keys.ids, hashed) for hashed in hashes)])
    if (came := outcome(tx, request)) is not None:
        return Appended(record=None, seqs=(came.seq,), numbers=(), skipped=())

    seqs: list[int] = []
    numbers: list[int] = []
    skipped: list[bool] = []
    entries: list[StoredEntry] = []
    new: list[bytes] = []  # hashes of their ids
    for index, (payload, hashed) in enumerate(zip(payloads, hashes, strict=True)):
        data = tx.hget(keys.ids, hashed)
        if data is None:
            seq, number = end.seq, end.number + len(entries)
            entries.append(StoredEntry(number=number, seq=seq, commit_us=end.commit_us, payload=payload))
            new.append(hashed)
            tx.hset(keys.ids, hashed, Known(number, number, seq, payload.content_hash))
        elif not data:
            raise entry_forgotten(payload.id, index)
        elif (known := Known.decode(data)).is_equal(end.id_key, payload.content_hash):
            seq, number = known.seq, known.first
        else:
            raise entry_exists(payload.id, index)
        seqs.append(seq)
        numbers.append(number)
        skipped.append(data is not None)

    record = None
    if entries or not payloads:
        record = Record(seq=end.seq, commit_us=end.commit_us, kind=kind, body=body, entries=tuple(entries))
        insert(tx, end, record, new)
        remember(tx, request, Outcome(uid, tx.now_us, end.seq, 0))
        set_config(tx, uid, config)
    return Appended(record=record, seqs=tuple(seqs), numbers=tuple(numbers), skipped=tuple(skipped))


def condemn_tenant(tx: Transaction, *, uid: str, request_id: str) -> None:
    """Condemn a tenant and what is parked behind it.

    Raises:
        NotFoundError: no such tenant, and the request_id is new.
        FailedPreconditionError: the request_id was used for something else.
    """
    row = find_row(tx, uid)
    living = row if row is not None and row.standing is Standing.LIVING else None
    digest = None if living is None else tenant_hash(living.name)
    request = Request(plain_request(request_id), Operation.DELETE, digest)
    if (came := outcome(tx, request)) is not None:
        if came.uid != uid:
            raise reused()
        return
    if living is None:
        raise no_tenant()
    if living.behind:
        condemn(tx, living.behind)
    condemn(tx, uid)
    remember(tx, request, Outcome(uid, tx.now_us, 0, 0))


def condemn(tx: Transaction, uid: str) -> None:
    """Let a tenant be gone for everyone; its keys are deleted later."""
    if (row := find_row(tx, uid)) is None:
        return
    if row.standing is Standing.LIVING:
        take_name(tx, row.name)
    if row.standing is Standing.STAGED:
        tx.srem(tx.keys.staged, uid)
    tx.hdel(tx.keys.rows, uid)
    tx.sadd(tx.keys.condemned, uid)


def purged(tx: Transaction, *, uid: str, operations: Sequence[str]) -> None:
    """Take note that nothing of a condemned tenant is left but this."""
    for operation in operations:
        tx.srem(tx.keys.erasing, operation)
    tx.hdel(tx.keys.heads, uid)
    tx.srem(tx.keys.condemned, uid)


def note_copy(tx: Transaction, *, uid: str, copy: str) -> None:
    """Remember what was made of a tenant, once. One that is gone is left alone."""
    row = find_row(tx, uid)
    if row is None or row.standing is not Standing.LIVING:
        return
    key = tx.keys.tenant(uid).copies
    copies = decode_copies(tx.get(key))
    if copy not in copies:
        tx.set(key, msgpack.packb([*copies, copy]))


def decode_copies(data: bytes | None) -> list[str]:
    """Read what was made of a tenant.

    Raises:
        DataLossError: it is damaged.
    """
    with damage.told_as("the list of a tenant's copies is damaged"):
        return [] if data is None else list(msgpack.unpackb(data))


def put_row(tx: Transaction, uid: str, row: Row) -> None:
    """Write what changes seldom of a tenant."""
    tx.hset(tx.keys.rows, uid, row)


def set_config(tx: Transaction, uid: str, config: bytes | None) -> None:
    """Replace a tenant's config, unless it is None."""
    if config is not None and (row := find_row(tx, uid)) is not None:
        put_row(tx, uid, row._replace(config=config))


def check_free(tx: Transaction, tenant: str) -> None:
    """Return if no tenant of that id lives.

    Raises:
        AlreadyExistsError: one does.
    """
    if tx.get(tx.keys.name(tenant_hash(tenant))) is not None:
        raise tenant_exists()


def give_name(tx: Transaction, uid: str, tenant: str) -> None:
    """Make a tenant a living one of that id, which is free."""
    tx.set(tx.keys.name(tenant_hash(tenant)), uid.encode())
    tx.zadd(tx.keys.names, 0, tenant.encode())


def take_name(tx: Transaction, tenant: str) -> None:
    """Take a living tenant's id, so that it is gone for every reader and its id is free."""
    tx.delete(tx.keys.name(tenant_hash(tenant)))
    tx.zrem(tx.keys.names, tenant.encode())


def touch(tx: Transaction) -> None:
    """Write nothing but the commit itself: the readiness check."""
    tx.srem(tx.keys.staged, "")


def published_as(tx: Transaction, uid: str) -> TenantRow:
    """Return what a repeated request published.

    Raises:
        NotFoundError: it does not live any more; a retry must not bring it back.
    """
    return find_living(tx, uid).tenant(uid)
