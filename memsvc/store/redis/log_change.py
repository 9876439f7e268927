"""Records about older entries: each function is one operation on a transaction of a shard."""

from collections.abc import Sequence
from typing import NamedTuple

from memsvc.store.hashes import asked_hash, content_hash_left, id_hash, request_hash
from memsvc.store.redis.log_end import (
    End,
    find_end,
    find_meta,
    find_row,
    insert,
    meta_cell,
    put_meta,
    retire,
    undue,
    want_retired,
)
from memsvc.store.redis.log_requests import outcome, remember, request_cells
from memsvc.store.redis.rows import (
    FORGOTTEN,
    Known,
    Meta,
    Standing,
    content_hash_of,
    decode_erasure,
    encode_erasure,
    operation_name,
    operation_parts,
)
from memsvc.store.redis.transaction import Transaction
from memsvc.store.refusals import forgotten, gone, nothing_matches, reused, unknown
from memsvc.store.requests import Operation, Outcome, Request
from memsvc.store.types import EntryState, Erasure, Payload, Record, RecordKind, StoredEntry


class Again(NamedTuple):
    """What an equal request did before: the record of that seq, and the bytes that it destroyed."""

    seq: int
    destroyed: int


class Done(NamedTuple):
    """What a record about older entries did."""

    record: Record
    destroyed: int


class Living(NamedTuple):
    """The living entry of an id."""

    number: int
    meta: Meta
    known: Known


def update(tx: Transaction, *, uid: str, payload: Payload, request_id: str) -> Done | Again:
    """Append an UPDATE with a new revision of the living entry of that id.

    Raises:
        NotFoundError: no such tenant, or no living entry of that id.
        FailedPreconditionError: the request_id was used for something else.
    """
    end = find_end(tx, uid)
    request = _request(end, request_id, Operation.UPDATE, payload.id)
    _want(tx, end, request, [payload.id])
    if (came := outcome(tx, request)) is not None:
        _check_same_content(tx, end, came.seq, payload)
        return Again(came.seq, came.destroyed)
    old = _find_living(tx, end, payload.id)
    entry = StoredEntry(number=end.number, seq=end.seq, commit_us=end.commit_us, payload=payload)
    record = _record(end, RecordKind.UPDATE, about=(old.number,), entries=(entry,))
    insert(tx, end, record, (old.meta.id_hash,), old.number)
    tx.hset(tx.keys.tenant(uid).ids, old.meta.id_hash, old.known._replace(current=end.number))
    destroyed = retire(tx, end, old.number, old.meta, EntryState.REPLACED)
    remember(tx, request, Outcome(uid, tx.now_us, end.seq, destroyed))
    return Done(record, destroyed)


def delete(tx: Transaction, *, uid: str, id: str, request_id: str) -> Done | Again:
    """Append a DELETE of the living entry of that id.

    Raises:
        NotFoundError: no such tenant, or no living entry of that id.
        FailedPreconditionError: the request_id was used for something else.
    """
    end = find_end(tx, uid)
    request = _request(end, request_id, Operation.DELETE_ENTRY, id)
    _want(tx, end, request, [id])
    if (came := outcome(tx, request)) is not None:
        return Again(came.seq, came.destroyed)
    old = _find_living(tx, end, id)
    record = _record(end, RecordKind.DELETE, about=(old.number,))
    insert(tx, end, record)
    destroyed = retire(tx, end, old.number, old.meta, EntryState.DELETED)
    remember(tx, request, Outcome(uid, tx.now_us, end.seq, destroyed))
    return Done(record, destroyed)


