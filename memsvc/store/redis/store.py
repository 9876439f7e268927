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
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from memsvc.errors import MemsvcError
from memsvc.store.clock import wall_clock_us
from memsvc.store.credentials import CredentialTable
from memsvc.store.redis import log_change, log_stage, log_write, promises
from memsvc.store.redis.credentials import RedisCredentials
from memsvc.store.redis.deployment import Deployment, disconnect, found
from memsvc.store.redis.destruction import Destruction
from memsvc.store.redis.faults import TROUBLE, translate
from memsvc.store.redis.keys import Keys
from memsvc.store.redis.lease import Connections, Lease, Process
from memsvc.store.redis.log_read import Reader
from memsvc.store.redis.transaction import Transaction
from memsvc.store.redis.url import Address, connect
from memsvc.store.refusals import no_tenant
from memsvc.store.types import (
    ALL_TENANTS,
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
    Span,
    StoredEntry,
    TenantRow,
)

T = TypeVar("T")

log = logging.getLogger(__name__)

DUE_PAGE = 1000
SLICE = 1024
"""Ids refused, and tenants looked at, at once."""


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

    def __init__(self, process: Process, keys: Keys, shards: int) -> None:
        """Use `open`."""
        self._deployment = Deployment(process, keys, shards)
        self._destruction = Destruction(self._deployment)
        self._read, self._write = self._deployment.read, self._deployment.write
        self._lease, self._reader = self._deployment.lease, self._deployment.reader
        self._credentials = RedisCredentials(process.connections.reads, process.connections.leases, keys)

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
            keys = Keys(address.prefix)
            promises.refuse(await promises.check(connections.reads, keys), allow=options.allow_weak)
            process = Process(
                connections=connections,
                address=options.address,
                token=uuid.uuid4().hex,
                lease_s=options.lease_s,
                clock_us=options.clock_us,
            )
            store = cls(process, keys, await found(connections, keys, options.shards))
            await store._deployment.ownership.start(store._destruction.recover)
        except TROUBLE as error:
            await disconnect(connections)
            raise translate(error) from error
        except BaseException:
            await disconnect(connections)
            raise
        return store

    # --- shards ---------------------------------------------------------------------------------------------------

    async def next_change(self) -> ShardChange:
        """See `Store.next_change`."""
        return await self._deployment.ownership.changes.get()

    def shard_of(self, uid: str) -> int:
        """See `Store.shard_of`."""
        return self._deployment.shard_of(uid)

    def term(self, uid: str) -> int:
        """See `Store.term`. It is the epoch of the lease."""
        return self._lease(uid).epoch

    def retire(self) -> None:
        """See `Store.retire`."""
        self._deployment.ownership.retire()

    async def release(self, shard: int) -> None:
        """See `Store.release`."""
        await self._deployment.to_the_end(self._deployment.ownership.release(shard))

    # --- tenants --------------------------------------------------------------------------------------------------

    async def create_tenant(self, tenant: str, config: bytes, body: bytes, request_id: str) -> TenantRow:
        """See `Log.create_tenant`. A request_id is known again in the shard of the tenant's id."""
        create = partial(log_write.create_tenant, tenant=tenant, config=config, body=body, request_id=request_id)
        return await self._write(self._deployment.lease_of_name(tenant), create)

    async def get_tenant(self, tenant: str) -> TenantRow | None:
        """See `Log.get_tenant`."""
        return await self._read(self._reader(self._deployment.lease_of_name(tenant)).get_tenant(tenant))

    async def list_tenants(self, after: str, limit: int, within: Sequence[Span] = ALL_TENANTS) -> list[TenantRow]:
        """See `Log.list_tenants`. Tenants of all shards, whoever owns them."""
        self._deployment.check_open()
        reads, keys = self._deployment.connections.reads, self._deployment.keys
        readers = [Reader(reads, keys.shard(shard)) for shard in range(self._deployment.shards)]
        pages = await self._read(asyncio.gather(*(reader.list_tenants(after, limit, within) for reader in readers)))
        rows = [row for page in pages for row in page]
        return sorted(rows, key=lambda row: row.tenant.encode())[:limit]

    async def delete_tenant(self, uid: str, request_id: str) -> None:
        """See `Log.delete_tenant`. When it returns, the tenant's text is in no key any more, nor in Redis's files.

        Raises:
            UnavailableError: it could not be finished; a retry goes on, and so does the next owner of the shard.
        """
        await self._deployment.to_the_end(self._delete(self._lease(uid), uid, request_id))

    async def find_deleted(self, tenant: str, request_id: str) -> bool:
        """See `Log.find_deleted`."""
        reader = self._reader(self._deployment.lease_of_name(tenant))
        return await self._read(reader.find_deleted(tenant, request_id, self._deployment.clock_us()))

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
        for lease in self._deployment.leases():
            start = 0
            while (room := limit - sum(len(record.about) for _, record in expired)) > 0:
                count = min(room, DUE_PAGE)
                if not (page := await self._read(self._reader(lease).due(self._deployment.clock_us(), start, count))):
                    break
                records = await self._write(lease, partial(log_change.expire, due=page))
                expired += records
                # What is not expired, of a tenant that is staged or parked, stays in front.
                start += len(page) - sum(len(record.about) for _, record in records)
        return expired

    # --- erasures -------------------------------------------------------------------------------------------------

    async def erase(self, uid: str, first_seq: int) -> Destroyed:
        """See `Log.erase`. Files are pending where Redis would not rewrite its own."""
        return await self._deployment.to_the_end(self._destruction.erase(self._lease(uid), uid, first_seq))

    async def finish_erasure(self, operation: str, receipt: bytes) -> None:
        """See `Log.finish_erasure`. The first receipt stands; an erasure that went with its tenant is left alone."""
        finish = partial(log_change.finish_erasure, operation=operation, receipt=receipt)
        await self._write(self._lease(operation), finish)

    async def erasure(self, operation: str) -> Erasure | None:
        """See `Log.erasure`."""
        return await self._read(self._reader(self._lease(operation)).erasure(operation))

    async def unfinished_erasures(self) -> list[Erasure]:
        """See `Log.unfinished_erasures`. Of the shards that this process owns."""
        found = [await self._read(self._reader(lease).unfinished()) for lease in self._deployment.leases()]
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
        lease = self._deployment.lease_of_name(tenant)
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
        return await self._write(self._deployment.lease_of_name(tenant), publish)

    async def published(self, tenant: str, request_id: str) -> TenantRow | None:
        """See `Log.published`."""
        reader = self._reader(self._deployment.lease_of_name(tenant))
        return await self._read(reader.published(tenant, request_id, self._deployment.clock_us()))

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
        return await self._deployment.to_the_end(self._unpark(self._lease(uid), uid, request_id))

    async def confirm(self, uid: str, request_id: str) -> None:
        """See `Log.confirm`. When it returns, nothing of the parked tenant is left."""
        await self._deployment.to_the_end(self._confirm(self._lease(uid), uid, request_id))

    async def discard(self, uid: str) -> None:
        """See `Log.discard`. When it returns, nothing of the staged tenant is left."""
        await self._deployment.to_the_end(self._discard(self._lease(uid), uid))

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
        for lease in self._deployment.leases():
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

    async def save(
        self, uid: str, snapshot: Snapshot, keep: Retention = Retention.NONE, *, drop_from: int | None = None
    ) -> None:
        """See `Snapshots.save`.

        Raises:
            NotFoundError: no such tenant.
            FailedPreconditionError: a blob was left out that the store does not hold (reason BLOB_MISSING), or is not
                what it holds (BLOB_CHANGED).
            UnavailableError: the store cannot write; the older snapshots stand.
        """
        lease = self._lease(uid)
        async with self._deployment.turns.of(uid):
            # Here, or a tenant might be purged in between and leave a snapshot behind.
            if await self._read(self._reader(lease).row(uid)) is None:
                raise no_tenant()
            await self._read(self._deployment.snapshots(lease, uid).save(snapshot, keep, drop_from=drop_from))

    async def load(self, uid: str, before_seq: int | None = None) -> LoadedSnapshot:
        """See `Snapshots.load`. What is corrupt is told once and dropped, so that a later save writes it again."""
        snapshots = self._deployment.snapshots(self._lease(uid), uid)
        loaded = await self._read(snapshots.load(before_seq))
        if loaded.corrupt:
            try:
                async with self._deployment.turns.of(uid):
                    await self._read(snapshots.drop_damaged())
            except MemsvcError as error:
                log.warning("a damaged snapshot stays where it is: %s", error)
        return loaded

    async def kept(self, uid: str) -> tuple[int, int]:
        """See `Snapshots.kept`."""
        return await self._read(self._deployment.snapshots(self._lease(uid), uid).count())

    async def seqs(self) -> dict[str, int]:
        """See `Snapshots.seqs`. Of the shards that this process owns."""
        newest: dict[str, int] = {}
        for lease in self._deployment.leases():
            uids = list(await self._read(self._reader(lease).living_rows()))
            for at in range(0, len(uids), SLICE):
                newest |= await self._read(self._newest(lease, uids[at : at + SLICE]))
        return newest

    async def _newest(self, lease: Lease, uids: Sequence[str]) -> dict[str, int]:
        async with self._deployment.connections.bulk.pipeline(transaction=False) as pipe:
            for uid in uids:
                pipe.hkeys(lease.keys.tenant(uid).snapshots)
            found = await pipe.execute()
        return {uid: max(map(int, seqs)) for uid, seqs in zip(uids, found, strict=True) if seqs}

    # --- credentials ----------------------------------------------------------------------------------------------

    async def credentials(self) -> CredentialTable:
        """See `Credentials.credentials`."""
        self._deployment.check_open()
        return await self._credentials.credentials()

    async def credentials_version(self) -> int:
        """See `Credentials.credentials_version`."""
        self._deployment.check_open()
        return await self._credentials.credentials_version()

    async def change_credentials(self, version: int, put: Mapping[str, bytes], drop: Collection[str] = ()) -> int:
        """See `Credentials.change_credentials`."""
        self._deployment.check_open()
        change = self._credentials.change_credentials(version, dict(put), tuple(drop))
        return await self._deployment.to_the_end(change)

    # --- the store itself -----------------------------------------------------------------------------------------

    async def check(self) -> None:
        """See `Store.check`. It commits to a shard, if this process owns any."""
        self._deployment.check_open()
        await self._read(self._deployment.connections.reads.ping())
        for lease in self._deployment.leases()[:1]:
            await self._write(lease, log_write.touch)

    async def size(self, uid: str) -> int:
        """See `Store.size`."""
        log_size = await self._read(self._reader(self._lease(uid)).size(uid))
        return log_size + (await self.kept(uid))[1]

    async def close(self) -> None:
        """See `Store.close`. Shards are released: another process may have them at once."""
        if await self._deployment.finish():
            await self._destruction.close()
            await self._deployment.release()

    # --- parts ----------------------------------------------------------------------------------------------------

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
        return Changed(record=record, destroyed=done.destroyed, repeated=True)

    async def _delete(self, lease: Lease, uid: str, request_id: str) -> None:
        await self._write(lease, partial(log_write.condemn_tenant, uid=uid, request_id=request_id))
        await self._destruction.purge(lease)

    async def _unpark(self, lease: Lease, uid: str, request_id: str) -> TenantRow:
        row = await self._write(lease, partial(log_stage.unpark, uid=uid, request_id=request_id))
        await self._destruction.purge(lease)
        return row

    async def _confirm(self, lease: Lease, uid: str, request_id: str) -> None:
        await self._write(lease, partial(log_stage.condemn_parked, uid=uid, request_id=request_id))
        await self._destruction.purge(lease)

    async def _discard(self, lease: Lease, uid: str) -> None:
        if await self._write(lease, partial(log_stage.condemn_staged, uid=uid)):
            await self._destruction.purge(lease)
