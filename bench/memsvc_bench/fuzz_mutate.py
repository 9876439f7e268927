"""Seeded damage: to bytes, and to values as msgpack has them."""

import math
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgpack

MOST_BYTES = 1 << 18
"""What damaged bytes may grow to, where growing is not the point."""
VARINTS = (b"\xff" * 9 + b"\x01", b"\xff" * 10, b"\x80" * 9 + b"\x01", b"\xff\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x00")
"""The largest, one that is too long, the least, the largest of 32 bits, and 0 written long."""
LENGTHS = (0x7F, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 63) - 1, (1 << 64) - 1)
BYTES = (0x00, 0x01, 0x7F, 0x80, 0xC0, 0xC1, 0xD9, 0xDB, 0xDD, 0xDF, 0xFF)
"""Ends of ranges; in UTF-8 what never stands alone, in msgpack the types that say their length."""
INTEGERS = (0, 1, -1, 2, 127, 255, 1 << 31, -(1 << 31), (1 << 31) - 1, (1 << 53) + 1, (1 << 63) - 1, -(1 << 63))
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 5e-324, 1e38, 1e308, -1e308, math.inf, -math.inf, math.nan)
STRINGS = (
    "",
    "a",
    "A" * 257,
    "A" * 70_000,
    "\0",
    "a\nb",
    "\u202eabc",
    "é",
    "e\u0301",
    "\U0010ffff",
    "../../etc/passwd",
    "%00",
)


def varint(value: int) -> bytes:
    """Return a number of up to 64 bits as protobuf writes it."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def damaged(rng: random.Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Return bytes with one to four damages.

    Args:
        rng: draws them.
        data: what is whole.
        others: what parts are taken from, to be spliced in.
    """
    broken = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        rng.choice(_DAMAGES)(rng, broken, others)
        del broken[MOST_BYTES:]
    return bytes(broken)


def _flip(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.choice(BYTES)


def _truncate(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _delete(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    del data[_part(rng, data)]


def _duplicate(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    part = data[_part(rng, data)] * rng.choice((1, 1, 2, 50))
    _insert(rng, data, bytes(part))


def _splice(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    if others:
        other = rng.choice(others)
        _insert(rng, data, other[_part(rng, other)])


def _noise(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    _insert(rng, data, rng.randbytes(rng.choice((1, 2, 8, 64))))


def _varint(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    extreme = rng.choice(VARINTS)
    if rng.random() < 0.5 and data:
        at = rng.randrange(len(data))
        data[at : at + 1] = extreme
    else:
        _insert(rng, data, extreme)


def _length(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    """Say that much more follows than does, as protobuf or as msgpack would."""
    length = rng.choice(LENGTHS)
    if rng.random() < 0.5:
        said = varint(rng.randrange(1, 16) << 3 | 2) + varint(length)
    else:
        said = rng.choice((b"\xc6", b"\xdb", b"\xdd", b"\xdf", b"\xc9")) + (length & 0xFFFFFFFF).to_bytes(4, "big")
    _insert(rng, data, said)


def _insert(rng: random.Random, data: bytearray, part: bytes) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = part


def _part(rng: random.Random, data: bytes | bytearray) -> slice:
    start = rng.randrange(len(data) + 1)
    return slice(start, start + rng.choice((1, 2, 4, 16, 64, 1024)))


_DAMAGES: tuple[Callable[[random.Random, bytearray, Sequence[bytes]], None], ...] = (
    _flip, _flip, _set, _truncate, _delete, _duplicate, _splice, _noise, _varint, _length,
)  # fmt: skip


# --- values ---------------------------------------------------------------------------------------------------------


def odd_value(rng: random.Random) -> Any:
    """Draw a value that msgpack packs and nobody expects."""
    match rng.randrange(9):
        case 0:
            return rng.choice(INTEGERS)
        case 1:
            return rng.choice(FLOATS)
        case 2:
            return rng.choice(STRINGS)
        case 3:
            return rng.randbytes(rng.choice((0, 1, 16, 32, 5000)))
        case 4:
            return rng.choice((None, True, False))
        case 5:
            return rng.choice(([], {}, [[]], [None] * 7, {"a": 1}, {"\0": {}}))
        case 6:
            return nested(rng.choice((10, 100, 400)))
        case 7:
            return msgpack.ExtType(rng.randrange(128), rng.randbytes(4))
    return msgpack.Timestamp(rng.choice((0, 1, 1 << 40)), 0)


def nested(depth: int) -> list[Any]:
    """Return lists in lists."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def altered(rng: random.Random, value: Any) -> Any:
    """Return a value with something inside it, or all of it, exchanged, dropped, doubled or put in another place."""
    if not isinstance(value, list | tuple | dict) or not value or rng.random() < 0.05:
        return _odd(rng, value)
    if isinstance(value, dict):
        key = rng.choice(list(value))
        items = dict(value)
        match rng.randrange(8):
            case 0:
                del items[key]
            case 1:
                items[rng.choice(STRINGS)] = odd_value(rng)
            case _:
                items[key] = altered(rng, value[key])
        return items
    rows, at = list(value), rng.randrange(len(value))
    match rng.randrange(10):
        case 0:
            del rows[at]
        case 1:
            rows.insert(at, rows[at])
        case 2:
            other = rng.randrange(len(rows))
            rows[at], rows[other] = rows[other], rows[at]
        case _:
            rows[at] = altered(rng, rows[at])
    return rows


def _odd(rng: random.Random, value: Any) -> Any:
    """Return another value than that, more often than not of its type."""
    if rng.random() < 0.4:
        return odd_value(rng)
    match value:
        case bool():
            return not value
        case int():
            return rng.choice((*INTEGERS, value + 1, value - 1, -value))
        case float():
            return rng.choice((*FLOATS, -value, 1e6 * value))
        case str():
            return rng.choice((*STRINGS, value + "x", value[:-1], value.upper()))
        case bytes():
            return altered_inside(rng, value)
    return odd_value(rng)


def altered_inside(rng: random.Random, data: bytes) -> bytes:
    """Return bytes damaged; more often than not, where they are packed values, these altered and packed again."""
    if rng.random() < 0.7:
        for lead in (data[:1], b""):
            with suppress(ValueError, TypeError, OverflowError, msgpack.UnpackException):
                value = msgpack.unpackb(data[len(lead) :])
                if isinstance(value, list | dict):
                    packed: bytes = msgpack.packb(altered(rng, value))
                    return lead + packed
    return damaged(rng, data)
