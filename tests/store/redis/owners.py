"""Stores in one process as several processes would have them, each following its shards as the engine does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from memsvc.store.redis.store import RedisOptions, RedisStore
from memsvc.store.redis.url import parse
from memsvc.store.types import ShardEvent

SHARDS = 4
LEASE_S = 1.5
PATIENCE_S = 30


class Owner:
    """A store that hands over what it is asked for.

    Attributes:
        owned: its shards, as it was told.
    """

    def __init__(self, store: RedisStore, *, gives: bool = True) -> None:
        self.store, self.owned, self._gives = store, set[int](), gives
        self.following = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            change = await self.store.next_change()
            match change.event:
                case ShardEvent.TAKEN:
                    self.owned.add(change.shard)
                case ShardEvent.LOST:
                    self.owned.discard(change.shard)
                case ShardEvent.WANTED if self._gives:
                    self.owned.discard(change.shard)
                    await self.store.release(change.shard)


@asynccontextmanager
async def owner(
    url: str, address: str, *, shards: int = SHARDS, lease_s: float = LEASE_S, gives: bool = True
) -> AsyncIterator[Owner]:
    """Open a store at an address, and close it."""
    store = await RedisStore.open(parse(url), RedisOptions(address=address, shards=shards, lease_s=lease_s))
    owner = Owner(store, gives=gives)
    try:
        yield owner
    finally:
        owner.following.cancel()
        with suppress(asyncio.CancelledError):
            await owner.following
        await store.close()


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110  what holds has no event
            await asyncio.sleep(0.02)
