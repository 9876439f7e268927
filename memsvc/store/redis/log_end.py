"""The end of a tenant's log, where the next record goes: parts of operations on a transaction."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from memsvc.store.hashes import content_hash_left
from memsvc.store.redis.rows import (
    Head,
    Known,
    Meta,
    Row,
    Standing,
    content_hash_of,
    encode_entry,
    encode_record,
    encode_remains,
)
from memsvc.store.redis.transaction import Cell, Transaction
from memsvc.store.refusals import no_tenant
from memsvc.store.types import EntryState, Record, StoredEntry

ABOUT_BYTES = 8
"""What a number that a record is about counts for."""


class End(NamedTuple):
    """A tenant, and what its next record will have."""

    uid: str
    id_key: bytes
    seq: int
    number: int
    """Of its first entry."""
    commit_us: int


def find_row(tx: Transaction, uid: str) -> Row | None:
    """Return a tenant that is living, staged or parked."""
    rows, heads = tx.keys.rows, tx.keys.heads
    tx.want(((rows, uid), (heads, uid)))
    return tx.find(rows, uid, Row)


def find_living(tx: Transaction, uid: str) -> Row:
    """Return a living tenant.

    Raises:
        NotFoundError: no such tenant.
    """
    row = find_row(tx, uid)
    if row is None or row.standing is not Standing.LIVING:
        raise no_tenant()
    return row


def find_head(tx: Transaction, uid: str) -> Head:
    """Return the end of a tenant's log."""
    return tx.find(tx.keys.heads, uid, Head) or Head()


def find_end(tx: Transaction, uid: str) -> End:
    """Return the end of a living tenant's log.

    Raises:
        NotFoundError: no such tenant.
    """
    row, head = find_living(tx, uid), find_head(tx, uid)
    return End(uid, row.id_key, head.seq + 1, head.number + 1, max(tx.now_us, head.commit_us))


def insert(tx: Transaction, end: End, record: Record, hashes: Sequence[bytes] = (), previous: int = 0) -> None:
    """Write a record with its entries, which live. The index of ids is the caller's.

    Args:
        tx: the operation's.
        end: of whose log.
        record: as it is to be.
        hashes: keyed, of its entries' ids.
        previous: the revision that its entry replaces.
    """
    uid, keys, size = end.uid, tx.keys.tenant(end.uid), record.size
    head = find_head(tx, uid).after(record, size + ABOUT_BYTES * len(record.about), tx.epoch)
    tx.xadd(keys.log, head.stream_id(record.seq), encode_record(record, size))
    tx.hset(tx.keys.heads, uid, head)
    for entry, hashed in zip(record.entries, hashes, strict=True):
        tx.set(keys.payload(entry.number), encode_entry(entry))
        tx.hset(keys.bucket(entry.number), entry.number, _meta(entry, hashed, previous))
        if entry.payload.expire_us is not None:
            tx.zadd(tx.keys.due, entry.payload.expire_us, due_member(uid, entry.number))


def _meta(entry: StoredEntry, hashed: bytes, previous: int) -> Meta:
    p = entry.payload
    return Meta(
        seq=entry.seq,
        state=EntryState.LIVE,
        learn=p.learn,
        previous=previous,
        died=0,
        expire_us=p.expire_us or 0,
        id_hash=hashed,
        size=len(p.id.encode()) + len(p.content_hash) + len(p.data),
        data_size=len(p.data),
    )


def meta_cell(tx: Transaction, uid: str, number: int) -> Cell:
    """Return where it is said what becomes of an entry."""
    return tx.keys.tenant(uid).bucket(number), number


def find_meta(tx: Transaction, uid: str, number: int) -> Meta | None:
    """Return what becomes of an entry; None where it is erased, or never was."""
    return tx.find(tx.keys.tenant(uid).bucket(number), number, Meta)


def put_meta(tx: Transaction, uid: str, number: int, meta: Meta) -> None:
    """Write what becomes of an entry."""
    tx.hset(tx.keys.tenant(uid).bucket(number), number, meta)


def retire(tx: Transaction, end: End, number: int, meta: Meta, state: EntryState) -> int:
    """Take an entry out of the living by the record at the end; return the bytes of payload that were destroyed."""
    uid = end.uid
    undue(tx, uid, number, meta)
    meta = meta._replace(state=state, died=end.seq)
    if meta.learn:
        put_meta(tx, uid, number, meta)
        return 0
    put_meta(tx, uid, number, meta._replace(size=0, data_size=0))
    _destroy(tx, end, number, meta)
    return meta.size


def want_retired(tx: Transaction, uid: str, metas: Iterable[tuple[int, Meta]]) -> None:
    """Have all read that `retire` reads of these entries."""
    keys = tx.keys.tenant(uid)
    of_destroyed = [(number, meta) for number, meta in metas if not meta.learn]
    tx.want((keys.payload(number), None) for number, _ in of_destroyed)
    tx.want((keys.ids, meta.id_hash) for _, meta in of_destroyed)


def undue(tx: Transaction, uid: str, number: int, meta: Meta) -> None:
    """Let an entry not expire any more."""
    if meta.expire_us:
        tx.zrem(tx.keys.due, due_member(uid, number))


def due_member(uid: str, number: int) -> str:
    """Return what stands for an entry among those that expire."""
    return f"{uid}:{number}"


def shrink(tx: Transaction, uid: str, size: int) -> None:
    """Take bytes of data from what a tenant's log counts."""
    head = find_head(tx, uid)
    tx.hset(tx.keys.heads, uid, head._replace(size=head.size - size))


def _destroy(tx: Transaction, end: End, number: int, meta: Meta) -> None:
    """Destroy an entry's payload but for what tells whether other content is equal."""
    keys = tx.keys.tenant(end.uid)
    payload, known = tx.get(keys.payload(number)), tx.hget(keys.ids, meta.id_hash)
    if payload is not None:
        left = content_hash_left(end.id_key, content_hash_of(payload)[0])
        tx.set(keys.payload(number), encode_remains(left))
        if known and (of_id := Known.decode(known)).first == number:
            tx.hset(keys.ids, meta.id_hash, of_id._replace(content_hash=left, destroyed=True))
    shrink(tx, end.uid, meta.data_size)
