"""The store for production: one Redis, several processes, each the owner of some shards.

    caller ── append ──> a shard's committer   ── many operations in one EVALSHA, then the answers
           ── reads ───> pool of connections   ── never wait for a commit
           ── save ────> another pool          ── megabytes in chunks, then one swap of the manifest
                         leases                ── taken, renewed, released

A tenant's shard follows from its id; its uid names the shard too. What this process does not own, it refuses with
NotOwnerError, which names who does.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from redis.exceptions import RedisError

from memsvc.errors import FailedPreconditionError, MemsvcError
from memsvc.store.clock import wall_clock_us
from memsvc.store.hashes import tenant_hash
from memsvc.store.redis import log_change, log_destroy, log_stage, log_write, promises
from memsvc.store.redis.faults import closed, translate
from memsvc.store.redis.fenced import Fence
from memsvc.store.redis.files import Files
from memsvc.store.redis.keys import Keys, shard_of_uid
from memsvc.store.redis.lease import Connections, Lease, Process
from memsvc.store.redis.log_end import due_member
from memsvc.store.redis.log_read import Reader
from memsvc.store.redis.ownership import Ownership
from memsvc.store.redis.snapshots import TenantSnapshots
from memsvc.store.redis.transaction import Transaction
from memsvc.store.redis.turns import Turns
from memsvc.store.redis.url import Address, connect
from memsvc.store.refusals import no_tenant
from memsvc.store.types import (
    Appended,
    Changed,
    Destroyed,
    Erasure,
    LoadedSnapshot,
    Origin,
    Payload,
    Record,
    RecordKind,
    Retention,
    ShardChange,
    Snapshot,
    StoredEntry,
    TenantRow,
)

T = TypeVar("T")

log = logging.getLogger(__name__)

FORMAT = 1
DUE_PAGE = 1000
SLICE = 1024
"""Keys deleted, or ids refused, at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisOptions:
    """What an operator or a test may set."""

    address: str = ""
    """Where clients reach this process, host:port: what the others tell those who ask them."""
    shards: int = 16
    """Of a deployment that is new; one that is there keeps its own."""
    lease_s: float = 12.0
    """How long a process that is gone keeps its shards."""
    allow_weak: bool = False
    """Whether to serve on a Redis that promises less than zero loss."""
    clock_us: Callable[[], int] = wall_clock_us
    """Microseconds since the epoch; may step back."""


