"""The stores that must conform, and what the suites share."""

import atexit
import hashlib
import tempfile
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path

from memsvc.store.base import Store
from memsvc.store.redis.store import RedisOptions, RedisStore
from memsvc.store.redis.url import parse
from memsvc.store.sqlite import SqliteOptions, SqliteStore
from memsvc.store.types import Appended, Payload, RecordKind
from tests.double.store import Data, MemoryStore
from tests.redis_server import RedisServer

DAY_US = 24 * 3600 * 1_000_000


class Clock:
    """A wall clock that a test moves, also backwards."""

    def __init__(self) -> None:
        self.now_us = 1_700_000_000_000_000

    def __call__(self) -> int:
        return self.now_us


StoreFactory = Callable[[Path, Clock], Awaitable[Store]]


async def open_sqlite(directory: Path, clock: Clock) -> Store:
    return SqliteStore.open(directory, SqliteOptions(clock_us=clock))


@cache
def redis_for_tests() -> RedisServer:
    """A server for all of a session's tests, each with a prefix of its own."""
    server = RedisServer(Path(tempfile.mkdtemp()) / "redis").start()
    atexit.register(server.kill)
    return server


async def open_redis(directory: Path, clock: Clock) -> Store:
    prefix = "t" + hashlib.sha256(str(directory).encode()).hexdigest()[:12]
    address = parse(f"{redis_for_tests().url}?prefix={prefix}")
    return await RedisStore.open(address, RedisOptions(clock_us=clock, shards=1))


class Memories:
    """What stores in memory keep, by the directory that they would keep it in."""

    def __init__(self) -> None:
        self._kept: dict[Path, Data] = defaultdict(Data)

    async def open(self, directory: Path, clock: Clock) -> Store:
        return MemoryStore(self._kept[directory], clock)


FACTORIES: dict[str, StoreFactory] = {"memory": Memories().open, "redis": open_redis, "sqlite": open_sqlite}


def payload(id: str, text: str = "", *, learn: bool = True, expire_us: int | None = None) -> Payload:
    """A payload whose content hash follows from its text."""
    data = f"data of {text}".encode()
    return Payload(id=id, content_hash=hashlib.sha256(data).digest(), data=data, learn=learn, expire_us=expire_us)


def size_of(payload: Payload) -> int:
    """What destroying a payload destroys."""
    return len(payload.id.encode()) + len(payload.content_hash) + len(payload.data)


async def write(store: Store, uid: str, *payloads: Payload) -> Appended:
    return await store.append(uid, RecordKind.WRITE, b"", payloads)
