"""A deployment as this process is connected to it: which shards are its own, and how they are read and written."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from memsvc.errors import FailedPreconditionError
from memsvc.store.hashes import tenant_hash
from memsvc.store.redis.faults import TROUBLE, closed, translate
from memsvc.store.redis.fenced import Fence
from memsvc.store.redis.keys import Keys, shard_of_uid
from memsvc.store.redis.lease import Connections, Lease, Process
from memsvc.store.redis.log_read import Reader
from memsvc.store.redis.ownership import Ownership
from memsvc.store.redis.snapshots import TenantSnapshots
from memsvc.store.redis.transaction import Transaction
from memsvc.store.redis.turns import Turns

T = TypeVar("T")

FORMAT = 1


class Deployment:
    """Connections, leases, and the work under way on them.

    Args:
        process: this one.
        keys: of the deployment.
        shards: how many there are.
    """

    def __init__(self, process: Process, keys: Keys, shards: int) -> None:
        self.connections, self.clock_us = process.connections, process.clock_us
        self.keys, self.shards = keys, shards
        self.ownership = Ownership(process, keys, shards)
        self.turns = Turns()
        """For what changes a tenant's snapshots."""
        self._under_way: set[asyncio.Task[Any]] = set()
        self._closed = False

    # --- whose is what --------------------------------------------------------------------------------------------

    def shard_of(self, uid: str) -> int:
        """Return the shard of a tenant, or of an erasure; some shard for what is neither's name."""
        shard = shard_of_uid(uid)
        return shard if 0 <= shard < self.shards else 0

    def lease(self, uid: str) -> Lease:
        """Return the lease of a tenant's shard.

        Raises:
            NotOwnerError: it is another process's, or nobody's just now.
            UnavailableError: the store is closed.
        """
        self.check_open()
        return self.ownership.lease(self.shard_of(uid))

    def lease_of_name(self, tenant: str) -> Lease:
        """Return the lease of the shard of a tenant's id; see `lease`."""
        self.check_open()
        return self.ownership.lease(int.from_bytes(tenant_hash(tenant)[:8], "big") % self.shards)

    def leases(self) -> list[Lease]:
        """Return all leases that are held for certain.

        Raises:
            UnavailableError: the store is closed.
        """
        self.check_open()
        return self.ownership.held()

    def check_open(self) -> None:
        """Return if the store is open.

        Raises:
            UnavailableError: it is closed.
        """
        if self._closed:
            raise closed()

    # --- reading and writing --------------------------------------------------------------------------------------

    def reader(self, lease: Lease) -> Reader:
        """Return what reads a shard."""
        return Reader(self.connections.reads, lease.keys)

    def snapshots(self, lease: Lease, uid: str) -> TenantSnapshots:
        """Return a tenant's snapshots."""
        fence = Fence(lease.keys.epoch, lease.epoch)
        return TenantSnapshots(self.connections.bulk, lease.keys.tenant(uid), uid, fence)

    async def read(self, query: Awaitable[T]) -> T:
        """Await what asks Redis.

        Raises:
            UnavailableError: Redis did not answer, or refused.
        """
        try:
            return await query
        except TROUBLE as error:
            raise translate(error) from error

    async def write(self, lease: Lease, operation: Callable[[Transaction], T], size: int = 0) -> T:
        """Run an operation on a shard; durable when it returns."""
        return await lease.committer.run(operation, size=size)

    async def to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work that a cancelled caller does not leave half done, and that `close` waits for."""
        return await asyncio.shield(self.begin(work))

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin work that `close` waits for."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def finish(self) -> bool:
        """Take nothing any more, and finish what is under way. Return False where that was done before."""
        if self._closed:
            return False
        self._closed = True
        await asyncio.gather(*self._under_way, return_exceptions=True)
        return True

    async def release(self) -> None:
        """Release all shards and disconnect."""
        await self.ownership.close()
        await disconnect(self.connections)


async def found(connections: Connections, keys: Keys, shards: int) -> int:
    """Make a deployment where there is none; return how many shards it has.

    Raises:
        FailedPreconditionError: it is of a newer format.
        RedisError: Redis did not answer.
    """
    await connections.leases.hsetnx(keys.meta, "format", str(FORMAT))
    await connections.leases.hsetnx(keys.meta, "shards", str(shards))
    facts = await connections.leases.hgetall(keys.meta)
    if int(facts[b"format"]) > FORMAT:
        raise FailedPreconditionError(
            f"the deployment in Redis has format {int(facts[b'format'])}; this version reads {FORMAT}",
            reason="DATA_FORMAT_NEWER",
        )
    return int(facts[b"shards"])


async def disconnect(connections: Connections) -> None:
    """Close all connections."""
    for connection in (connections.leases, connections.reads, connections.bulk):
        await connection.aclose()