class RedisStore:
    """Implements `memsvc.store.base.Store`; see there for what each method promises."""

    def __init__(self, connections: Connections, prefix: str, shards: int, options: RedisOptions) -> None:
        """Use `open`."""
        self._connections, self._clock_us = connections, options.clock_us
        self._keys, self._shards = Keys(prefix), shards
        self._files = Files(connections.bulk)
        process = Process(
            connections=connections,
            address=options.address,
            token=uuid.uuid4().hex,
            lease_s=options.lease_s,
            clock_us=options.clock_us,
        )
        self._ownership = Ownership(process, self._keys, shards, self._recover)
        self._turns = Turns()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._closed = False

    @classmethod
    async def open(cls, address: Address, options: RedisOptions | None = None) -> "RedisStore":
        """Open a deployment, made if need be, and take a share of its shards.

        Raises:
            FailedPreconditionError: Redis promises too little (STORE_WEAK), or the deployment is of a newer format
                (DATA_FORMAT_NEWER).
            UnavailableError: Redis cannot be reached.
        """
        options = options or RedisOptions()
        connections = Connections(
            address=address,
            leases=connect(address, "log"),
            reads=connect(address, "reads"),
            bulk=connect(address, "bulk"),
        )
        try:
            weaknesses = await promises.check(connections.reads)
            if options.allow_weak:
                for weakness in weaknesses:
                    log.warning("Redis promises less than zero loss: %s", weakness)
            else:
                promises.refuse(weaknesses)
            shards = await _deployment(connections, Keys(address.prefix), options.shards)
            store = cls(connections, address.prefix, shards, options)
            await store._ownership.start()
        except RedisError as error:
            await _disconnect(connections)
            raise translate(error) from error
        except BaseException:
            await _disconnect(connections)
            raise
        return store

    # --- shards ---------------------------------------------------------------------------------------------------

    async def next_change(self) -> ShardChange:
        """See `Store.next_change`."""
        return await self._ownership.changes.get()

    def shard_of(self, uid: str) -> int:
        """See `Store.shard_of`."""
        shard = shard_of_uid(uid)
        return shard if 0 <= shard < self._shards else 0

    async def release(self, shard: int) -> None:
        """See `Store.release`."""
        await self._ownership.release(shard)

    def _shard_of_name(self, tenant: str) -> int:
        return int.from_bytes(tenant_hash(tenant)[:8], "big") % self._shards

    def _lease(self, uid: str) -> Lease:
        self._check_open()
        return self._ownership.lease(self.shard_of(uid))

    def _lease_of_name(self, tenant: str) -> Lease:
        self._check_open()
        return self._ownership.lease(self._shard_of_name(tenant))

    def _leases(self) -> list[Lease]:
        self._check_open()
        return self._ownership.held()

    def _check_open(self) -> None:
        if self._closed:
            raise closed()

    def _reader(self, lease: Lease) -> Reader:
        return Reader(self._connections.reads, lease.keys)

    async def _recover(self, lease: Lease) -> None:
        """Finish what the shard's earlier owner left: what it staged goes, what it condemned is purged."""
        reader = self._reader(lease)
        for uid in await reader.members(lease.keys.staged):
            await lease.committer.run(partial(log_stage.condemn_staged, uid=uid))
        if await reader.members(lease.keys.condemned):
            self._start(self._purge(lease))  # it may take long, and nobody waits for it

    # --- tenants --------------------------------------------------------------------------------------------------

    async def create_tenant(self, tenant: str, config: bytes, body: bytes, request_id: str) -> TenantRow:
        """See `Log.create_tenant`. A request_id is known again in the shard of the tenant's id."""
        create = partial(log_write.create_tenant, tenant=tenant, config=config, body=body, request_id=request_id)
        return await self._write(self._lease_of_name(tenant), create)

    async def get_tenant(self, tenant: str) -> TenantRow | None:
        """See `Log.get_tenant`."""
        return await self._read(self._reader(self._lease_of_name(tenant)).get_tenant(tenant))

    async def list_tenants(self, after: str, limit: int) -> list[TenantRow]:
        """See `Log.list_tenants`. Tenants of all shards, whoever owns them."""
        self._check_open()
        readers = [Reader(self._connections.reads, self._keys.shard(shard)) for shard in range(self._shards)]
        pages = await self._read(asyncio.gather(*(reader.list_tenants(after, limit) for reader in readers)))
        rows = [row for page in pages for row in page]
        return sorted(rows, key=lambda row: row.tenant.encode())[:limit]

    async def delete_tenant(self, uid: str, request_id: str) -> None:
        """See `Log.delete_tenant`. When it returns, the tenant's text is in no key any more, nor in Redis's files.

        Raises:
            UnavailableError: it could not be finished; a retry goes on, and so does the next owner of the shard.
        """
        await self._to_the_end(self._delete(self._lease(uid), uid, request_id))

    async def find_deleted(self, tenant: str, request_id: str) -> bool:
        """See `Log.find_deleted`."""
        reader = self._reader(self._lease_of_name(tenant))
        return await self._read(reader.find_deleted(tenant, request_id, self._clock_us()))

    # --- records --------------------------------------------------------------------------------------------------

    async def append(
        self,
        uid: str,
        kind: RecordKind,
        body: bytes = b"",
        payloads: Sequence[Payload] = (),
        *,
        request_id: str = "",
        config: bytes | None = None,
    ) -> Appended:
        """See `Log.append`."""
        payloads = tuple(payloads)
        append = partial(
            log_write.append, uid=uid, kind=kind, body=body, payloads=payloads, request_id=request_id, config=config
        )
        return await self._write(self._lease(uid), append, len(body) + sum(len(p.data) for p in payloads))

    async def update(self, uid: str, payload: Payload, request_id: str) -> Changed:
        """See `Log.update`."""
        update = partial(log_change.update, uid=uid, payload=payload, request_id=request_id)
        return await self._change(uid, update, len(payload.data))

    async def delete(self, uid: str, id: str, request_id: str) -> Changed:
        """See `Log.delete`."""
        return await self._change(uid, partial(log_change.delete, uid=uid, id=id, request_id=request_id))

    async def forget(self, uid: str, ids: Sequence[str], request_id: str, asked: str = "") -> tuple[Erasure, Record]:
        """See `Log.forget`."""
        lease = self._lease(uid)
        forget = partial(log_change.forget, uid=uid, ids=tuple(ids), request_id=request_id, asked=asked)
        erasure, record = await self._write(lease, forget)
        if record is None:
            record = await self._read(self._reader(lease).record(uid, erasure.seq))
        return erasure, record

    async def feedback(self, uid: str, ids: Sequence[str], body: bytes, request_id: str) -> Changed:
        """See `Log.feedback`."""
        feedback = partial(log_change.feedback, uid=uid, ids=tuple(ids), body=body, request_id=request_id)
        return await self._change(uid, feedback, len(body))

    async def expire(self, limit: int) -> list[tuple[str, Record]]:
        """See `Log.expire`. Of the shards that this process owns."""
        expired: list[tuple[str, Record]] = []
        for lease in self._leases():
            start = 0
            while (room := limit - sum(len(record.about) for _, record in expired)) > 0:
                count = min(room, DUE_PAGE)
                if not (page := await self._read(self._reader(lease).due(self._clock_us(), start, count))):
                    break
                records = await self._write(lease, partial(log_change.expire, due=page))
                expired += records
                # What is not expired, of a tenant that is staged or parked, stays in front.
                start += len(page) - sum(len(record.about) for _, record in records)
        return expired

    # --- erasures -------------------------------------------------------------------------------------------------

    async def erase(self, uid: str, first_seq: int) -> Destroyed:
        """See `Log.erase`. Files are pending where Redis would not rewrite its own."""
        return await self._to_the_end(self._erase(self._lease(uid), uid, first_seq))

    async def finish_erasure(self, operation: str, receipt: bytes) -> None:
        """See `Log.finish_erasure`. The first receipt stands; an erasure that went with its tenant is left alone."""
        finish = partial(log_change.finish_erasure, operation=operation, receipt=receipt)
        await self._write(self._lease(operation), finish)

    async def erasure(self, operation: str) -> Erasure | None:
        """See `Log.erasure`."""
        return await self._read(self._reader(self._lease(operation)).erasure(operation))

    async def unfinished_erasures(self) -> list[Erasure]:
        """See `Log.unfinished_erasures`. Of the shards that this process owns."""
        found = [await self._read(self._reader(lease).unfinished()) for lease in self._leases()]
        return [erasure for of_shard in found for erasure in of_shard]

    # --- copies ---------------------------------------------------------------------------------------------------

    async def seq_at(self, uid: str, time_us: int) -> int:
        """See `Log.seq_at`."""
        return await self._read(self._reader(self._lease(uid)).seq_at(uid, time_us))

    async def origin(self, uid: str) -> Origin:
        """See `Log.origin`."""
        return await self._read(self._reader(self._lease(uid)).origin(uid))

    async def stage(self, origin: Origin, tenant: str) -> str:
        """See `Log.stage`."""
        lease = self._lease_of_name(tenant)
        uid = await self._write(lease, partial(log_stage.stage, origin=origin, tenant=tenant))
        forgotten = tuple(dict.fromkeys(origin.forgotten))
        for at in range(0, len(forgotten), SLICE):
            refuse = partial(log_stage.refuse_ids, uid=uid, forgotten=forgotten[at : at + SLICE])
            await self._write(lease, refuse)
        return uid

    async def append_staged(self, uid: str, records: Sequence[Record], config: bytes | None = None) -> None:
        """See `Log.append_staged`."""
        records = tuple(records)
        append = partial(log_stage.append_staged, uid=uid, records=records, config=config)
        await self._write(self._lease(uid), append, sum(record.size for record in records))

    async def publish(self, uid: str, tenant: str, request_id: str) -> TenantRow:
        """See `Log.publish`. A repeated request whose tenant is gone since is a NotFoundError."""
        publish = partial(log_stage.publish, uid=uid, tenant=tenant, request_id=request_id)
        return await self._write(self._lease_of_name(tenant), publish)

    async def published(self, tenant: str, request_id: str) -> TenantRow | None:
        """See `Log.published`."""
        reader = self._reader(self._lease_of_name(tenant))
        return await self._read(reader.published(tenant, request_id, self._clock_us()))

    async def replace(self, uid: str, staged: str, request_id: str) -> TenantRow:
        """See `Log.replace`. A repeated request returns the same row again, as in `publish`."""
        replace = partial(log_stage.replace, uid=uid, staged=staged, request_id=request_id)
        return await self._write(self._lease(uid), replace)

    async def parked(self, uid: str) -> str | None:
        """See `Log.parked`."""
        row = await self._read(self._reader(self._lease(uid)).living(uid))
        return row.behind or None if row is not None else None

    async def unpark(self, uid: str, request_id: str) -> TenantRow:
        """See `Log.unpark`. When it returns, nothing of the tenant that was in front is left."""
        return await self._to_the_end(self._unpark(self._lease(uid), uid, request_id))

    async def confirm(self, uid: str, request_id: str) -> None:
        """See `Log.confirm`. When it returns, nothing of the parked tenant is left."""
        await self._to_the_end(self._confirm(self._lease(uid), uid, request_id))

    async def discard(self, uid: str) -> None:
        """See `Log.discard`. When it returns, nothing of the staged tenant is left."""
        await self._to_the_end(self._discard(self._lease(uid), uid))

    async def note_copy(self, uid: str, copy: str) -> None:
        """See `Log.note_copy`. For a tenant that is gone there is nothing to remember."""
        await self._write(self._lease(uid), partial(log_write.note_copy, uid=uid, copy=copy))

    async def copies(self, uid: str) -> list[str]:
        """See `Log.copies`."""
        return await self._read(self._reader(self._lease(uid)).copies(uid))

    # --- reading --------------------------------------------------------------------------------------------------

    async def head(self, uid: str) -> int:
        """See `Log.head`."""
        reader = self._reader(self._lease(uid))
        if await self._read(reader.living(uid)) is None:
            raise no_tenant()
        return (await self._read(reader.head(uid))).seq

    async def heads(self) -> dict[str, int]:
        """See `Log.heads`. Of the shards that this process owns."""
        heads: dict[str, int] = {}
        for lease in self._leases():
            heads |= await self._read(self._reader(lease).heads())
        return heads

    async def read(self, uid: str, after_seq: int, max_bytes: int) -> list[Record]:
        """See `Log.read`."""
        return await self._read(self._reader(self._lease(uid)).read(uid, after_seq, max_bytes))

    async def entries(self, uid: str, numbers: Sequence[int], as_of: int | None = None) -> list[StoredEntry]:
        """See `Log.entries`."""
        return await self._read(self._reader(self._lease(uid)).entries(uid, tuple(numbers), as_of))

    async def entry_by_id(self, uid: str, id: str, as_of: int | None = None) -> StoredEntry | None:
        """See `Log.entry_by_id`."""
        return await self._read(self._reader(self._lease(uid)).entry_by_id(uid, id, as_of))

    async def scan(self, uid: str, after_number: int, limit: int, as_of: int | None = None) -> list[StoredEntry]:
        """See `Log.scan`."""
        return await self._read(self._reader(self._lease(uid)).scan(uid, after_number, limit, as_of))

    # --- snapshots ------------------------------------------------------------------------------------------------

    async def save(self, uid: str, snapshot: Snapshot, keep: Retention = Retention.NONE) -> None:
        """See `Snapshots.save`.

        Raises:
            NotFoundError: no such tenant.
            FailedPreconditionError: a blob was left out that the store does not hold (reason BLOB_MISSING), or is not
                what it holds (BLOB_CHANGED).
            UnavailableError: the store cannot write; the older snapshots stand.
        """
        lease = self._lease(uid)
        async with self._turns.of(uid):
            # Here, or a tenant might be purged in between and leave a snapshot behind.
            if await self._read(self._reader(lease).row(uid)) is None:
                raise no_tenant()
            await self._read(self._snapshots(lease, uid).save(snapshot, keep))

    async def load(self, uid: str, before_seq: int | None = None) -> LoadedSnapshot:
        """See `Snapshots.load`. What is corrupt is told once and dropped, so that a later save writes it again."""
        snapshots = self._snapshots(self._lease(uid), uid)
        loaded = await self._read(snapshots.load(before_seq))
        if loaded.corrupt:
            try:
                async with self._turns.of(uid):
                    await self._read(snapshots.drop_damaged())
            except MemsvcError as error:
                log.warning("a damaged snapshot stays where it is: %s", error)
        return loaded

    async def kept(self, uid: str) -> tuple[int, int]:
        """See `Snapshots.kept`."""
        return await self._read(self._snapshots(self._lease(uid), uid).count())

    async def seqs(self) -> dict[str, int]:
        """See `Snapshots.seqs`. Of the shards that this process owns."""
        newest: dict[str, int] = {}
        for lease in self._leases():
            uids = list(await self._read(self._reader(lease).living_rows()))
            for at in range(0, len(uids), SLICE):
                newest |= await self._read(self._newest(lease, uids[at : at + SLICE]))
        return newest

    async def _newest(self, lease: Lease, uids: Sequence[str]) -> dict[str, int]:
        async with self._connections.bulk.pipeline(transaction=False) as pipe:
            for uid in uids:
                pipe.hkeys(lease.keys.tenant(uid).snapshots)
            found = await pipe.execute()
        return {uid: max(map(int, seqs)) for uid, seqs in zip(uids, found, strict=True) if seqs}

    # --- the store itself -----------------------------------------------------------------------------------------

    async def check(self) -> None:
        """See `Store.check`. It commits to a shard, if this process owns any."""
        self._check_open()
        await self._read(self._connections.reads.ping())
        for lease in self._leases()[:1]:
            await self._write(lease, log_write.touch)

    async def size(self, uid: str) -> int:
        """See `Store.size`."""
        log_size = await self._read(self._reader(self._lease(uid)).size(uid))
        return log_size + (await self.kept(uid))[1]

    async def close(self) -> None:
        """See `Store.close`. Shards are released: another process may have them at once."""
        if self._closed:
            return
        self._closed = True
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._files.close()
        await self._ownership.close()
        await _disconnect(self._connections)

    # --- parts ----------------------------------------------------------------------------------------------------

    def _snapshots(self, lease: Lease, uid: str) -> TenantSnapshots:
        fence = Fence(lease.keys.epoch, lease.epoch)
        return TenantSnapshots(self._connections.bulk, lease.keys.tenant(uid), uid, fence)

    async def _drop_snapshots(self, lease: Lease, uid: str, first_seq: int) -> None:
        async with self._turns.of(uid):
            await self._snapshots(lease, uid).drop_from(first_seq)

    async def _write(self, lease: Lease, operation: Callable[[Transaction], T], size: int = 0) -> T:
        return await lease.committer.run(operation, size=size)

    async def _change(
        self,
        uid: str,
        operation: Callable[[Transaction], log_change.Done | log_change.Again],
        size: int = 0,
    ) -> Changed:
        lease = self._lease(uid)
        done = await self._write(lease, operation, size)
        if isinstance(done, log_change.Done):
            return Changed(record=done.record, destroyed=done.destroyed)
        record = await self._read(self._reader(lease).record(uid, done.seq))
        return Changed(record=record, destroyed=done.destroyed)

    async def _read(self, query: Awaitable[T]) -> T:
        try:
            return await query
        except RedisError as error:
            raise translate(error) from error

    async def _to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work that a cancelled caller does not leave half done, and that `close` waits for."""
        return await asyncio.shield(self._start(work))

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _delete(self, lease: Lease, uid: str, request_id: str) -> None:
        await self._write(lease, partial(log_write.condemn_tenant, uid=uid, request_id=request_id))
        await self._purge(lease)

    async def _unpark(self, lease: Lease, uid: str, request_id: str) -> TenantRow:
        row = await self._write(lease, partial(log_stage.unpark, uid=uid, request_id=request_id))
        await self._purge(lease)
        return row

    async def _confirm(self, lease: Lease, uid: str, request_id: str) -> None:
        await self._write(lease, partial(log_stage.condemn_parked, uid=uid, request_id=request_id))
        await self._purge(lease)

    async def _discard(self, lease: Lease, uid: str) -> None:
        if await self._write(lease, partial(log_stage.condemn_staged, uid=uid)):
            await self._purge(lease)

    async def _purge(self, lease: Lease) -> None:
        """Delete the keys of all that is condemned in a shard, then have Redis write its files anew."""
        uids = await self._read(self._reader(lease).members(lease.keys.condemned))
        for uid in uids:
            await self._read(self._unlink(lease, uid))
            operations = await self._read(self._operations(lease, uid))
            await self._write(lease, partial(log_write.purged, uid=uid, operations=operations))
        if uids and not await self._read(self._files.rewrite()):
            log.warning("Redis would not rewrite its files: deleted text may be in them until it does")

    async def _operations(self, lease: Lease, uid: str) -> list[str]:
        erasing = await self._reader(lease).members(lease.keys.erasing)
        return [operation for operation in erasing if operation.startswith(f"{uid}-")]

    async def _unlink(self, lease: Lease, uid: str) -> None:
        """Delete a condemned tenant's keys. No one writes them any more: a uid is never given again."""
        bulk, keys = self._connections.bulk, lease.keys.tenant(uid)
        await self._drop_snapshots(lease, uid, 0)
        head = await self._reader(lease).head(uid)
        for start in range(1, head.number + 1, SLICE):
            numbers = range(start, min(start + SLICE, head.number + 1))
            buckets = {keys.bucket(number) for number in numbers}
            await bulk.unlink(*(keys.payload(number) for number in numbers), *buckets)
            await bulk.zrem(lease.keys.due, *(due_member(uid, number) for number in numbers))
        await bulk.unlink(keys.log, keys.ids, keys.erasures, keys.copies, keys.snapshots, keys.blobs, keys.tokens)

    async def _erase(self, lease: Lease, uid: str, first_seq: int) -> Destroyed:
        reader = self._reader(lease)
        destroyed = 0
        for erasure in await self._read(reader.unfinished()):
            if erasure.uid != uid:
                continue
            about = (await self._read(reader.record(uid, erasure.seq))).about
            for at in range(0, len(about), log_destroy.SLICE_ENTRIES):
                numbers = about[at : at + log_destroy.SLICE_ENTRIES]
                destroyed += await self._write(lease, partial(log_destroy.erase_slice, uid=uid, numbers=numbers))
        await self._read(self._drop_snapshots(lease, uid, first_seq))
        rewritten = await self._read(self._files.rewrite())
        return Destroyed(bytes=destroyed, files_pending=not rewritten)


async def _deployment(connections: Connections, keys: Keys, shards: int) -> int:
    """Return how many shards a deployment has; make it where there is none.

    Raises:
        FailedPreconditionError: it is of a newer format.
    """
    await connections.leases.hsetnx(keys.meta, "format", str(FORMAT))
    await connections.leases.hsetnx(keys.meta, "shards", str(shards))
    found = await connections.leases.hgetall(keys.meta)
    if int(found[b"format"]) > FORMAT:
        raise FailedPreconditionError(
            f"the deployment in Redis has format {int(found[b'format'])}; this version reads {FORMAT}",
            reason="DATA_FORMAT_NEWER",
        )
    return int(found[b"shards"])


async def _disconnect(connections: Connections) -> None:
    for connection in (connections.leases, connections.reads, connections.bulk):
        await connection.aclose()
