"""A tenant as one file: frames of msgpack, each with a checksum, and one over all at the end.

    magic, then frames: length (4 bytes), CRC-32 of the body (4), body
    bodies: ["tenant", ...], ["record", ...] by seq, ["snapshot", seq, meta], ["blob", name, part] ..., ["end", digest]

Pure: bytes in, values out. Nothing in a file is believed before it is checked: whoever made it, it takes no more memory
than a small multiple of its largest frame, and what its snapshot may have.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgpack

from memsvc import limits
from memsvc.damage import READING
from memsvc.errors import InvalidArgumentError
from memsvc.store.hashes import HASH_BYTES
from memsvc.store.types import Origin, Payload, Record, RecordKind, Snapshot, StoredEntry
from memsvc.values import Values

MAGIC = b"MEMSVC\x00"
FORMAT = 1
PART_BYTES = 1 << 20
"""Bytes of a blob in one frame."""
MOST_FRAME_BYTES = 16 << 20
"""More than a frame has: a batch is 4 MiB, a blob's part 1, and three million entries are forgotten at once in 16."""
MOST_FIRST_BYTES = 64 << 20
"""The first frame has a hash of every id that was ever forgotten, 18 bytes each."""
MOST_NAME_BYTES = 256
BLOB_BYTES = 256
"""What a blob takes of the memory beside its name and its bytes."""
LENGTHS = {"tenant": 7, "record": 7, "snapshot": 3, "blob": 3, "end": 2}
"""Values in a frame, its kind included."""
_FRAME = struct.Struct("<II")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a file begins with."""

    tenant: str
    origin: Origin
    head_seq: int
    """The tenant's last record when the file was begun. More may follow it; versions before this one refuse that."""


class Writer:
    """Makes a file, piece by piece."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def begin(self, header: Header) -> bytes:
        """Return the file's beginning."""
        origin = header.origin
        values = [header.tenant, origin.created_us, origin.config, origin.id_key, list(origin.forgotten)]
        return self._count(MAGIC + bytes([FORMAT])) + self._frame(["tenant", *values, header.head_seq])

    def record(self, record: Record) -> bytes:
        """Return a record's frame."""
        entries = [
            [e.number, e.payload.id, e.payload.content_hash, e.payload.data, e.payload.learn, e.payload.expire_us]
            for e in record.entries
        ]
        values = [record.seq, record.commit_us, int(record.kind), record.body, list(record.about), entries]
        return self._frame(["record", *values])

    def snapshot(self, snapshot: Snapshot) -> Iterator[bytes]:
        """Yield a snapshot's frames."""
        yield self._frame(["snapshot", snapshot.seq, snapshot.meta])
        for name, data in snapshot.blobs.items():
            for at in range(0, len(data or b""), PART_BYTES) or (0,):
                yield self._frame(["blob", name, (data or b"")[at : at + PART_BYTES]])

    def end(self) -> bytes:
        """Return the file's end."""
        return self._frame(["end", self._digest.digest()])

    def _frame(self, values: list[Any]) -> bytes:
        body = msgpack.packb(values)
        return self._count(_FRAME.pack(len(body), zlib.crc32(body)) + body)

    def _count(self, data: bytes) -> bytes:
        self._digest.update(data)
        return data


