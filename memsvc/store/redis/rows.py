"""What lies in Redis's values: msgpack behind a version byte. Pure."""

from enum import IntEnum
from typing import Any, NamedTuple

import msgpack

from memsvc import damage
from memsvc.errors import DataLossError
from memsvc.store.hashes import content_hash_left
from memsvc.store.requests import Operation, Outcome
from memsvc.store.types import EntryState, Erasure, Payload, Record, RecordKind, StoredEntry, TenantRow

FORMAT = 1
"""First byte of every value. A reader refuses what is newer than it knows."""
_FORMAT = bytes([FORMAT])


EPOCHS = 64
"""Owners that a head remembers."""

DAMAGED = "a value in Redis is none of its kind"


class Standing(IntEnum):
    """What a tenant is. Numbers are part of the format."""

    LIVING = 0
    STAGED = 1
    PARKED = 2


class Row(NamedTuple):
    """What changes seldom of a tenant."""

    name: str
    """Of a staged one, the id that it will have."""
    created_us: int
    config: bytes
    id_key: bytes
    standing: Standing
    behind: str = ""
    """The uid of the tenant parked behind it."""

    def tenant(self, uid: str) -> TenantRow:
        """Return it as the world sees it."""
        return TenantRow(uid=uid, tenant=self.name, created_us=self.created_us, config=self.config)

    def encode(self) -> bytes:
        """Return it as bytes."""
        return pack(*self)

    @classmethod
    def decode(cls, data: bytes) -> "Row":
        """Read it.

        Raises:
            DataLossError: it is damaged, or of a newer format.
        """
        name, created_us, config, id_key, standing, behind = unpack(data, 6)
        with damage.told_as(DAMAGED):
            return cls(name, created_us, config, id_key, Standing(standing), behind)


class Head(NamedTuple):
    """The end of a tenant's log."""

    seq: int = 0
    number: int = 0
    commit_us: int = 0
    size: int = 0
    """Bytes that the records and payloads count for."""
    epochs: tuple[tuple[int, int], ...] = ()
    """Which owners appended, each with the first seq that it did; of many some, the first and the last among them."""

    def encode(self) -> bytes:
        """Return it as bytes."""
        return pack(*self)

    @classmethod
    def decode(cls, data: bytes | None) -> "Head":
        """Read it; of nothing, the end of an empty log.

        Raises:
            DataLossError: it is damaged, or of a newer format.
        """
        if data is None:
            return cls()
        seq, number, commit_us, size, epochs = unpack(data, 5)
        with damage.told_as(DAMAGED):
            return cls(seq, number, commit_us, size, tuple((epoch, first) for epoch, first in epochs))

    def after(self, record: Record, size: int, epoch: int) -> "Head":
        """Return the end once a record of that size is appended by an owner."""
        last = max(self.number, *[entry.number for entry in record.entries], *record.about, 0)
        epochs = self.epochs
        if not epochs or epochs[-1][0] != epoch:
            kept = epochs if len(epochs) < EPOCHS else epochs[::2]
            epochs = (*kept, (epoch, record.seq))
        return Head(record.seq, last, record.commit_us, self.size + size, epochs)

    def stream_id(self, seq: int) -> str:
        """Return the least id in the stream that the record of that seq may have; of the next one, the very id."""
        for epoch, first in reversed(self.epochs):
            if first <= seq:
                return f"{epoch}-{seq}"
        return f"0-{seq}"


class Meta(NamedTuple):
    """What becomes of an entry."""

    seq: int
    state: EntryState
    learn: bool
    previous: int
    """The revision that it replaced; 0 for none."""
    died: int
    """The record by which it was replaced, deleted or expired; 0 for none."""
    expire_us: int
    """0 for never."""
    id_hash: bytes
    size: int
    """Bytes of id, content hash and data; 0 once they are destroyed."""
    data_size: int

    def encode(self) -> bytes:
        """Return it as bytes."""
        return pack(*self)

    @classmethod
    def decode(cls, data: bytes) -> "Meta":
        """Read it.

        Raises:
            DataLossError: it is damaged, or of a newer format.
        """
        seq, state, *rest = unpack(data, 9)
        with damage.told_as(DAMAGED):
            return cls(seq, EntryState(state), *rest)

    def lived(self, as_of: int | None) -> bool:
        """Whether the entry lives, or lived after the record of that seq."""
        if self.state == EntryState.FORGOTTEN:
            return False
        return not self.died if as_of is None else self.seq <= as_of and (not self.died or self.died > as_of)


class Known(NamedTuple):
    """What is known of an id that is not forgotten."""

    first: int
    """Number of its first revision."""
    current: int
    """Number of its newest."""
    seq: int
    """Record of the first."""
    content_hash: bytes
    """Of the first; what is left of it once that one's payload is destroyed."""
    destroyed: bool = False

    def encode(self) -> bytes:
        """Return it as bytes."""
        return pack(*self)

    @classmethod
    def decode(cls, data: bytes) -> "Known":
        """Read it.

        Raises:
            DataLossError: it is damaged, or of a newer format.
        """
        return cls(*unpack(data, 5))

    def is_equal(self, id_key: bytes, content_hash: bytes) -> bool:
        """Whether the first revision had that content."""
        given = content_hash_left(id_key, content_hash) if self.destroyed else content_hash
        return self.content_hash == given


