"""A blob's bytes in Redis: chunks of up to 1 MiB, each with its own checksum, under a token of their own.

A token is noted before any chunk is written under it, with how many there will be: what a crash leaves is found.
"""

import asyncio
import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgpack

from memsvc import damage
from memsvc.errors import DataLossError
from memsvc.failpoints import hit
from memsvc.store.codec import DIGEST_BYTES, digest, seal, unseal
from memsvc.store.redis.fenced import Command, Fence, write
from memsvc.store.redis.keys import TenantKeys
from memsvc.store.redis.url import Connection

T = TypeVar("T")

CHUNK_BYTES = (1 << 20) - 64
"""With its checksum and Redis's own header a chunk takes 1 MiB."""
WRITE_BYTES = 1 << 20
"""What one transaction writes: Redis does nothing else until that is on its disk."""
READ_BYTES = 4 << 20
"""What one answer holds."""
GROUP_KEYS = 256
"""Keys, or fields, in one command or transaction."""


class Place(NamedTuple):
    """Where a blob's bytes are."""

    token: str
    chunks: int
    size: int
    digest: bytes

    def encode(self) -> bytes:
        """Return it as bytes."""
        packed: bytes = msgpack.packb([*self])
        return seal(packed)

    @classmethod
    def decode(cls, data: bytes) -> "Place":
        """Read it.

        Raises:
            DataLossError: it is damaged, or of a newer format.
        """
        with damage.told_as("the place of a blob does not unpack"):
            token, chunks, size, checksum = msgpack.unpackb(unseal(data))
            return cls(token, chunks, size, checksum)

    @classmethod
    def new(cls, data: bytes) -> "Place":
        """Return a place for a blob. Takes a millisecond for each MiB."""
        return cls(uuid.uuid4().hex, -(-len(data) // CHUNK_BYTES), len(data), digest(data))


async def put(connection: Connection, keys: TenantKeys, fence: Fence, blobs: Sequence[tuple[Place, bytes]]) -> None:
    """Write blobs at places that are new.

    Raises:
        FencedError: another process owns the shard; the chunks that were written are swept later.
        RedisError: Redis refused, or did not answer.
    """
    for noted in grouped(blobs):
        fields = [field for place, _ in noted for field in (place.token, place.chunks)]
        await write(connection, fence, [("HSET", keys.tokens, *fields)])
    pieces = ((keys.chunk(place.token, index), data, index) for place, data in blobs for index in range(place.chunks))
    for group in grouped(pieces, lambda piece: min(CHUNK_BYTES, len(piece[1]) - piece[2] * CHUNK_BYTES), WRITE_BYTES):
        await write(connection, fence, await asyncio.to_thread(_sets, group))
        hit("snapshot.chunk")


async def get(connection: Connection, keys: TenantKeys, places: Mapping[str, Place]) -> dict[str, bytes]:
    """Return blobs, by name, each as its checksum says.

    Raises:
        DataLossError: a chunk is missing or damaged; the message names the blob.
        RedisError: Redis refused, or did not answer.
    """
    blobs: dict[str, bytes] = {}
    parts: dict[str, list[bytes]] = {name: [] for name in places}
    pieces = ((name, place, index) for name, place in places.items() for index in range(place.chunks))
    for group in grouped(pieces, lambda piece: min(CHUNK_BYTES, piece[1].size), READ_BYTES):
        execute: Any = connection.execute_command
        found = await execute("MGET", *(keys.chunk(place.token, index) for _, place, index in group))
        names = [name for name, _, _ in group]
        for name, part in zip(names, await asyncio.to_thread(_unsealed, names, found), strict=True):
            parts[name].append(part)
    for name, place in places.items():
        blobs[name] = await asyncio.to_thread(_whole, name, place, parts.pop(name))
    return blobs


async def sweep(connection: Connection, keys: TenantKeys, fence: Fence, named: set[str]) -> None:
    """Delete the chunks of every token that is not among these.

    Raises:
        FencedError: another process owns the shard.
        RedisError: Redis refused, or did not answer.
    """
    rows = connection.hscan_iter(keys.tokens, count=GROUP_KEYS)
    noted = {token.decode(): int(chunks) async for token, chunks in rows}
    orphans = [(token, chunks) for token, chunks in noted.items() if token not in named]
    doomed = (command for token, chunks in orphans for command in _unlinks(keys, token, chunks))
    for group in grouped(doomed, len, GROUP_KEYS):
        await write(connection, fence, group)


def grouped(items: Iterable[T], size: Callable[[T], int] | None = None, limit: int = 0) -> Iterator[list[T]]:
    """Yield items in groups of up to `GROUP_KEYS`; with sizes, in groups of no more than a limit, or of one item."""
    group: list[T] = []
    total = 0
    for item in items:
        adds = 0 if size is None else size(item)
        if group and (len(group) == GROUP_KEYS or total + adds > limit):
            yield group
            group, total = [], 0
        group.append(item)
        total += adds
    if group:
        yield group


def _sets(pieces: Iterable[tuple[str, bytes, int]]) -> list[Command]:
    return [("SET", key, seal(data[at * CHUNK_BYTES : (at + 1) * CHUNK_BYTES])) for key, data, at in pieces]


def _unlinks(keys: TenantKeys, token: str, chunks: int) -> Iterator[Command]:
    """Yield what deletes a token's chunks, and then the note of it."""
    for group in grouped(keys.chunk(token, index) for index in range(chunks)):
        yield ("UNLINK", *group)
    yield ("HDEL", keys.tokens, token)


def _unsealed(names: Sequence[str], chunks: Sequence[bytes | None]) -> list[bytes]:
    """Return what chunks of these blobs hold."""
    parts: list[bytes] = []
    for name, data in zip(names, chunks, strict=True):
        if data is None:
            raise DataLossError(f"a chunk of blob {name} is missing")
        try:
            parts.append(unseal(data))
        except DataLossError as error:
            raise DataLossError(f"a chunk of blob {name}: {error}") from error
    return parts


def _whole(name: str, place: Place, parts: list[bytes]) -> bytes:
    whole = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        whole.update(part)
    if whole.digest() != place.digest:
        raise DataLossError(f"the checksum of blob {name} is wrong")
    return b"".join(parts)