def feedback(tx: Transaction, *, uid: str, ids: Sequence[str], body: bytes, request_id: str) -> Done | Again:
    """Append a FEEDBACK about the living entries of these ids.

    Raises:
        NotFoundError: no such tenant, or no living entry of one of the ids.
        FailedPreconditionError: the request_id was used for something else.
    """
    end = find_end(tx, uid)
    unique = sorted(set(ids))
    request = _request(end, request_id, Operation.FEEDBACK, *unique, body=body)
    _want(tx, end, request, unique)
    if (came := outcome(tx, request)) is not None:
        return Again(came.seq, came.destroyed)
    about = tuple(sorted(_find_living(tx, end, id).number for id in unique))
    record = _record(end, RecordKind.FEEDBACK, body=body, about=about)
    insert(tx, end, record)
    remember(tx, request, Outcome(uid, tx.now_us, end.seq, 0))
    return Done(record, 0)


def forget(
    tx: Transaction, *, uid: str, ids: Sequence[str], request_id: str, asked: str
) -> tuple[Erasure, Record | None]:
    """Append a FORGET about every revision of these ids, and start an erasure; no record where an equal one did.

    Raises:
        NotFoundError: no such tenant, or an id was never known, or is forgotten already.
        FailedPreconditionError: the request_id was used for something else.
    """
    end = find_end(tx, uid)
    keys = tx.keys.tenant(uid)
    unique = list(dict.fromkeys(ids))
    request = _request(end, request_id, Operation.FORGET, *([asked] if asked else sorted(unique)))
    _want(tx, end, request, unique)
    if (came := outcome(tx, request)) is not None:
        return _erasure(tx, uid, came.seq), None
    if not unique:
        raise nothing_matches()
    found = _revisions(tx, end, unique)
    about = tuple(sorted(found))
    for number, meta in found.items():
        undue(tx, uid, number, meta)
        put_meta(tx, uid, number, meta._replace(state=EntryState.FORGOTTEN))
    for id in unique:
        tx.hset(keys.ids, id_hash(end.id_key, id), FORGOTTEN)
    record = _record(end, RecordKind.FORGET, about=about)
    insert(tx, end, record)
    erasure = Erasure(
        operation=operation_name(uid, end.seq),
        uid=uid,
        seq=end.seq,
        entries=len(about),
        # What is about an entry comes after what holds it.
        first_seq=min((meta.seq for meta in found.values()), default=end.seq),
    )
    tx.hset(keys.erasures, erasure.seq, encode_erasure(erasure))
    tx.sadd(tx.keys.erasing, erasure.operation)
    remember(tx, request, Outcome(uid, tx.now_us, end.seq, 0))
    return erasure, record


def finish_erasure(tx: Transaction, *, operation: str, receipt: bytes) -> None:
    """Mark an erasure as done; the first receipt stands. One that went with its tenant is left alone."""
    uid, seq = operation_parts(operation)
    keys = tx.keys.tenant(uid)
    data = tx.hget(keys.erasures, seq)
    if data is None or (erasure := decode_erasure(operation, data)).done:
        return
    done = Erasure(
        operation=operation,
        uid=uid,
        seq=seq,
        entries=erasure.entries,
        first_seq=erasure.first_seq,
        done=True,
        receipt=receipt,
    )
    tx.hset(keys.erasures, seq, encode_erasure(done))
    tx.srem(tx.keys.erasing, operation)


def expire(tx: Transaction, *, due: Sequence[tuple[str, int]]) -> list[tuple[str, Record]]:
    """Append an EXPIRE to every living tenant of these entries, uid and number, that live."""
    tx.want((hash, uid) for uid, _ in due for hash in (tx.keys.rows, tx.keys.heads))
    tx.want(meta_cell(tx, uid, number) for uid, number in due)
    by_uid: dict[str, dict[int, Meta]] = {}
    for uid, number in due:
        row, meta = find_row(tx, uid), find_meta(tx, uid, number)
        living = row is not None and row.standing is Standing.LIVING
        if living and meta is not None and meta.state is EntryState.LIVE:
            by_uid.setdefault(uid, {})[number] = meta
    records = []
    for uid, metas in by_uid.items():
        want_retired(tx, uid, metas.items())
        end = find_end(tx, uid)
        record = _record(end, RecordKind.EXPIRE, about=tuple(sorted(metas)))
        insert(tx, end, record)
        for number in record.about:
            retire(tx, end, number, metas[number], EntryState.EXPIRED)
        records.append((uid, record))
    return records


