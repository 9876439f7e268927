"""What a raw socket can send to a server of HTTP/2: noise, broken frames, header bombs, floods, half of anything."""

import asyncio
import gzip
import random
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from functools import cache
from typing import NamedTuple

from memsvc_bench.fuzz_mutate import damaged

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 1, 1, 4
FLOOD = 500
"""Frames of a flood."""
SEND_S, LISTEN_S = 1.0, 0.02
"""How long a server may take to read what is sent, before the rest is kept back; and how long it is listened to."""
BOMB_BYTES = 64 << 20
"""What a compressed message of a few KiB says that it is: sixteen times what a message may have."""
OTHER_PROTOCOLS = (
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /x HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    b"*1\r\n$4\r\nPING\r\n",
)
"""HTTP/1.1, TLS, and what Redis speaks."""
_RESET = struct.pack("ii", 1, 0)


class Ending(StrEnum):
    """What becomes of the connection."""

    CLOSE = "close"
    HALF = "half"
    """Its sending end is closed, and it is read until the server closes it, or a while."""
    HOLD = "hold"
    """It stays, silent, until the attack is over."""
    RESET = "reset"


class Wire(NamedTuple):
    """What one connection sends."""

    kind: str
    pieces: list[bytes]
    """Sent one by one."""
    ending: Ending


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """Return a frame; `length` is what it says of its payload, where that is not so."""
    size = len(payload) if length is None else length
    return struct.pack(">BHBBI", size >> 16 & 0xFF, size & 0xFFFF, kind, flags, stream & 0xFFFFFFFF) + payload


def header(name: bytes, value: bytes) -> bytes:
    """Return a header as HPACK writes it literally, without an index or Huffman's code."""
    return b"\x00" + _integer(len(name)) + name + _integer(len(value)) + value


def request(path: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """Return the headers of a call."""
    headers = [
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"localhost"),
        (b"content-type", b"application/grpc"), (b"te", b"trailers"), *more,
    ]  # fmt: skip
    return b"".join(header(name, value) for name, value in headers)


def wire(seed: int, number: int) -> Wire:
    """Return the connection of a number."""
    rng = random.Random(f"{seed}/wire/{number}")
    kind = rng.choice(list(_KINDS))
    pieces = _KINDS[kind](rng)
    if rng.random() < 0.3:
        pieces = [damaged(rng, piece) for piece in pieces]
    return Wire(kind, pieces, rng.choice((Ending.CLOSE, Ending.CLOSE, Ending.HALF, Ending.HOLD, Ending.RESET)))


async def send(target: str, sent: Wire, held: list[asyncio.StreamWriter]) -> None:
    """Open a connection and send; what the server makes of it is its own affair. One that stays is put into `held`."""
    host, _, port = target.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(SEND_S):
            for piece in sent.pieces:
                writer.write(piece)
                await writer.drain()
    if sent.ending is Ending.HALF:
        with suppress(OSError):
            writer.write_eof()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(LISTEN_S):
            while await reader.read(1 << 16):
                pass
    if sent.ending is Ending.HOLD:
        held.append(writer)
        return
    end(writer, reset=sent.ending is Ending.RESET)


def end(writer: asyncio.StreamWriter, *, reset: bool = False) -> None:
    """Close a connection, without waiting for what was not sent."""
    if reset:
        with suppress(OSError):
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


def _integer(value: int, prefix: int = 7) -> bytes:
    most = (1 << prefix) - 1
    if value < most:
        return bytes([value])
    parts, value = bytearray([most]), value - most
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _open(*frames: bytes) -> list[bytes]:
    return [PREFACE + frame(SETTINGS, 0, 0), *frames]


def _noise(rng: random.Random) -> list[bytes]:
    return [rng.randbytes(rng.choice((1, 9, 100, 10_000)))]


def _other_protocol(rng: random.Random) -> list[bytes]:
    return [rng.choice(OTHER_PROTOCOLS)]


def _preface(rng: random.Random) -> list[bytes]:
    return [PREFACE[: rng.randrange(len(PREFACE) + 1)]]


def _frames(rng: random.Random) -> list[bytes]:
    sent = []
    for _ in range(rng.randint(1, 20)):
        payload = rng.randbytes(rng.choice((0, 1, 4, 5, 6, 8, 100, 20_000)))
        said = rng.choice((None, None, 0, 3, 16_385, (1 << 24) - 1))
        sent.append(
            frame(
                rng.choice((*range(11), 255)),
                rng.randrange(256),
                rng.choice((0, 1, 2, 3, 1 << 31, (1 << 31) - 1)),
                payload,
                length=said,
            )
        )
    return _open(*sent)


def _header_bomb(rng: random.Random) -> list[bytes]:
    big = header(b"x-" + rng.randbytes(4).hex().encode(), b"a" * 16_000)
    parts = [frame(CONTINUATION, 0, 1, big) for _ in range(rng.choice((1, 20, 100)))]
    return _open(frame(HEADERS, 0, 1, request(b"/memsvc.v1.MemoryService/Recall")), *parts)


def _index_bomb(rng: random.Random) -> list[bytes]:
    """One large header in the table, named again and again by one byte each."""
    kept = b"\x40" + _integer(1) + b"a" + _integer(4000) + b"b" * 4000
    return _open(frame(HEADERS, END_HEADERS, 1, request(b"/x") + kept + b"\xbe" * rng.choice((10, 10_000))))


