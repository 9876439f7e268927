"""Where tenants are: hot (in a slot), warm (in memory), cold (in the store); and the limit to what is in memory.

A tenant is opened, folded a second time, or written for the first time only once there is room for what that takes:
the least recently used of those that nobody uses leave before. What indexes grow by is in the spare part of the limit.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from memsvc.engine.opened import OpenTenant
from memsvc.engine.results import Whereabouts
from memsvc.errors import ResourceExhaustedError
from memsvc.store.base import Store
from memsvc.tasks import end

if TYPE_CHECKING:
    from memsvc.engine.engine import Engine

log = logging.getLogger(__name__)

RETRY_S = 0.5
SPARE = 1 / 16
"""Of the limit that is kept free for what indexes grow by; as much again is made free at once, so that not every
tenant that is opened waits for another to leave."""

Reserve = Callable[[int], Awaitable[None]]


class Residency:
    """Keeps what is open within a limit.

    Args:
        engine: whose tenants.
        store: where those are that are not open.
        limit: in bytes, for all views and weights.
    """

    def __init__(self, engine: "Engine", store: Store, limit: int) -> None:
        self._engine, self._store, self._limit = engine, store, limit
        self._spare = int(limit * SPARE)
        self._opening: dict[OpenTenant, int] = {}
        """What tenants will take that are being opened."""
        self._expected: dict[OpenTenant, int] = {}
        """What views will take that are about to grow, what they take already included."""
        self._making_room = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def reserved(self) -> int:
        """Bytes for what is about to be opened, folded or learnt. May be asked on any thread."""
        bytes_of = self._engine.thread.runner.bytes_of
        about_to_grow = [*list(self._opening.items()), *list(self._expected.items())]
        return sum(max(0, size - bytes_of(tenant.key)) for tenant, size in about_to_grow)

    @property
    def _planned(self) -> int:
        """What may be used by all that is known beforehand: weights that move are there twice for a moment."""
        return self._limit - self._spare - self._engine.thread.runner.move_bytes

    @property
    def used(self) -> int:
        """Bytes that views and weights take, and those that are reserved."""
        return self._engine.thread.runner.host_bytes + self.reserved

    async def open(self, tenant: OpenTenant) -> None:
        """Open a tenant once there is room for it.

        Raises:
            NotFoundError: it was deleted.
            DataLossError: its log cannot be read.
            ResourceExhaustedError: there is no room, as all that is open is in use.
        """

        async def reserve(size: int) -> None:
            async with self._making_room:
                await self._make_room(size)
                self._opening[tenant] = size

        try:
            await tenant.open(reserve=reserve)
            # What is restored counts by itself now; what its log is folded to does not yet.
            if tenant.applied_seq < tenant.head_seq:
                self._expected[tenant] = self._opening[tenant]
        finally:
            self._opening.pop(tenant, None)

    def folding(self, tenant: OpenTenant) -> Reserve:
        """Return what the opening of a second fold of a tenant is to reserve with.

        Nobody is refused: where all that is open is in use, a fold passes the limit, or none would ever end.
        """

        async def reserve(size: int) -> None:
            async with self._making_room:
                self._expected[tenant] = size
                if (over := self.used - self._planned) > 0:
                    await self._free(over)

        return reserve

    async def expect(self, tenant: OpenTenant) -> None:
        """Have room for what a tenant that is about to be written learns into, if nothing was learnt yet.

        Raises:
            ResourceExhaustedError: there is no room, as all that is open is in use.
        """
        runner = self._engine.thread.runner
        view = tenant.view
        size = (0 if view.totals.chunks else view.config.weights_bytes) + runner.contexts.to_come(view.context)
        if tenant in self._expected or not size:
            return
        held = runner.bytes_of(tenant.key)
        async with self._making_room:
            await self._make_room(size, tenant)
            self._expected[tenant] = held + size

    async def wait(self, tenant: OpenTenant) -> None:
        """Expect a tenant's weights as soon as there is room for them."""
        while True:
            try:
                return await self.expect(tenant)
            except ResourceExhaustedError:
                await asyncio.sleep(RETRY_S)

    def grown(self) -> None:
        """Something was applied: make up for it if that was too much."""
        self._prune()
        if self.used > self._planned and not self._making_room.locked():
            self._start(self.round())

    def _prune(self) -> None:
        """Expect no more of whoever has all that was written, or has left."""
        for tenant in [t for t in self._expected if t.idle or t.failure is not None]:
            del self._expected[tenant]

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """End."""
        await end(*self._tasks)

    async def round(self) -> None:
        """Make up for what has grown, as far as tenants are not in use."""
        self._prune()
        async with self._making_room:
            if (over := self.used - self._planned) > 0:
                await self._free(over)

    async def _make_room(self, size: int, tenant: OpenTenant | None = None) -> None:
        self._prune()
        while (over := self.used + size - self._planned) > 0:
            if await self._free(over):
                continue
            if not {*self._engine.opened(), *self._opening, *self._expected} - {tenant}:
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
        size += self._spare
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
