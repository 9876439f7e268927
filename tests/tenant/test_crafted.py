"""What is unpacked of a file that somebody made up takes little more memory than its bytes."""

import struct
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import msgpack
import pytest

from memsvc.errors import DataLossError
from memsvc.recall import rows
from memsvc.store.types import Payload, Snapshot
from memsvc.tenant import record, view
from memsvc.tenant.event import KEPT_EVENTS, Event
from memsvc.tenant.view import Segments, View
from tests.recall.build import DIM, entries

MANY = 1 << 20
LISTS = b"\xdd" + struct.pack(">I", MANY) + b"\x90" * MANY
"""Empty lists: each takes 64 times as much once it is unpacked."""
MAPS = b"\xdd" + struct.pack(">I", MANY) + b"\x80" * MANY
NUMBERS = b"\xdd" + struct.pack(">I", MANY) + b"\x07" * MANY
DEEP = b"\x91" * MANY
BOMBS = pytest.mark.parametrize("bomb", [LISTS, MAPS, DEEP, NUMBERS], ids=["lists", "maps", "deep", "numbers"])


def refused_in_little_memory(read: Callable[[], object], size: int = MANY) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(DataLossError):
            read()
        assert tracemalloc.get_traced_memory()[1] < 6 * size
    finally:
        tracemalloc.stop()


def saved(count: int = 3) -> Snapshot:
    """A snapshot of entries each of which came with a snapshot of its own, after many events."""
    made, segments, blobs = View(DIM), Segments(names=[], entries=0), {}
    made.events.extend(
        Event(seq=i, kind="configured", figures={f"setting {j}": 0.5 for j in range(20)}) for i in range(KEPT_EVENTS)
    )
    for entry in entries(1, count, passages=1):
        made.index.add([entry])
        snapshot = made.snapshot(None, "kmer", segments)
        blobs |= {name: data for name, data in snapshot.blobs.items() if data is not None}
    return replace(snapshot, blobs={name: blobs[name] for name in snapshot.blobs})


@BOMBS
@pytest.mark.parametrize("name", ["format", "events", "segments", "owners", "drift", "a later version's"])
def test_what_a_snapshot_says(name, bomb) -> None:
    snapshot = saved()
    said = {key: value for key, value in msgpack.unpackb(snapshot.meta).items() if key != name}
    meta = msgpack.packb(said) + msgpack.packb(name) + bomb
    crafted = replace(snapshot, meta=bytes([0x80 + len(said) + 1]) + meta[1:])
    refused_in_little_memory(lambda: View.restore(crafted, DIM, "kmer"))


def test_more_than_a_snapshot_says() -> None:
    crafted = replace(saved(), meta=saved().meta + LISTS)
    refused_in_little_memory(lambda: View.restore(crafted, DIM, "kmer"))


def test_a_snapshot_may_have_any_number_of_parts(monkeypatch) -> None:
    monkeypatch.setattr(view, "MOST_OF_META", 12_000)
    snapshot = saved(1)
    assert len(msgpack.unpackb(snapshot.meta)["events"]) == KEPT_EVENTS
    restored, _ = View.restore(snapshot, DIM, "kmer")
    assert len(restored.events) == KEPT_EVENTS
    monkeypatch.setattr(view, "MOST_OF_META", 6_500)
    snapshot = saved(500)
    restored, segments = View.restore(snapshot, DIM, "kmer")
    assert (len(restored.index), len(segments.names)) == (500, 500)
    assert restored.snapshot(None, "kmer", segments).meta == snapshot.meta


@BOMBS
@pytest.mark.parametrize("table", ["number", "vectors", "terms", "values"])
def test_a_part_of_the_index(table, bomb) -> None:
    (segment,) = (data for name, data in saved(1).blobs.items() if name.startswith("index"))
    size = int.from_bytes(segment[1:8], "little")
    header = msgpack.unpackb(segment[8 : 8 + size])
    packed = [
        bomb if name == table else msgpack.packb(each) for name, each in zip(rows.Rows._fields, header, strict=True)
    ]
    head = b"\xdc" + struct.pack(">H", len(packed)) + b"".join(packed)
    crafted = segment[:1] + len(head).to_bytes(7, "little") + head + bytes(-len(head) % 8)
    refused_in_little_memory(lambda: rows.unpack(crafted + segment[8 + size + -size % 8 :]))


@BOMBS
def test_an_entry_and_the_settings(bomb) -> None:
    data = bytes([record.FORMAT])
    payload = Payload(id="x", content_hash=b"", data=data + b"\x96" + bomb + b"\xa0" * 5)
    refused_in_little_memory(lambda: record.decode_payload(payload))
    for body in (bomb, b"\x93" + bomb + b"\xa0\x80", b"\x93\x81\xa5layers" + bomb + b"\xa0\x80"):
        refused_in_little_memory(lambda body=body: record.decode_create(data + body, DIM))
    for decode in (record.decode_configure, record.decode_numerics):
        refused_in_little_memory(lambda decode=decode: decode(data + b"\x92" + bomb + b"\x80"))
