"""Export files, damaged: as bytes, or inside, with every checksum made right again so that the damage is read."""

import hashlib
import random
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgpack

from memsvc.tenant.archive import FORMAT, MAGIC
from memsvc_bench.fuzz_messages import Call
from memsvc_bench.fuzz_mutate import altered, damaged, varint

PATH = "/memsvc.v1.TenantService/ImportTenant"
FRAME = struct.Struct("<II")
LARGE = 0.05
"""How often the large file is taken, as a share of the others."""
INSIDE = 0.8
"""Share of the files that are damaged behind their checksums."""


class Files:
    """Makes imports, each a function of the seed and its number.

    Args:
        seeds: whole files, small ones.
        large: one that is taken seldom.
        seed: of all that is random.
    """

    def __init__(self, seeds: Sequence[bytes], large: bytes, seed: int) -> None:
        self._seeds, self._seed = [*seeds, large], seed
        self._frames = [frames(data) for data in self._seeds]
        self._weights = [*([1.0] * len(seeds)), LARGE * len(seeds)]

    def call(self, number: int) -> Call:
        """Return the import of a number."""
        rng = random.Random(f"{self._seed}/file/{number}")
        (which,) = rng.choices(range(len(self._seeds)), self._weights)
        data = self._seeds[which]
        if rng.random() < INSIDE:
            # A value that does not pack is none that a file could hold.
            with suppress(ValueError, TypeError, OverflowError):
                data = file(_damaged_frames(rng, self._frames[which]))
        else:
            data = damaged_file(rng, data)
        return import_of(data, f"file-{number}", rebuild=rng.random() < 0.3, step=rng.choice((100, 5000, 1 << 20)))


def import_of(data: bytes, as_tenant: str, *, rebuild: bool = False, step: int = 1 << 20) -> Call:
    """Return the call that imports a file, in messages of so many bytes."""
    parts = [data[at : at + step] for at in range(0, len(data), step)] or [b""]
    # As protobuf has them: as_tenant is field 1, data 2, rebuild 3.
    first = b"\x0a" + _length(as_tenant.encode()) + (b"\x18\x01" if rebuild else b"")
    requests = [b"\x12" + _length(part) for part in parts]
    return Call(PATH, [first + requests[0], *requests[1:]], makes=as_tenant)


def damaged_file(rng: random.Random, data: bytes) -> bytes:
    """Damage a file's bytes; in one of four, beyond what a damaged message may grow to."""
    if rng.random() < 0.25:
        at = rng.randrange(len(data) + 1)
        return data[:at] + FRAME.pack(rng.choice((0, 1 << 16, 64 << 20, (64 << 20) + 1, 0xFFFFFFFF)), 0) + data[at:]
    return damaged(rng, data)


def frames(data: bytes) -> list[Any]:
    """Return the values of a file's frames but its end."""
    at, found = len(MAGIC) + 1, []
    while at < len(data):
        size, _ = FRAME.unpack_from(data, at)
        at += FRAME.size
        found.append(msgpack.unpackb(data[at : at + size]))
        at += size
    return found[:-1]


def file(values: Sequence[Any]) -> bytes:
    """Return the file of frames with those values, with right checksums and an end."""
    data = MAGIC + bytes([FORMAT])
    for value in values:
        data += _frame(value)
    return data + _frame(["end", hashlib.sha256(data).digest()])


def _damaged_frames(rng: random.Random, whole: Sequence[Any]) -> list[Any]:
    values = list(whole)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(values))
        match rng.randrange(8):
            case 0:
                values.insert(at, values[at])
            case 1 if len(values) > 1:
                del values[at]
            case 2:
                other = rng.randrange(len(values))
                values[at], values[other] = values[other], values[at]
            case _:
                values[at] = altered(rng, values[at])
    return values


def _frame(value: Any) -> bytes:
    body: bytes = msgpack.packb(value)
    return FRAME.pack(len(body), zlib.crc32(body)) + body


def _length(data: bytes) -> bytes:
    return varint(len(data)) + data