def _want(tx: Transaction, end: End, request: Request, ids: Sequence[str]) -> None:
    """Have all read that follows from the ids, in two rounds."""
    keys = tx.keys.tenant(end.uid)
    hashes = [id_hash(end.id_key, id) for id in ids]
    tx.want([*request_cells(tx, request), *((keys.ids, hashed) for hashed in hashes)])
    data = [tx.hget(keys.ids, hashed) for hashed in hashes]
    tx.want(meta_cell(tx, end.uid, Known.decode(each).current) for each in data if each)


def _find_living(tx: Transaction, end: End, id: str) -> Living:
    """Return the living entry of an id.

    Raises:
        NotFoundError: there is none; the reason is ENTRY_NOT_FOUND, DELETED, EXPIRED or FORGOTTEN.
    """
    data = tx.hget(tx.keys.tenant(end.uid).ids, id_hash(end.id_key, id))
    if data is None:
        raise unknown(id)
    if not data:
        raise forgotten(id)
    known = Known.decode(data)
    meta = find_meta(tx, end.uid, known.current)
    if meta is None or meta.state is not EntryState.LIVE:
        raise gone(id, None if meta is None else meta.state)
    return Living(known.current, meta, known)


def _revisions(tx: Transaction, end: End, ids: Sequence[str]) -> dict[int, Meta]:
    """Return every revision of these ids, by number.

    Raises:
        NotFoundError: an id was never known, or is forgotten.
    """
    found: dict[int, Meta] = {}
    numbers: list[int] = []
    for id in ids:
        data = tx.hget(tx.keys.tenant(end.uid).ids, id_hash(end.id_key, id))
        if data is None:
            raise unknown(id)
        if not data:
            raise forgotten(id)
        numbers.append(Known.decode(data).current)
    while numbers:
        tx.want(meta_cell(tx, end.uid, number) for number in numbers)  # of all ids, a revision further back
        metas = {n: meta for n in numbers if (meta := find_meta(tx, end.uid, n)) is not None}
        found |= metas
        numbers = [meta.previous for meta in metas.values() if meta.previous]
    return found


def _erasure(tx: Transaction, uid: str, seq: int) -> Erasure:
    """Return the erasure that the FORGET at that seq began, which is there."""
    return decode_erasure(operation_name(uid, seq), tx.hget(tx.keys.tenant(uid).erasures, seq) or b"")


def _request(end: End, request_id: str, operation: Operation, *ids: str, body: bytes = b"") -> Request:
    digest = asked_hash(end.id_key, body, *(id.encode() for id in ids))
    return Request(request_hash(end.id_key, end.uid, request_id), operation, digest)


def _record(
    end: End, kind: RecordKind, *, about: tuple[int, ...], body: bytes = b"", entries: tuple[StoredEntry, ...] = ()
) -> Record:
    return Record(seq=end.seq, commit_us=end.commit_us, kind=kind, body=body, entries=entries, about=about)


def _check_same_content(tx: Transaction, end: End, seq: int, payload: Payload) -> None:
    """Compare with the revision that an UPDATE made.

    Raises:
        FailedPreconditionError: it is another.
        NotFoundError: it is forgotten, and nothing to compare with may be kept.
    """
    keys = tx.keys.tenant(end.uid)
    data = tx.hget(keys.ids, id_hash(end.id_key, payload.id))
    if not data:
        raise forgotten(payload.id)
    number = Known.decode(data).current
    while number and (meta := find_meta(tx, end.uid, number)) is not None and meta.seq != seq:
        number = meta.previous
    stored = tx.get(keys.payload(number))
    if stored is None:
        raise forgotten(payload.id)
    content_hash, destroyed = content_hash_of(stored)
    given = payload.content_hash
    if content_hash != (content_hash_left(end.id_key, given) if destroyed else given):
        raise reused()
