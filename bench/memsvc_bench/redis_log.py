"""The speed of the log in Redis: what a store acknowledges, beside the same commits sent without one.

Both are measured turn and turn about, in one process and on one Redis, because a machine's speed drifts by more than
what is looked for.
"""

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from redis.asyncio import Redis

from memsvc.store.base import Store
from memsvc.store.redis import lease
from memsvc.store.redis.store import RedisOptions, RedisStore
from memsvc.store.redis.url import Connection, connect, parse
from memsvc.store.redis.wire import Argument, Wire
from memsvc.store.sqlite import SqliteStore
from memsvc.store.types import Payload, RecordKind
from memsvc_bench.redis_process import RedisProcess

SHARDS = 16
REPLAY_DB = 1
"""Where the commits are sent again, so that the store's own data stay as they are."""


class Load(NamedTuple):
    """Writers that each wait for one append before the next."""

    tenants: int
    writers: int
    size: int
    """Bytes of an entry's data."""
    records: int
    """Of all writers together."""


class Run(NamedTuple):
    """What a store did of a load."""

    seconds: float
    latencies: list[float]
    """Seconds until each append was acknowledged."""


class Commit(NamedTuple):
    """One call of the script, as the committer made it."""

    keys: Sequence[Any]
    arguments: Sequence[Any]


class Recorder:
    """Remembers the commits that a store sends: of each shard in order."""

    def __init__(self) -> None:
        self._commits: dict[int, list[Commit]] = {}

    def wire(self, connection: Connection) -> Wire:
        """Return a wire whose commits are remembered."""
        commits = self._commits.setdefault(len(self._commits), [])

        class Remembering(Wire):
            async def call(self, name: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
                if name == "commit":  # else the lease is renewed
                    commits.append(Commit(keys, arguments))
                return await super().call(name, keys, arguments)

        return Remembering(connection)

    def take(self) -> list[list[Commit]]:
        """Return the commits since it was last asked, by shard, and forget them."""
        taken = [list(commits) for commits in self._commits.values() if commits]
        for commits in self._commits.values():
            commits.clear()
        return taken


class Stores(NamedTuple):
    """What is measured."""

    redis: RedisStore
    sqlite: SqliteStore
    recorder: Recorder
    empty: Redis
    """The database where commits are sent again."""
    raw: Sequence[Wire]
    """To that database, one for each shard, as the store has them."""

    async def replay(self, shards: Sequence[Sequence[Commit]]) -> float:
        """Send commits again, to a database that is empty: each shard's in order, the shards side by side.

        Returns:
            the seconds that it took.

        Raises:
            RuntimeError: Redis did not apply one.
        """
        await self.empty.flushdb()
        for (keys, arguments), *_ in shards:
            epoch, _, before = arguments[:3]
            await self.empty.mset({keys[0]: epoch, keys[1]: before})
        for wire in self.raw:
            await wire.call("commit", ["none", "none"], ["", "", ""])  # which loads it, and connects

        async def send(wire: Wire, commits: Sequence[Commit]) -> None:
            for keys, arguments in commits:
                if await wire.call("commit", keys, arguments) != b"OK":
                    raise RuntimeError("Redis did not apply a commit that was sent again")

        start = time.perf_counter()
        await asyncio.gather(*map(send, self.raw, shards))
        return time.perf_counter() - start


@asynccontextmanager
async def open_stores(server: RedisProcess, directory: Path) -> AsyncIterator[Stores]:
    """Open a store in Redis and one in a directory, and close them on the way out."""
    recorder = Recorder()
    async with AsyncExitStack() as stack:
        with patch.object(lease, "Wire", recorder.wire):
            redis = await RedisStore.open(parse(server.url), RedisOptions(shards=SHARDS))
        stack.push_async_callback(redis.close)
        sqlite = SqliteStore.open(directory)
        stack.push_async_callback(sqlite.close)
        empty = Redis(port=server.port, db=REPLAY_DB)
        raw = [Wire(connect(parse(f"redis://{server.address}/{REPLAY_DB}"), "log")) for _ in range(SHARDS)]
        stack.push_async_callback(empty.aclose)
        for wire in raw:
            stack.push_async_callback(wire.aclose)
        yield Stores(redis, sqlite, recorder, empty, raw)


async def tenants(store: Store, name: str, count: int) -> list[str]:
    """Create tenants and return their uids."""
    return [(await store.create_tenant(f"{name} {i}", b"", b"", "")).uid for i in range(count)]


async def append(store: Store, uids: Sequence[str], load: Load, rng: random.Random) -> Run:
    """Have writers append records of one entry, to the tenants in turn, until all are acknowledged."""
    payloads = [_payload(i, rng.randbytes(load.size)) for i in range(load.records)]
    waiting = iter(list(enumerate(payloads)))
    latencies: list[float] = []

    async def write() -> None:
        for i, payload in waiting:
            asked = time.perf_counter()
            await store.append(uids[i % len(uids)], RecordKind.WRITE, b"", (payload,))
            latencies.append(time.perf_counter() - asked)

    start = time.perf_counter()
    await asyncio.gather(*(write() for _ in range(load.writers)))
    return Run(time.perf_counter() - start, latencies)


def _payload(number: int, data: bytes) -> Payload:
    return Payload(id=f"entry-{number}", content_hash=hashlib.sha256(data).digest(), data=data)
