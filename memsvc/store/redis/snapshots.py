"""Snapshots in Redis: chunks that are written once, then one atomic swap of what names them.

    HSET tokens ──> SET chunks ──> swap: manifest and blobs in, what is not kept out ──> UNLINK what nothing names

Whatever a crash cuts short, the generations that were there stand, and what was written for nothing is swept by the
tenant's next save or drop.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from memsvc.errors import DataLossError
from memsvc.failpoints import hit
from memsvc.store.codec import Manifest, digest
from memsvc.store.redis import chunks
from memsvc.store.redis.chunks import GROUP_KEYS, Place, grouped
from memsvc.store.redis.fence import FencedError
from memsvc.store.redis.fenced import Fence
from memsvc.store.redis.keys import TenantKeys
from memsvc.store.redis.scripts import script
from memsvc.store.redis.url import Connection
from memsvc.store.refusals import blob_changed, blob_missing
from memsvc.store.retention import left
from memsvc.store.types import LoadedSnapshot, Retention, Snapshot

OVERHEAD_BYTES = 256
"""What Redis takes for a key beside its value, and we for a chunk's place: about."""


class _Changed(Exception):  # noqa: N818  # no error: look again
    """What was read is not what is there any more: a save or a drop came in between."""


class TenantSnapshots:
    """One tenant's snapshots. There must be one save or drop at a time (see `turns`); a load may go on beside it.

    Every method may raise RedisError: Redis refused, or did not answer; what was there before stands. What writes
    raises FencedError once another process owns the shard.

    Args:
        connection: for megabytes; it repeats nothing by itself.
        keys: of the tenant.
        uid: the tenant's.
        fence: of the shard's owner.
    """

    def __init__(self, connection: Connection, keys: TenantKeys, uid: str, fence: Fence) -> None:
        self._connection, self._keys, self._uid, self._fence = connection, keys, uid, fence

    async def save(self, snapshot: Snapshot, keep: Retention = Retention.NONE, *, drop_from: int | None = None) -> None:
        """Write the blobs that are new and swap the manifest in; drop what is not to keep.

        Raises:
            FailedPreconditionError: a blob was left out that the store does not hold, or is not what it holds.
        """
        held = await self._places(snapshot.blobs)
        fresh = await asyncio.to_thread(_fresh, snapshot, held)
        places = held | fresh
        blobs = {name: places[name].digest for name in snapshot.blobs}
        put = [Manifest(uid=self._uid, seq=snapshot.seq, meta=snapshot.meta, blobs=blobs)]
        before = await self.seqs()
        drop = {*before, snapshot.seq} - left(before, snapshot.seq, keep, drop_from)
        if snapshot.seq in drop:  # it is older than what is kept
            put, fresh = [], {}
        new = [(place, snapshot.blobs[name] or b"") for name, place in fresh.items()]
        await chunks.put(self._connection, self._keys, self._fence, new)
        unnamed: set[str] = set()
        if drop or snapshot.seq in before:  # this reads every manifest, and there may be many
            stay = [seq for seq in before if seq not in drop and seq != snapshot.seq]
            unnamed, unread = await self._unnamed(stay, put)
            drop |= unread
        hit("snapshot.swap.before")
        await self._swap(put, fresh, drop, unnamed)
        hit("snapshot.swap.after")
        await self._sweep()

    async def load(self, before_seq: int | None = None) -> LoadedSnapshot:
        """Return the newest snapshot whose every checksum holds, and say which do not."""
        while True:
            try:
                return await self._load(before_seq)
            except _Changed:  # each time a save went through, so this ends
                continue

    async def drop_damaged(self) -> None:
        """Drop every generation that does not verify, and the blobs that only they name: a save writes them again."""
        damaged: set[int] = set()
        sound: set[tuple[str, bytes]] = set()  # generations share blobs: each is read once
        for seq in await self.seqs():
            try:
                manifest = self._decoded(await self._manifest(seq), seq)
                await self._blobs(dict(manifest.blobs.items() - sound))
                sound.update(manifest.blobs.items())
            except DataLossError:
                damaged.add(seq)
        await self._drop(damaged)

    async def drop_from(self, first_seq: int = 0) -> tuple[int, ...]:
        """Drop every snapshot at or after that seq, and every chunk that nothing names then; return their seqs."""
        dropped = tuple(seq for seq in await self.seqs() if seq >= first_seq)
        await self._drop(set(dropped))
        return dropped

    async def seqs(self) -> list[int]:
        """Return the seqs of the snapshots, the newest first."""
        return sorted(map(int, await self._connection.hkeys(self._keys.snapshots)), reverse=True)

    async def count(self) -> tuple[int, int]:
        """Return how many snapshots there are, and about the bytes that they take."""
        number = int(await self._connection.hlen(self._keys.snapshots))
        return number, OVERHEAD_BYTES * number + await self._blob_bytes()

    async def size(self) -> int:
        """Return about how many bytes the snapshots take."""
        return (await self.count())[1]

    # --- reading --------------------------------------------------------------------------------------------------

    async def _load(self, before_seq: int | None) -> LoadedSnapshot:
        corrupt: list[str] = []
        for seq in await self.seqs():
            if before_seq is not None and seq >= before_seq:
                continue
            data = await self._manifest(seq)
            if data is None:
                raise _Changed
            try:
                manifest = self._decoded(data, seq)
                blobs = await self._blobs(manifest.blobs)
            except DataLossError as error:
                if await self._manifest(seq) != data:
                    raise _Changed from None
                corrupt.append(f"the snapshot at seq {seq}: {error}")
            else:
                snapshot = Snapshot(seq=seq, meta=manifest.meta, blobs=blobs)
                return LoadedSnapshot(snapshot=snapshot, corrupt=tuple(corrupt))
        return LoadedSnapshot(snapshot=None, corrupt=tuple(corrupt))

    async def _manifest(self, seq: int) -> bytes | None:
        found: Any = await self._connection.hget(self._keys.snapshots, str(seq))
        data: bytes | None = found
        return data

    def _decoded(self, data: bytes | None, seq: int) -> Manifest:
        if data is None:
            raise DataLossError("its manifest is missing")
        try:
            manifest = Manifest.decode(data)
        except DataLossError as error:
            raise DataLossError(f"its manifest: {error}") from error
        if (manifest.uid, manifest.seq) != (self._uid, seq):
            raise DataLossError("its manifest is another snapshot's")
        return manifest

    async def _places(self, names: Iterable[str]) -> dict[str, Place]:
        """Return where blobs are, by name. One whose place does not read is not held."""
        places: dict[str, Place] = {}
        for group in grouped(names):
            found: Any = await self._connection.hmget(self._keys.blobs, group)
            read = ((name, _place(data)) for name, data in zip(group, found, strict=True))
            places |= {name: place for name, place in read if place is not None}
        return places

    async def _blobs(self, checksums: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return blobs, by name, each with that checksum."""
        places = await self._places(checksums)
        for name, checksum in checksums.items():
            if name not in places:
                raise DataLossError(f"blob {name} is missing")
            if places[name].digest != checksum:
                raise DataLossError(f"the checksum of blob {name} is wrong")
        return await chunks.get(self._connection, self._keys, {name: places[name] for name in checksums})

    async def _held(self) -> dict[str, Place | None]:
        """Return every blob that is held, by name; None in the stead of a place that does not read."""
        rows = self._connection.hscan_iter(self._keys.blobs, count=GROUP_KEYS)
        return {name.decode(): _place(data) async for name, data in rows}

    async def _blob_bytes(self) -> int:
        places = (await self._held()).values()
        return sum(place.size + OVERHEAD_BYTES * (place.chunks + 1) for place in places if place is not None)

    # --- writing --------------------------------------------------------------------------------------------------

    async def _drop(self, doomed: set[int]) -> None:
        stay = [seq for seq in await self.seqs() if seq not in doomed]
        unnamed, unread = await self._unnamed(stay, [])
        await self._swap([], {}, doomed | unread, unnamed)
        await self._sweep()

    async def _unnamed(self, stay: Sequence[int], put: Iterable[Manifest]) -> tuple[set[str], set[int]]:
        """Return the blobs that none of these generations names, and those of them whose manifest does not read."""
        named = {name for manifest in put for name in manifest.blobs}
        unread: set[int] = set()
        for group in grouped(stay):
            found: Any = await self._connection.hmget(self._keys.snapshots, [str(seq) for seq in group])
            for seq, data in zip(group, found, strict=True):
                try:
                    named.update(self._decoded(data, seq).blobs)
                except DataLossError:
                    unread.add(seq)
        return (await self._held()).keys() - named, unread

    async def _swap(
        self, put: Sequence[Manifest], places: Mapping[str, Place], drop: set[int], unnamed: set[str]
    ) -> None:
        """Put and drop in one go. Of much to drop the rest follows, manifests before the blobs that they named."""
        put_snapshots = [part for manifest in put for part in (manifest.seq, manifest.encode())]
        put_blobs = [part for name, place in places.items() for part in (name, place.encode())]
        dropped = [*((True, str(seq)) for seq in sorted(drop)), *((False, name) for name in sorted(unnamed))]
        swap = script(self._connection, "swap")
        for group in list(grouped(dropped)) or [[]]:
            drop_snapshots = [field for is_snapshot, field in group if is_snapshot]
            drop_blobs = [field for is_snapshot, field in group if not is_snapshot]
            counts = [len(put_snapshots) // 2, len(put_blobs) // 2, len(drop_snapshots), len(drop_blobs)]
            arguments: Any = [self._fence.epoch, *counts, *put_snapshots, *put_blobs, *drop_snapshots, *drop_blobs]
            if not await swap([self._fence.key, self._keys.snapshots, self._keys.blobs], arguments):
                raise FencedError
            put_snapshots, put_blobs = [], []

    async def _sweep(self) -> None:
        """Delete the chunks that nothing names. Every blob has a token: as many tokens as blobs are none too many."""
        if await self._connection.hlen(self._keys.tokens) == await self._connection.hlen(self._keys.blobs):
            return
        hit("trim.before")
        named = {place.token for place in (await self._held()).values() if place is not None}
        await chunks.sweep(self._connection, self._keys, self._fence, named)
        hit("trim.after")


def _fresh(snapshot: Snapshot, held: Mapping[str, Place]) -> dict[str, Place]:
    """Return places for the blobs that are new."""
    fresh: dict[str, Place] = {}
    for name, data in snapshot.blobs.items():
        if name in held:
            if data is not None and digest(data) != held[name].digest:
                raise blob_changed(name)
        elif data is None:
            raise blob_missing(name)
        else:
            fresh[name] = Place.new(data)
    return fresh


def _place(data: bytes | None) -> Place | None:
    try:
        return None if data is None else Place.decode(data)
    except DataLossError:
        return None
