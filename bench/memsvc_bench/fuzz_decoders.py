"""Every decoder of stored bytes with its seeds, and the one error that it promises for bytes that are damaged."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgpack

from memsvc.engine.eraser import Receipt
from memsvc.engine.fold import fold
from memsvc.engine.runner import Runner, prepare_thread
from memsvc.errors import DataLossError, InvalidArgumentError
from memsvc.memory.config import MemoryConfig
from memsvc.memory.state import MemoryStack
from memsvc.recall.encoder import load_encoder
from memsvc.store.codec import Manifest, digest, seal, unseal
from memsvc.store.redis import rows
from memsvc.store.redis.chunks import Place
from memsvc.store.redis.log_write import decode_copies
from memsvc.store.requests import Operation, Outcome
from memsvc.store.types import EntryState, Erasure, Origin, Payload, Record, RecordKind, Snapshot, StoredEntry
from memsvc.tenant import record
from memsvc.tenant.archive import Header, Reader, Writer
from memsvc.tenant.policies import Policies
from memsvc.tenant.view import Segments, View

THREADS, CHUNK = 1, 256
HASH = bytes(range(32))
CONTENTS = (
    record.Content(text="the first note of the day", session="s1", role="user"),
    record.Content(
        text="Lisbon lies on the Tagus", metadata_json='{"lang": "en", "page": 3}', time_us=1_700_000_000_000_000
    ),
    record.Content(text="acgttagcagttacgatcgatcgat", session="s2", learn=False, expire_us=1_900_000_000_000_000),
    record.Content(text="the first note of the day", session="s1"),
)


class Decoder(NamedTuple):
    """One function that reads bytes which may be damaged."""

    seeds: Sequence[bytes]
    decode: Callable[[bytes], object]
    error: type[Exception] = DataLossError
    """What it raises for those that are, and nothing else."""
    sealed: bool = False
    """Whether a checksum stands at the end, to be made right again after the damage."""


def decoders() -> Mapping[str, Decoder]:
    """Return them by name, warm: whatever they import or load is there."""
    prepare_thread(THREADS)
    runner = Runner(load_encoder("kmer", threads=THREADS, dtype="auto"), slots=1)
    log = _log()
    payload = log[1].entries[0].payload
    entry, living = log[1].entries[0], rows.Standing.LIVING
    snapshot, weights, stack = _saved(runner, log)
    found = {
        "payload": Decoder([e.payload.data for r in log for e in r.entries], _payload),
        "create": Decoder([log[0].body], lambda data: record.decode_create(data, runner.encoder.dim)),
        "numerics": Decoder([record.encode_numerics("f" * 16, 3)], record.decode_numerics),
        "configure": Decoder([record.encode_configure({"eta": 0.5}, {"max_entries": 5})], record.decode_configure),
        "feedback": Decoder([record.encode_feedback(useful=True)], record.decode_feedback),
        "archive": Decoder([_archive(log, snapshot), _archive(log, None)], _read_archive, InvalidArgumentError),
        "view": Decoder([_packed(snapshot)], lambda data: _restore(data, runner)),
        "weights": Decoder([weights], stack.unpack),
        "receipt": Decoder(
            [Receipt(hash_before="a", hash_after="b", bytes_destroyed=1, files_pending=False).encode()], Receipt.decode
        ),
        "manifest": Decoder([_manifest(snapshot)], Manifest.decode, sealed=True),
        "place": Decoder([Place.new(b"some bytes").encode()], Place.decode, sealed=True),
        "row": Decoder([rows.Row("t", 5, log[0].body, HASH, living, "behind").encode()], rows.Row.decode),
        "head": Decoder([rows.Head(3, 4, 5, 600, ((1, 1), (2, 3))).encode()], rows.Head.decode),
        "meta": Decoder([rows.Meta(2, EntryState.LIVE, True, 0, 0, 0, HASH, 50, 40).encode()], rows.Meta.decode),
        "known": Decoder([rows.Known(1, 2, 2, HASH).encode()], rows.Known.decode),
        "entry": Decoder(
            [rows.encode_entry(entry), rows.encode_remains(HASH)], lambda data: rows.decode_entry(1, data)
        ),
        "content hash": Decoder(
            [rows.encode_entry(entry), rows.encode_remains(payload.content_hash)], rows.content_hash_of
        ),
        "stored record": Decoder(
            [rows.encode_record(r, r.size) for r in log], lambda data: rows.StoredRecord.decode(b"1-2", data).record(())
        ),
        "erasure": Decoder([_erasure()], lambda data: rows.decode_erasure("uid-3", data)),
        "outcome": Decoder([rows.encode_outcome(Operation.FORGET, HASH, Outcome("uid", 5, 6, 7))], rows.decode_outcome),
        "copies": Decoder([msgpack.packb(["export of 2025", "tenant b"])], decode_copies),
    }
    for decoder in found.values():
        for seed in decoder.seeds:
            decoder.decode(seed)
    return found


def resealed(data: bytes) -> bytes:
    """Return sealed bytes with the checksum that fits them."""
    return data[:-32] + digest(data[:-32])


def body(data: bytes) -> bytes:
    """Return what is sealed."""
    return unseal(data)


def sealed(data: bytes) -> bytes:
    """Seal a body."""
    return seal(data)


def _log() -> list[Record]:
    config = MemoryConfig(chunk=CHUNK)
    records = [
        Record(seq=1, commit_us=1, kind=RecordKind.CREATE, body=record.encode_create(config, "f" * 16, Policies()))
    ]
    for number, content in enumerate(CONTENTS, 1):
        payload = record.encode_payload(f"e{number}", content)
        entry = StoredEntry(number=number, seq=number + 1, commit_us=number, payload=payload)
        records.append(Record(seq=number + 1, commit_us=number, kind=RecordKind.WRITE, entries=(entry,)))
    return records


def _payload(data: bytes) -> record.Content:
    return record.decode_payload(Payload(id="e1", content_hash=HASH, data=data))


def _saved(runner: Runner, log: Sequence[Record]) -> tuple[Snapshot, bytes, MemoryStack]:
    """Return a view's snapshot without weights, and weights that are smaller than a view's, with what reads them."""
    view = fold(runner, "uid", log)
    snapshot = view.snapshot(None, runner.encoder.fingerprint, Segments(names=[], entries=0))
    runner.detach("uid")
    stack = MemoryStack(MemoryConfig(width=8), slots=1)
    return snapshot, stack.dump(0), stack


def _packed(snapshot: Snapshot) -> bytes:
    packed: bytes = msgpack.packb([snapshot.seq, snapshot.meta, dict(snapshot.blobs)])
    return packed


def _restore(data: bytes, runner: Runner) -> object:
    """Restore the view of a packed snapshot.

    Raises:
        DataLossError: it does not fit together. What is no snapshot at all does not count.
    """
    try:
        seq, meta, blobs = msgpack.unpackb(data)
        whole = isinstance(seq, int) and isinstance(meta, bytes) and all(isinstance(b, bytes) for b in blobs.values())
    except (ValueError, TypeError, AttributeError, msgpack.UnpackException):
        whole = False
    if not whole:
        raise DataLossError("no snapshot")
    found = View.restore(Snapshot(seq=seq, meta=meta, blobs=blobs), runner.encoder.dim, runner.encoder.fingerprint)
    return found and found[0].state_hash(None)


def _archive(log: Sequence[Record], snapshot: Snapshot | None) -> bytes:
    writer = Writer()
    origin = Origin(created_us=5, config=log[0].body, id_key=HASH, forgotten=(HASH[:16],))
    parts = [writer.begin(Header(tenant="t", origin=origin, head_seq=log[-1].seq)), *map(writer.record, log)]
    if snapshot is not None:
        parts += writer.snapshot(snapshot)
    return b"".join([*parts, writer.end()])


def _read_archive(data: bytes) -> list[Any]:
    reader = Reader(most_snapshot_bytes=1 << 20)
    items = list(reader.feed(data))
    reader.finish()
    return [*items, reader.snapshot()]


def _manifest(snapshot: Snapshot) -> bytes:
    blobs = {name: digest(data or b"") for name, data in snapshot.blobs.items()}
    return Manifest(uid="uid", seq=snapshot.seq, meta=snapshot.meta, blobs=blobs).encode()


def _erasure() -> bytes:
    return rows.encode_erasure(
        Erasure(operation="uid-3", uid="uid", seq=3, entries=2, first_seq=1, done=True, receipt=b"r")
    )
