"""Where tenants are: hot (in a slot), warm (in memory), cold (in the store); and the limit to what is in memory.

A tenant is opened only once there is room for it: the least recently used of those that nobody uses leave before. What
is open already may grow past the limit by what is written meanwhile; others leave as soon as it is applied.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from memsvc.engine.opened import OpenTenant
from memsvc.engine.results import Whereabouts
from memsvc.errors import MemsvcError, ResourceExhaustedError
from memsvc.store.base import Store
from memsvc.tasks import end

if TYPE_CHECKING:
    from memsvc.engine.engine import Engine

log = logging.getLogger(__name__)

RETRY_S = 0.5
SPARE = 1 / 16
"""Of the limit that is made free at once, so that not every tenant that is opened waits for another to leave."""


class Residency:
    """Keeps what is open within a limit.

    Args:
        engine: whose tenants.
        store: where those are that are not open.
        limit: in bytes, for all views and weights.
    """

    def __init__(self, engine: "Engine", store: Store, limit: int) -> None:
        self._engine, self._store, self._limit = engine, store, limit
        self._reserved = 0
        self._making_room = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def reserved(self) -> int:
        """Bytes for what is about to be opened, or to be folded. May be asked on any thread."""
        return self._reserved

    @property
    def used(self) -> int:
        """Bytes that views and weights take, and those that are about to be opened."""
        return self._engine.thread.runner.host_bytes + self._reserved

    async def open(self, tenant: OpenTenant) -> None:
        """Open a tenant once there is room for it.

        Raises:
            NotFoundError: it was deleted.
            DataLossError: its log cannot be read.
            ResourceExhaustedError: there is no room, as all that is open is in use.
        """
        reserved = 0

        async def reserve(size: int) -> None:
            nonlocal reserved
            async with self._making_room:
                await self._make_room(size)
                reserved = size
                self._reserved += size

        try:
            await tenant.open(reserve=reserve)
        finally:
            self._reserved -= reserved
        # What is restored counts by itself now; what its log is folded to does not yet.
        self._hold(tenant, max(0, reserved - self._engine.thread.runner.bytes_of(tenant.key)))

    def _hold(self, tenant: OpenTenant, size: int) -> None:
        async def hold() -> None:
            try:
                await tenant.wait_applied(tenant.head_seq)
            except MemsvcError:
                log.debug("tenant %s: it left before its log was folded", tenant.uid)
            finally:
                self._reserved -= size

        if tenant.applied_seq < tenant.head_seq:
            self._reserved += size
            self._start(hold())

    def grown(self) -> None:
        """Something was applied: make up for it if that was too much."""
        if self.used > self._limit and not self._making_room.locked():
            self._start(self.round())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """End."""
        await end(*self._tasks)

    async def round(self) -> None:
        """Make up for what has grown, as far as tenants are not in use."""
        async with self._making_room:
            if (over := self.used - self._limit) > 0:
                await self._free(over)

    async def _make_room(self, size: int) -> None:
        while (over := self.used + size - self._limit) > 0:
            if await self._free(over):
                continue
            if not self._reserved and not self._engine.opened():
                # Nothing else is here: a tenant larger than the limit is served all the same.
                return
            raise ResourceExhaustedError(
                "the memory is full of tenants in use; try again shortly",
                retry_after=RETRY_S,
                reason="MEMORY_FULL",
                metadata={"used_bytes": str(self.used), "limit": str(self._limit)},
            )

    async def _free(self, size: int) -> bool:
        """Have tenants leave that take that much together, and some more; return whether any did."""
        await self._engine.past.let_go(0.0)
        leaving: list[OpenTenant] = []
        size += int(self._limit * SPARE)
        for tenant in sorted(self._engine.opened(), key=lambda t: t.last_used):
            if size > 0 and tenant.idle and not tenant.saving.locked():
                leaving.append(tenant)
                size -= self._engine.thread.runner.bytes_of(tenant.key)
        left = await asyncio.gather(*map(self._unload, leaving))
        return any(left)

    async def _unload(self, tenant: OpenTenant) -> bool:
        try:
            return await self._engine.keeper.unload(tenant)
        except Exception:  # one tenant's failure is its own: the next in line may leave
            log.exception("tenant %s: could not leave the memory", tenant.uid)
            return False

    async def whereabouts(self) -> Whereabouts:
        """Return how many tenants are where, and what they take."""
        runner, opened = self._engine.thread.runner, len(self._engine.opened())
        hot = min(runner.hot, opened)
        return Whereabouts(
            hot=hot,
            warm=opened - hot,
            cold=max(0, len(await self._store.heads()) - opened),
            used_bytes=self.used,
            limit_bytes=self._limit,
            slot_loads=runner.loads,
            unloads=self._engine.keeper.unloads,
        )