@dataclass(slots=True)
class Reader:
    """Reads a file as its bytes come; whoever feeds it takes what it yields.

    Args:
        most_snapshot_bytes: what the snapshot in it may have, which is held until the end; None to pass over it.

    Attributes:
        done: whether the end was read, and all checksums hold.
    """

    most_snapshot_bytes: int | None
    done: bool = False
    _held: int = 0
    """Bytes of the snapshot so far."""
    _rest: bytearray = field(default_factory=bytearray)
    _digest: Any = field(default_factory=hashlib.sha256)
    _begun: bool = False
    _header: Header | None = None
    _seq: int = 0
    _snapshot: tuple[int, bytes] | None = None
    _blobs: dict[str, bytearray] = field(default_factory=dict)

    def feed(self, data: bytes) -> Iterator[Header | Record]:
        """Yield what is complete: first the header, then the records in order.

        Raises:
            InvalidArgumentError: the file is damaged, of a newer format, or none of ours.
        """
        self._rest += data
        if not self._begun:
            if len(self._rest) <= len(MAGIC):
                return
            if not self._rest.startswith(MAGIC):
                raise _refused("is no export of a tenant")
            if self._rest[len(MAGIC)] != FORMAT:
                raise _refused(f"has format {self._rest[len(MAGIC)]}; this version reads {FORMAT}")
            self._take(len(MAGIC) + 1)
            self._begun = True
        while (body := self._body()) is not None:
            if self.done:
                raise _refused("goes on after its end")
            try:
                item = self._item(Values(body))
            except InvalidArgumentError:  # which is among those below
                raise
            except READING as error:
                raise _refused("is damaged: a part of it does not unpack") from error
            if item is not None:
                yield item

    def snapshot(self) -> Snapshot | None:
        """Return the snapshot in the file, once it is done."""
        if self._snapshot is None or self.most_snapshot_bytes is None:
            return None
        seq, meta = self._snapshot
        return Snapshot(seq=seq, meta=meta, blobs={name: bytes(data) for name, data in self._blobs.items()})

    def _hold(self, size: int) -> bool:
        """Count what is held until the end; return whether it is."""
        if self.most_snapshot_bytes is None:
            return False
        self._held += size
        if self._held > self.most_snapshot_bytes:
            raise _refused(f"has a snapshot of more than {self.most_snapshot_bytes} bytes, which a rebuild passes over")
        return True

    def _keep(self, name: str, part: bytes) -> None:
        named = len(name.encode())
        if named > MOST_NAME_BYTES:
            raise _refused("is damaged: a part of its snapshot has too long a name")
        if self._hold(len(part) + (0 if name in self._blobs else named + BLOB_BYTES)):
            self._blobs.setdefault(name, bytearray()).extend(part)

    def finish(self) -> None:
        """Check that the file is whole.

        Raises:
            InvalidArgumentError: it is cut short.
        """
        if not self.done or self._rest:
            raise _refused("is cut short")
        if self._header is None or self._seq < self._header.head_seq:
            raise _refused("lacks records")

    def _body(self) -> bytes | None:
        if len(self._rest) < _FRAME.size:
            return None
        size, checksum = _FRAME.unpack_from(self._rest)
        if size > (MOST_FIRST_BYTES if self._header is None else MOST_FRAME_BYTES):
            raise _refused("is damaged: a part of it is too large")
        if len(self._rest) < _FRAME.size + size:
            return None
        body = bytes(self._rest[_FRAME.size : _FRAME.size + size])
        if zlib.crc32(body) != checksum:
            raise _refused("is damaged: a checksum differs")
        self._before = self._digest.digest()
        self._take(_FRAME.size + size)
        return body

    def _take(self, size: int) -> None:
        self._digest.update(self._rest[:size])
        del self._rest[:size]

    _before: bytes = b""
    """The digest of what lies before the frame in hand."""

    def _item(self, values: Values) -> Header | Record | None:
        length, kind = values.length(), values.take()
        if (kind == "tenant") == (self._header is not None):
            raise _refused("is damaged: its parts are out of order")
        if kind not in LENGTHS:
            raise _refused("has a part that this version does not know")
        if length != LENGTHS[kind]:
            raise ValueError("another number of values")
        item: Header | Record | None = None
        match kind:
            case "tenant":
                item = self._header = _header(values)
            case "record":
                item = _record(values)
                self._seq = item.seq
            case "snapshot":
                seq, meta = values.take(), values.take()
                if type(seq) is not int or not isinstance(meta, bytes):
                    raise TypeError("no snapshot")
                if self._hold(len(meta)):
                    self._snapshot = (seq, meta)
            case "blob":
                name, part = values.take(), values.take()
                if not isinstance(name, str) or not isinstance(part, bytes):
                    raise TypeError("no part of a snapshot")
                self._keep(name, part)
            case "end":
                if values.take() != self._before:
                    raise _refused("is damaged: the checksum of the whole differs")
                self.done = True
        values.end()
        return item


def _header(values: Values) -> Header:
    tenant, created_us, config, id_key = (values.take() for _ in range(4))
    forgotten = tuple(values.each(lambda value: isinstance(value, bytes) and len(value) == HASH_BYTES))
    origin = Origin(created_us=created_us, config=config, id_key=id_key, forgotten=forgotten)
    return Header(tenant=tenant, origin=origin, head_seq=values.take())


def _record(values: Values) -> Record:
    seq, commit_us, kind, body = (values.take() for _ in range(4))
    about = tuple(values.each(lambda value: type(value) is int))
    count = values.length()
    if count > limits.MAX_BATCH_ENTRIES:
        raise ValueError("more entries than a batch has")
    entries = tuple(_entry(values, seq, commit_us) for _ in range(count))
    return Record(seq=seq, commit_us=commit_us, kind=RecordKind(kind), body=body, about=about, entries=entries)


def _entry(values: Values, seq: int, commit_us: int) -> StoredEntry:
    if values.length() != 6:
        raise ValueError("another number of values")
    number, id, content_hash, data, learn, expire_us = (values.take() for _ in range(6))
    payload = Payload(id=id, content_hash=content_hash, data=data, learn=learn, expire_us=expire_us)
    return StoredEntry(number=number, seq=seq, commit_us=commit_us, payload=payload)


def _refused(why: str) -> InvalidArgumentError:
    return InvalidArgumentError("data", f"the file {why}", reason="ARCHIVE_REFUSED")
