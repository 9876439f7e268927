"""The stores that must conform, and what the suites share."""

import hashlib
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path

from memsvc.store.base import Store
from memsvc.store.sqlite import SqliteOptions, SqliteStore
from memsvc.store.types import Appended, Payload, RecordKind
from tests.double.store import Data, MemoryStore

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


class Memories:
    """What stores in memory keep, by the directory that they would keep it in."""

    def __init__(self) -> None:
        self._kept: dict[Path, Data] = defaultdict(Data)

    async def open(self, directory: Path, clock: Clock) -> Store:
        return MemoryStore(self._kept[directory], clock)


FACTORIES: dict[str, StoreFactory] = {"sqlite": open_sqlite, "memory": Memories().open}


def payload(id: str, text: str = "", *, learn: bool = True, expire_us: int | None = None) -> Payload:
    """A payload whose content hash follows from its text."""
    data = f"data of {text}".encode()
    return Payload(id=id, content_hash=hashlib.sha256(data).digest(), data=data, learn=learn, expire_us=expire_us)


def size_of(payload: Payload) -> int:
    """What destroying a payload destroys."""
    return len(payload.id.encode()) + len(payload.content_hash) + len(payload.data)


async def write(store: Store, uid: str, *payloads: Payload) -> Appended:
    return await store.append(uid, RecordKind.WRITE, b"", payloads)
