"""An engine on an embedded store, with the encoder that needs no model."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from memsvc.engine.config import EngineConfig
from memsvc.engine.engine import Engine
from memsvc.memory.config import MemoryConfig
from memsvc.store.sqlite import SqliteStore
from memsvc.store.types import Payload
from memsvc.tenant.policies import Policies
from memsvc.tenant.record import Content, encode_payload


@asynccontextmanager
async def running(directory: Path, **changes) -> AsyncIterator[Engine]:
    """An engine with its store; what is left open at the end is closed, snapshots included."""
    store = SqliteStore.open(directory)
    engine = Engine(store, EngineConfig(**{"encoder": "kmer", "threads": 1, "slots": 4, **changes}))
    await engine.start()
    try:
        yield engine
        await engine.thread.call(engine.thread.ingest.check_integrity)
    finally:
        await engine.close()
        await store.close()


@pytest.fixture
async def engine(tmp_path) -> AsyncIterator[Engine]:
    async with running(tmp_path / "data") as engine:
        yield engine


def payload(id: str, text: str, **fields) -> Payload:
    return encode_payload(id, Content(text=text, **fields))


def turns(n: int, start: int = 0, session: str = "s") -> list[Payload]:
    """n turns of a conversation about numbered things."""
    return [
        payload(f"e{i}", f"turn {i}: thing {i * 7919 % 1009} met thing {i * 104729 % 997} at noon", session=session)
        for i in range(start, start + n)
    ]


async def create(engine: Engine, tenant: str = "t", policies: Policies | None = None, **memory) -> None:
    await engine.create_tenant(tenant, MemoryConfig(**memory), f"create-{tenant}", policies)


async def state(engine: Engine, tenant: str = "t") -> str:
    """The tenant's state hash once everything committed is applied."""
    return (await engine.reads.stats(tenant, state_hash=True)).state_hash
