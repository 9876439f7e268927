"""Which shards this process owns: it takes its share of those that are free, and offers what is more than its share."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from memsvc.failpoints import hit
from memsvc.store.redis.faults import TROUBLE, translate
from memsvc.store.redis.fence import NotOwnerError
from memsvc.store.redis.keys import Keys, shard_of_uid
from memsvc.store.redis.lease import Lease, Process, acquire, address_of
from memsvc.store.redis.scripts import script
from memsvc.store.types import ShardChange, ShardEvent
from memsvc.tasks import end

log = logging.getLogger(__name__)

Recover = Callable[[Lease], Coroutine[Any, Any, None]]

ROUND_S = 0.25
"""How often it looks for shards that are free: what a graceful handover takes."""


class Ownership:
    """Acquires, renews and releases shards.

    Args:
        process: this one.
        keys: of the deployment.
        shards: how many there are.
    """

    def __init__(self, process: Process, keys: Keys, shards: int) -> None:
        self._process, self._keys, self.shards = process, keys, shards
        self._recover: Recover
        self._leases: dict[int, Lease] = {}
        self._owners: dict[int, str] = {}
        """Who owns the others, as last seen."""
        self._offered: set[int] = set()
        self._share = shards
        self._retiring = False
        self.changes: asyncio.Queue[ShardChange] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        """Of leases that were lost."""

    async def start(self, recover: Recover) -> None:
        """Take one's share, and go on in the background.

        `recover` finishes what an earlier owner of a shard left unfinished, before anyone uses it.

        Raises:
            RedisError: Redis did not answer.
        """
        self._recover = recover
        try:
            await self._round(predecessor=self._process.address)
        except BaseException:
            await self.close()
            raise
        self._task = asyncio.create_task(self._rounds())

    def held(self) -> list[Lease]:
        """Return the shards that are held for certain, in order."""
        return [lease for _, lease in sorted(self._leases.items()) if lease.is_held]

    def lease(self, shard: int) -> Lease:
        """Return a shard's lease.

        Raises:
            NotOwnerError: it is another process's, or nobody's just now.
        """
        lease = self._leases.get(shard)
        if lease is None or not lease.is_held:
            owner = self._owners.get(shard, "")
            raise NotOwnerError("" if owner == self._process.address else owner)
        return lease

    def lease_of(self, uid: str) -> Lease:
        """Return the lease of a tenant's shard; see `lease`."""
        return self.lease(shard_of_uid(uid))

    def retire(self) -> None:
        """Take and offer nothing any more, and count as gone, so that the others take what becomes free."""
        self._retiring = True

    async def release(self, shard: int) -> None:
        """Hand a shard over to whoever takes it."""
        self._offered.discard(shard)
        if (lease := self._leases.pop(shard, None)) is not None:
            self._owners.pop(shard, None)
            await self._end(lease)

    async def close(self) -> None:
        """Release all and say farewell."""
        await end(self._task)
        try:
            async with asyncio.timeout(self._process.lease_s):
                await asyncio.gather(*self._ending, *(self.release(shard) for shard in list(self._leases)))
                with suppress(*TROUBLE):
                    await self._beat(0)
        except TimeoutError:
            log.warning("Redis does not answer: by now the leases have run out by themselves")

    async def _end(self, lease: Lease) -> None:
        """Let another process, or this one, take the shard at once."""
        try:
            await lease.release()
        except TROUBLE as error:
            log.warning("the lease of shard %d runs out by itself: %s", lease.shard, translate(error))
        except Exception:  # whatever that is, it is this shard's alone
            log.exception("the lease of shard %d runs out by itself", lease.shard)

    # --- rounds ---------------------------------------------------------------------------------------------------

    async def _rounds(self) -> None:
        while True:
            await asyncio.sleep(ROUND_S)
            try:
                await self._round()
            except TROUBLE as error:
                log.warning("the leases could not be looked after: %s", translate(error))
            except Exception:  # whoever looks after the leases no more loses all of them: the next round tries again
                log.exception("the leases could not be looked after")

    async def _round(self, predecessor: str = "") -> None:
        """Do all once. A predecessor is a process of that address that is gone: its port is ours."""
        due = [lease for lease in self._leases.values() if lease.is_due]
        # One that cannot be renewed, on a node of a cluster that is away, must not end the care for the others.
        renewed = await asyncio.gather(*(lease.renew() for lease in due), return_exceptions=True)
        members = await self._beat(0 if self._retiring else self._process.lease_ms)
        self._share = -(-self.shards // max(1, members))
        await self._look()
        if not self._retiring:
            await self._take(predecessor)
            self._offer()
        for failure in renewed:
            if failure is not None:
                raise failure

    async def _beat(self, lasting_ms: int) -> int:
        return len(
            await script(self._process.connections.leases, "beat")(
                [self._keys.members], [self._process.name, lasting_ms]
            )
        )

    async def _look(self) -> None:
        """See who owns what this process does not."""
        others = [shard for shard in range(self.shards) if shard not in self._leases]
        if not others:
            return
        async with self._process.connections.reads.pipeline(transaction=False) as pipe:
            for shard in others:
                pipe.get(self._keys.shard(shard).lease)
            leases = await pipe.execute()
        for shard, lease in zip(others, leases, strict=True):
            self._owners[shard] = "" if lease is None else address_of(lease)

    async def _take(self, predecessor: str) -> None:
        """Take of the free shards what one's share has room for."""
        free = [shard for shard, at in self._owners.items() if shard not in self._leases and at in {"", predecessor}]
        for shard in free[: max(0, self._share - len(self._leases))]:
            keys = self._keys.shard(shard)
            lease = await acquire(self._process, keys, predecessor, self._lost)
            if isinstance(lease, str):
                self._owners[shard] = lease
                continue
            try:
                hit("takeover")
                await self._recover(lease)
            except BaseException:
                await self._end(lease)
                raise
            self._leases[shard] = lease
            self.changes.put_nowait(ShardChange(shard=shard, event=ShardEvent.TAKEN))
            log.info("shard %d is taken, epoch %d", shard, lease.epoch)

    def _offer(self) -> None:
        """Offer one shard that is more than one's share to whoever has less."""
        if len(self._leases) <= self._share or self._offered:
            return
        shard = max(self._leases)
        self._offered.add(shard)
        self.changes.put_nowait(ShardChange(shard=shard, event=ShardEvent.WANTED))

    def _lost(self, lease: Lease) -> None:
        if self._leases.get(lease.shard) is lease:
            del self._leases[lease.shard]
            self._offered.discard(lease.shard)
            self.changes.put_nowait(ShardChange(shard=lease.shard, event=ShardEvent.LOST))
            # In a task of its own: it may be the lease's own committer that tells.
            task = asyncio.create_task(self._end(lease))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            log.warning("shard %d is lost, epoch %d", lease.shard, lease.epoch)