def _hpack(rng: random.Random) -> list[bytes]:
    block = rng.choice(
        (
            b"\xff" * 12,
            b"\x3f\xff\xff\xff\xff\xff\x0f",
            b"\x80",
            b"\x40\xff\xff\xff\xff\xff\x7f",
            b"\x00\x85\xff\xff\xff\xff\xff\x00",
        )
    )
    return _open(frame(HEADERS, END_HEADERS | END_STREAM, 1, request(b"/x") + block))


def _settings(rng: random.Random) -> list[bytes]:
    many = b"".join(
        struct.pack(">HI", rng.randrange(10), rng.choice((0, 1, 1 << 31, 0xFFFFFFFF)))
        for _ in range(rng.choice((1, 50, 2000)))
    )
    return _open(*(frame(SETTINGS, rng.choice((0, 0, ACK)), 0, many[:16_380]) for _ in range(rng.choice((1, 20)))))


def _ping_flood(rng: random.Random) -> list[bytes]:
    return _open(b"".join(frame(PING, 0, 0, rng.randbytes(8)) for _ in range(FLOOD)))


def _settings_flood(rng: random.Random) -> list[bytes]:
    return _open(frame(SETTINGS, 0, 0) * FLOOD)


def _rapid_reset(rng: random.Random) -> list[bytes]:
    path = rng.choice((b"/memsvc.v1.MemoryService/Recall", b"/memsvc.v1.MemoryService/WriteStream", b"/none"))
    calls = [
        frame(HEADERS, END_HEADERS, 2 * i + 1, request(path)) + frame(RST_STREAM, 0, 2 * i + 1, b"\0\0\0\x08")
        for i in range(FLOOD)
    ]
    return _open(b"".join(calls))


def _open_streams(rng: random.Random) -> list[bytes]:
    """As many calls as are allowed and some more, none of which ever says anything."""
    path = rng.choice((b"/memsvc.v1.MemoryService/WriteStream", b"/memsvc.v1.TenantService/ImportTenant"))
    return _open(b"".join(frame(HEADERS, END_HEADERS, 2 * i + 1, request(path)) for i in range(rng.choice((5, 1100)))))


def _small_frames(rng: random.Random) -> list[bytes]:
    kind = rng.choice((DATA, PRIORITY, WINDOW_UPDATE))
    payload = {DATA: b"", PRIORITY: b"\0\0\0\0\x10", WINDOW_UPDATE: b"\x7f\xff\xff\xff"}[kind]
    return _open(
        frame(HEADERS, END_HEADERS, 1, request(b"/memsvc.v1.MemoryService/Recall")), frame(kind, 0, 1, payload) * FLOOD
    )


def _message(rng: random.Random) -> list[bytes]:
    """A call whose message is not what its prefix says: its length, its compression, its end."""
    path = rng.choice(
        (
            b"/memsvc.v1.MemoryService/Write",
            b"/memsvc.v1.MemoryService/WriteStream",
            b"/memsvc.v1.TenantService/ImportTenant",
            b"/" + b"x" * 5000,
            b"",
            b"no/slash",
            b"/\xff\xfe/\0",
        )
    )
    length = rng.choice((0, 1, 5, 4 << 20, (4 << 20) + 1, 0x7FFFFFFF, 0xFFFFFFFF))
    prefix = bytes([rng.choice((0, 1, 2, 255))]) + length.to_bytes(4, "big")
    more = rng.choice(
        (
            (b"grpc-encoding", b"gzip"),
            (b"grpc-encoding", b"none"),
            (b"grpc-timeout", b"99999999999999H"),
            (b"grpc-timeout", b"-1n"),
            (b"grpc-timeout", b"1n"),
            (b"x-bin", b"\xff\xff!!"),
            (b"grpc-trace-bin", b"AA"),
        )
    )
    ends = rng.choice((0, END_STREAM))
    return _open(
        frame(HEADERS, END_HEADERS, 1, request(path, more)),
        frame(DATA, ends, 1, prefix + rng.randbytes(rng.choice((0, 5, 1000)))),
    )


def _bomb(rng: random.Random) -> list[bytes]:
    """A compressed message that is far larger than it looks."""
    packed = _packed()
    data = b"\x01" + len(packed).to_bytes(4, "big") + packed
    path = rng.choice((b"/memsvc.v1.MemoryService/Write", b"/memsvc.v1.TenantService/ImportTenant"))
    parts = [data[at : at + 16_384] for at in range(0, len(data), 16_384)]
    frames = [frame(DATA, END_STREAM if part is parts[-1] else 0, 1, part) for part in parts]
    return _open(frame(HEADERS, END_HEADERS, 1, request(path, (b"grpc-encoding", b"gzip"))), *frames)


@cache
def _packed() -> bytes:
    return gzip.compress(bytes(BOMB_BYTES), 9, mtime=0)


_KINDS: dict[str, Callable[[random.Random], list[bytes]]] = {
    "noise": _noise,
    "other protocols": _other_protocol,
    "parts of the preface": _preface,
    "broken frames": _frames,
    "header bombs": _header_bomb,
    "index bombs": _index_bomb,
    "broken HPACK": _hpack,
    "settings": _settings,
    "floods of pings": _ping_flood,
    "floods of settings": _settings_flood,
    "rapid resets": _rapid_reset,
    "open streams": _open_streams,
    "floods of small frames": _small_frames,
    "broken messages": _message,
    "compression bombs": _bomb,
}
