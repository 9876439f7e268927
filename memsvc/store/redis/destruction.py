"""What is deleted or erased leaves no key, and no file of Redis's either."""

import logging
from functools import partial

from memsvc.errors import MemsvcError
from memsvc.store.redis import log_destroy, log_stage, log_write
from memsvc.store.redis.deployment import Deployment
from memsvc.store.redis.files import Files
from memsvc.store.redis.lease import Lease
from memsvc.store.redis.log_end import due_member
from memsvc.store.types import Destroyed

log = logging.getLogger(__name__)

SLICE_KEYS = 1024
"""Keys deleted at once."""


class Destruction:
    """Destroys payloads, snapshots and whole tenants of the shards that this process owns."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._files = Files(deployment.connections.bulk)

    async def recover(self, lease: Lease) -> None:
        """Finish what a shard's earlier owner left: what it staged goes, what it condemned is purged."""
        reader = self._deployment.reader(lease)
        for uid in await reader.members(lease.keys.staged):
            await lease.committer.run(partial(log_stage.condemn_staged, uid=uid))
        if await reader.members(lease.keys.condemned):
            self._deployment.begin(self._purge_alone(lease))  # it may take long, and nobody waits for it

    async def _purge_alone(self, lease: Lease) -> None:
        try:
            await self.purge(lease)
        except MemsvcError as error:
            log.warning("shard %d: its next owner goes on with what was deleted: %s", lease.shard, error)

    async def purge(self, lease: Lease) -> None:
        """Delete the keys of all that is condemned in a shard, then have Redis write its files anew."""
        read = self._deployment.read
        uids = await read(self._deployment.reader(lease).members(lease.keys.condemned))
        for uid in uids:
            await read(self._unlink(lease, uid))
            operations = await read(self._operations(lease, uid))
            await self._deployment.write(lease, partial(log_write.purged, uid=uid, operations=operations))
        if uids and not await read(self._files.rewrite()):
            log.warning("Redis would not rewrite its files: deleted text may be in them until it does")

    async def erase(self, lease: Lease, uid: str, first_seq: int) -> Destroyed:
        """Destroy the payloads of a tenant's pending erasures, and every snapshot at or after a seq."""
        deployment, reader = self._deployment, self._deployment.reader(lease)
        destroyed = 0
        for erasure in await deployment.read(reader.unfinished()):
            if erasure.uid != uid:
                continue
            about = (await deployment.read(reader.record(uid, erasure.seq))).about
            for at in range(0, len(about), log_destroy.SLICE_ENTRIES):
                numbers = about[at : at + log_destroy.SLICE_ENTRIES]
                erase = partial(log_destroy.erase_slice, uid=uid, numbers=numbers)
                destroyed += await deployment.write(lease, erase)
        dropped = await deployment.read(self._drop_snapshots(lease, uid, first_seq))
        rewritten = await deployment.read(self._files.rewrite())
        return Destroyed(bytes=destroyed, files_pending=not rewritten, snapshots=dropped)

    async def close(self) -> None:
        """Wait for no file any more."""
        await self._files.close()

    async def _drop_snapshots(self, lease: Lease, uid: str, first_seq: int) -> tuple[int, ...]:
        async with self._deployment.turns.of(uid):
            return await self._deployment.snapshots(lease, uid).drop_from(first_seq)

    async def _operations(self, lease: Lease, uid: str) -> list[str]:
        erasing = await self._deployment.reader(lease).members(lease.keys.erasing)
        return [operation for operation in erasing if operation.startswith(f"{uid}-")]

    async def _unlink(self, lease: Lease, uid: str) -> None:
        """Delete a condemned tenant's keys. No one writes them any more: a uid is never given again."""
        bulk, keys = self._deployment.connections.bulk, lease.keys.tenant(uid)
        await self._drop_snapshots(lease, uid, 0)
        async for given in self._deployment.reader(lease).numbers(uid):
            for start in range(0, len(given), SLICE_KEYS):
                numbers = given[start : start + SLICE_KEYS]
                buckets = {keys.bucket(number) for number in numbers}
                await bulk.unlink(*(keys.payload(number) for number in numbers), *buckets)
                await bulk.zrem(lease.keys.due, *(due_member(uid, number) for number in numbers))
        await bulk.unlink(keys.log, keys.ids, keys.erasures, keys.copies, keys.snapshots, keys.blobs, keys.tokens)
