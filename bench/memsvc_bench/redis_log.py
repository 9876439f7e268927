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
from memsvc.store.redis.address import Address
from memsvc.store.redis.scripts import script
from memsvc.store.redis.store import RedisOptions, RedisStore
from memsvc.store.redis.url import Connection, Purpose, connect, parse
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


COMMIT_ARGUMENTS = 4


class Recorder:
    """Remembers the commits that a store sends: of each shard in order."""

    def __init__(self) -> None:
        self._commits: dict[int, list[Commit]] = {}

    def connect(self, address: Address, purpose: Purpose) -> Connection:
        """Return a client like `url.connect`, whose calls of scripts are remembered."""
        connection = connect(address, purpose)
        commits = self._commits.setdefault(len(self._commits), [])
        evalsha = connection.evalsha

        def remembering(sha: str, count: int, *given: Any) -> Any:
            if len(given) - count == COMMIT_ARGUMENTS:  # else the lease is renewed
                commits.append(Commit(given[:count], given[count:]))
            return evalsha(sha, count, *given)

        connection.evalsha = remembering  # type: ignore[assignment,method-assign]  # of this one client
        return connection

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
    raw: Sequence[Redis]
    """Clients of the database where commits are sent again, one for each shard."""

    async def replay(self, shards: Sequence[Sequence[Commit]]) -> float:
        """Send commits again, to a database that is empty: each shard's in order, the shards side by side.

        Returns:
            the seconds that it took.

        Raises:
            RuntimeError: Redis did not apply one.
        """
        await self.raw[0].flushdb()
        calls = [script(client, "commit") for client in self.raw]
        for (keys, arguments), *_ in shards:
            epoch, _, before = arguments[:3]
            await self.raw[0].mset({keys[0]: epoch, keys[1]: before})
        for call in calls:
            await call(["none", "none"], ["", "", ""])  # which loads it, and connects

        async def send(call: Any, commits: Sequence[Commit]) -> None:
            for keys, arguments in commits:
                if await call(keys, arguments) != b"OK":
                    raise RuntimeError("Redis did not apply a commit that was sent again")

        start = time.perf_counter()
        await asyncio.gather(*map(send, calls, shards))
        return time.perf_counter() - start


@asynccontextmanager
async def open_stores(server: RedisProcess, directory: Path) -> AsyncIterator[Stores]:
    """Open a store in Redis and one in a directory, and close them on the way out."""
    recorder = Recorder()
    async with AsyncExitStack() as stack:
        with patch.object(lease, "connect", recorder.connect):
            redis = await RedisStore.open(parse(server.url), RedisOptions(shards=SHARDS))
        stack.push_async_callback(redis.close)
        sqlite = SqliteStore.open(directory)
        stack.push_async_callback(sqlite.close)
        raw = [Redis(port=server.port, db=REPLAY_DB) for _ in range(SHARDS)]
        for client in raw:
            stack.push_async_callback(client.aclose)
        yield Stores(redis, sqlite, recorder, raw)


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
