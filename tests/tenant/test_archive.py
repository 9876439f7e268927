"""A tenant as one file: what is read is what was written, and nothing else is read."""

import struct
import tracemalloc
import zlib

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memsvc.errors import InvalidArgumentError
from memsvc.store.types import Origin, Payload, Record, RecordKind, Snapshot, StoredEntry
from memsvc.tenant.archive import FORMAT, MAGIC, Header, Reader, Writer


def header(head: int) -> Header:
    origin = Origin(created_us=5, config=b"config", id_key=b"k" * 32, forgotten=(b"a" * 16, b"b" * 16))
    return Header(tenant="ada/ж", origin=origin, head_seq=head)


def record(seq: int) -> Record:
    entries = tuple(
        StoredEntry(
            number=10 * seq + i,
            seq=seq,
            commit_us=seq,
            payload=Payload(
                id=f"e{i}", content_hash=b"h", data=bytes(range(i * 50)), learn=i != 1, expire_us=i or None
            ),
        )
        for i in range(seq % 3)
    )
    return Record(seq=seq, commit_us=seq, kind=RecordKind.WRITE, body=b"b", about=(seq,), entries=entries)


SNAPSHOT = Snapshot(seq=2, meta=b"meta", blobs={"one": b"x" * 3_000_000, "none": b"", "two": b"yz"})


def written(records: int = 4, snapshot: Snapshot | None = SNAPSHOT) -> bytes:
    writer = Writer()
    parts = [writer.begin(header(records)), *(writer.record(record(seq)) for seq in range(1, records + 1))]
    if snapshot is not None:
        parts += writer.snapshot(snapshot)
    return b"".join([*parts, writer.end()])


def read(data: bytes, sizes: list[int] | None = None) -> tuple[list, Snapshot | None]:
    reader, items, at = Reader(most_snapshot_bytes=1 << 30), [], 0
    for size in [*(sizes or []), len(data)]:
        items += reader.feed(data[at : at + size])
        at += size
    reader.finish()
    return items, reader.snapshot()


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(0, 500), max_size=40))
def test_it_comes_back_however_it_is_cut(sizes) -> None:
    items, snapshot = read(written(snapshot=None), sizes)
    assert items == [header(4), *(record(seq) for seq in range(1, 5))]
    assert snapshot is None


def test_a_snapshot_comes_back_too() -> None:
    assert read(written())[1] == SNAPSHOT


SMALL = written(snapshot=Snapshot(seq=2, meta=b"meta", blobs={"one": b"x" * 30}))


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, len(SMALL) - 1), bit=st.integers(0, 7))
def test_no_flipped_bit_passes(at, bit) -> None:
    damaged = bytearray(SMALL)
    damaged[at] ^= 1 << bit
    with pytest.raises(InvalidArgumentError):
        read(bytes(damaged))


@given(length=st.integers(0, len(SMALL) - 1))
def test_no_file_that_is_cut_short_passes(length) -> None:
    with pytest.raises(InvalidArgumentError, match="cut short"):
        read(SMALL[:length])


def test_a_newer_format_and_another_file_are_named() -> None:
    with pytest.raises(InvalidArgumentError, match="format 9"):
        read(SMALL[:7] + b"\x09" + SMALL[8:])
    with pytest.raises(InvalidArgumentError, match="no export"):
        read(b"PK\x03\x04" + SMALL)
    with pytest.raises(InvalidArgumentError, match="after its end"):
        read(SMALL + SMALL[8:])


def test_records_that_lack_are_missed() -> None:
    writer = Writer()
    data = writer.begin(header(3)) + writer.record(record(1)) + writer.end()
    with pytest.raises(InvalidArgumentError, match="lacks records"):
        read(data)


def test_a_length_that_is_made_up_takes_no_memory() -> None:
    with pytest.raises(InvalidArgumentError, match="too large"):
        read(SMALL[:8] + b"\xff\xff\xff\x7f" + SMALL[12:])


def crafted(*bodies: bytes) -> bytes:
    frames = (struct.pack("<II", len(body), zlib.crc32(body)) + body for body in bodies)
    return MAGIC + bytes([FORMAT]) + b"".join(frames)


BEGUN = msgpack.packb(["tenant", "t", 5, b"config", b"k" * 32, [], 1])
MANY = 1 << 18
LISTS = b"\xdd" + struct.pack(">I", MANY) + b"\x90" * MANY
"""Empty lists: each takes 64 times as much once it is unpacked."""


@pytest.mark.parametrize(
    "bodies",
    [
        [b"\x92\xa6tenant" + LISTS],
        [b"\x97\xa6tenant" + msgpack.packb("t") + b"\x05\xc4\x00\xc4\x00" + LISTS + b"\x01"],
        [b"\x97\xa6tenant" + LISTS * 6],
        [BEGUN, b"\x97\xa6record\x01\x01\x03\xc4\x00" + LISTS + b"\x90"],
        [BEGUN, b"\x97\xa6record\x01\x01\x03\xc4\x00\x90" + LISTS],
        [BEGUN, b"\x97\xa6record\x01\x01\x03\xc4\x00\x90\x91\x96\x01" + LISTS],
        [BEGUN, b"\x93\xa8snapshot\x01" + LISTS],
        [BEGUN, b"\x97\xa6record\x01\x01\x03\xc4\x00\x90\x91\x96" + b"\x81" * 100_000],
        [BEGUN, LISTS],
    ],
)
def test_a_list_that_does_not_belong_is_not_unpacked(bodies) -> None:
    data, reader = crafted(*bodies), Reader(most_snapshot_bytes=1 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidArgumentError, match="does not unpack"):
            list(reader.feed(data))
        assert tracemalloc.get_traced_memory()[1] < 6 * len(data)
    finally:
        tracemalloc.stop()


def test_what_a_snapshot_holds_is_counted_names_and_all() -> None:
    begun = [BEGUN, msgpack.packb(["snapshot", 1, b"m" * 1000])]
    for more, why in (
        ([msgpack.packb(["blob", "n" * 257, b""])], "long a name"),
        ([msgpack.packb(["blob", f"{i}", b""]) for i in range(5000)], "more than 1000000 bytes"),
        (begun[1:] * 1001, "more than 1000000 bytes"),
    ):
        with pytest.raises(InvalidArgumentError, match=why):
            list(Reader(most_snapshot_bytes=1_000_000).feed(crafted(*begun, *more)))
