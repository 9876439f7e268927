"""Erasures of several tenants go on together where they only wait for the store."""

import asyncio

from memsvc.engine.config import EngineConfig
from memsvc.engine.engine import Engine
from memsvc.store.clock import wall_clock_us
from memsvc.store.types import Destroyed
from tests.double.store import Data, MemoryStore
from tests.engine.conftest import create, state, turns

TENANTS = ("a", "b", "c")
PATIENCE_S = 60


class SlowStore(MemoryStore):
    """Its files are written anew once all tenants wait for it, as Redis's are for whoever waits."""

    def __init__(self) -> None:
        super().__init__(Data(), wall_clock_us)
        self._all = asyncio.Barrier(len(TENANTS))

    async def erase(self, uid: str, first_seq: int) -> Destroyed:
        await self._all.wait()
        return await super().erase(uid, first_seq)


async def test_tenants_share_what_the_store_takes_long_for() -> None:
    engine = Engine(SlowStore(), EngineConfig(encoder="kmer", threads=1, slots=4))
    await engine.start()
    for tenant in TENANTS:
        await create(engine, tenant)
        await engine.write(tenant, turns(20), applied=True)
        await create(engine, f"{tenant} without")
        await engine.write(f"{tenant} without", turns(20)[1:], applied=True)
    asked = [await engine.changes.forget(tenant, ["e0"], None, "") for tenant in TENANTS]
    async with asyncio.timeout(PATIENCE_S):
        for erasing in asked:
            while (await engine.changes.erasure(erasing.erasure.operation)).receipt is None:  # noqa: ASYNC110  # it is seen by asking
                await asyncio.sleep(0.01)
    for tenant in TENANTS:
        assert await state(engine, tenant) == await state(engine, f"{tenant} without")
    await engine.thread.call(engine.thread.ingest.check_integrity)
    await engine.close()
