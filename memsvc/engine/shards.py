"""What part of the deployment this process serves, as it changes: caught up with, let go, handed over."""

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from memsvc.engine.opened import OpenTenant
from memsvc.errors import MemsvcError
from memsvc.store.base import Store
from memsvc.store.types import ShardChange, ShardEvent
from memsvc.tasks import end

if TYPE_CHECKING:
    from memsvc.engine.engine import Engine

log = logging.getLogger(__name__)


class Shards:
    """Follows the store's changes."""

    def __init__(self, engine: "Engine", store: Store) -> None:
        self._engine, self._store = engine, store
        self._task: asyncio.Task[None] | None = None
        self.owned: frozenset[int] = frozenset()
        """As of the last change that was taken in."""
        self.losses = 0
        """Shards that another process took, or could have taken, unasked."""
        self._catching_up: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """End."""
        await end(self._task)
        await end(*self._catching_up)

    async def _follow(self) -> None:
        while True:
            change = await self._store.next_change()
            try:
                await self._take_in(change)
            except Exception:  # one change that cannot be taken in must not end the following of the others
                log.exception("shard %d: %s", change.shard, change.event)

    async def _take_in(self, change: ShardChange) -> None:
        self.owned = self.owned | {change.shard} if change.event is ShardEvent.TAKEN else self.owned - {change.shard}
        self.losses += change.event is ShardEvent.LOST
        match change.event:
            case ShardEvent.TAKEN:
                with suppress(MemsvcError):  # it is lost again: the next change says so
                    for tenant in self._of(change.shard):
                        # Others have owned it since: they may have written.
                        if tenant.term != self._store.term(tenant.uid):
                            await self._engine.shut_stale(tenant)
                self._engine.eraser.wake()
                task = asyncio.create_task(self._catch_up(change.shard))
                self._catching_up.add(task)
                task.add_done_callback(self._catching_up.discard)
            case ShardEvent.LOST:
                await self._let_go(change.shard)
            case ShardEvent.WANTED:
                try:
                    for tenant in self._of(change.shard):
                        with suppress(MemsvcError):  # whoever takes it folds the rest
                            await self._engine.keeper.snapshot(tenant)
                    await self._let_go(change.shard)
                finally:  # what was offered is given, or nothing is ever offered again
                    await self._store.release(change.shard)
                # What was opened again meanwhile.
                await self._let_go(change.shard)

    async def _catch_up(self, shard: int) -> None:
        try:
            await self._engine.keeper.catch_up(shard)
        except MemsvcError as error:
            log.warning("shard %d: its tenants are folded when they are asked for: %s", shard, error)

    async def _let_go(self, shard: int) -> None:
        """Close a shard's tenants. Who waits hears so, and asks again, whoever owns them now."""
        await self._engine.wait_opened()
        for tenant in self._of(shard):
            await self._engine.shut(tenant.row.tenant)
            await self._engine.past.drop(tenant.uid)

    def _of(self, shard: int) -> list[OpenTenant]:
        return [tenant for tenant in self._engine.opened() if self._store.shard_of(tenant.uid) == shard]