FORGOTTEN = b""
"""In the place of what is known of an id that is forgotten."""


def encode_entry(entry: StoredEntry) -> bytes:
    """Return what a caller wrote as bytes."""
    p = entry.payload
    return pack(p.id, p.content_hash, p.data, p.learn, entry.seq, entry.commit_us, p.expire_us)


def decode_entry(number: int, data: bytes | None) -> StoredEntry | None:
    """Read what a caller wrote; None where it is destroyed.

    Raises:
        DataLossError: it is damaged, or of a newer format.
    """
    if data is None:
        return None
    id, content_hash, content, learn, seq, commit_us, expire_us = unpack(data, 7)
    if id is None:
        return None
    payload = Payload(id=id, content_hash=content_hash, data=content, learn=learn, expire_us=expire_us)
    return StoredEntry(number=number, seq=seq, commit_us=commit_us, payload=payload)


def encode_remains(content_hash: bytes) -> bytes:
    """Return what a destroyed payload leaves behind: by what equal content is known again."""
    return pack(None, content_hash, None, False, 0, 0, None)


def content_hash_of(data: bytes) -> tuple[bytes, bool]:
    """Return a payload's content hash, and whether it is only what was left of it.

    Raises:
        DataLossError: it is damaged, or of a newer format.
    """
    id, content_hash, *_ = unpack(data, 7)
    return content_hash, id is None


def encode_record(record: Record, size: int) -> bytes:
    """Return a record of that size, without its entries, as bytes."""
    first, last = (record.entries[0].number, record.entries[-1].number) if record.entries else (0, 0)
    return pack(record.commit_us, record.kind, record.body, record.about, first, last, size)


class StoredRecord(NamedTuple):
    """A record as the stream has it."""

    seq: int
    commit_us: int
    kind: int
    body: bytes
    about: list[int]
    first: int
    """Numbers of its entries; 0 for none."""
    last: int
    size: int

    @property
    def numbers(self) -> range:
        """The numbers that its entries may have."""
        return range(self.first, self.last + 1) if self.first else range(0)

    def record(self, entries: tuple[StoredEntry, ...]) -> Record:
        """Return it with its entries.

        Raises:
            DataLossError: it is damaged.
        """
        with damage.told_as(DAMAGED):
            return Record(
                seq=self.seq,
                commit_us=self.commit_us,
                kind=RecordKind(self.kind),
                body=self.body,
                entries=entries,
                about=tuple(self.about),
            )

    @classmethod
    def decode(cls, stream_id: bytes, data: bytes) -> "StoredRecord":
        """Read it.

        Raises:
            DataLossError: it is damaged, or of a newer format.
        """
        return cls(int(stream_id.rpartition(b"-")[2]), *unpack(data, 7))


def encode_erasure(erasure: Erasure) -> bytes:
    """Return an erasure as bytes."""
    return pack(erasure.entries, erasure.first_seq, erasure.done, erasure.receipt)


def decode_erasure(operation: str, data: bytes) -> Erasure:
    """Read an erasure.

    Raises:
        DataLossError: it is damaged, or of a newer format.
    """
    uid, seq = operation_parts(operation)
    entries, first_seq, done, receipt = unpack(data, 4)
    return Erasure(
        operation=operation, uid=uid, seq=seq, entries=entries, first_seq=first_seq, done=done, receipt=receipt
    )


def operation_name(uid: str, seq: int) -> str:
    """Return the name of the erasure that the record of that seq began."""
    return f"{uid}-{seq}"


def operation_parts(operation: str) -> tuple[str, int]:
    """Return uid and seq of an erasure; seq 0 where that is no name of one."""
    uid, _, seq = operation.partition("-")
    return uid, int(seq) if seq.isdecimal() and seq.isascii() and len(seq) < 20 else 0


def encode_outcome(operation: Operation, digest: bytes | None, outcome: Outcome) -> bytes:
    """Return what came of a request as bytes."""
    return pack(operation, digest, *outcome)


def decode_outcome(data: bytes) -> tuple[int, bytes | None, Outcome]:
    """Read what came of a request: operation, digest, outcome.

    Raises:
        DataLossError: it is damaged, or of a newer format.
    """
    operation, digest, *outcome = unpack(data, 6)
    return operation, digest, Outcome(*outcome)


def pack(*values: Any) -> bytes:
    """Return values as bytes."""
    packed: bytes = msgpack.packb(values)
    return _FORMAT + packed


def unpack(data: bytes, arity: int) -> list[Any]:
    """Read that many values.

    Raises:
        DataLossError: the bytes are damaged, or of a newer format.
    """
    if not data or data[0] != FORMAT:
        raise DataLossError(
            f"a value in Redis of format {data[:1].hex() or 'nothing'}; this version reads {FORMAT:02x}"
        )
    try:
        values = msgpack.unpackb(data[1:])
    except (ValueError, msgpack.UnpackException) as error:
        raise DataLossError("a value in Redis does not unpack") from error
    if not isinstance(values, list) or len(values) != arity:
        raise DataLossError(f"a value in Redis of {arity} fields was expected")
    return values
