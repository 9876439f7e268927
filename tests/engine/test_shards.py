"""Shards as the engine follows them: nothing is answered from what was open before another process had the tenant."""

import asyncio

import pytest

from memsvc.engine.config import EngineConfig
from memsvc.engine.engine import Engine
from memsvc.engine.past import Moment
from memsvc.errors import UnavailableError
from memsvc.store.clock import wall_clock_us
from memsvc.store.redis.fence import NotOwnerError
from memsvc.store.types import RecordKind, ShardChange, ShardEvent
from tests.double.store import Data, MemoryStore
from tests.engine.conftest import create, payload, turns


class LentStore(MemoryStore):
    """A store of one shard, which a test takes away and gives back."""

    def __init__(self) -> None:
        super().__init__(Data(), wall_clock_us)
        self.epoch, self.elsewhere, self.released = 1, False, asyncio.Event()

    def term(self, uid: str) -> int:
        if self.elsewhere:
            raise NotOwnerError("there:1")
        return self.epoch

    async def release(self, shard: int) -> None:
        self.released.set()

    def tell(self, event: ShardEvent) -> None:
        self._changes.put_nowait(ShardChange(shard=0, event=event))


@pytest.fixture
async def lent():
    store = LentStore()
    engine = Engine(store, EngineConfig(encoder="kmer", threads=1, slots=4))
    await engine.start()
    yield engine, store
    await engine.thread.call(engine.thread.ingest.check_integrity)
    await engine.close()


async def found(engine: Engine, query: str, **how) -> list[str]:
    recalled = await engine.reads.recall("t", query, k=10, **how)
    return [hit.entry.payload.id for hit in recalled.hits]


async def test_what_another_owner_wrote_is_recalled_before_the_change_is_followed(lent) -> None:
    engine, store = lent
    await create(engine)
    await engine.write("t", turns(3), applied=True)
    assert len(await found(engine, "thing", as_of=Moment(seq=2))) == 3
    uid = (await engine.get_tenant("t")).uid
    # Another process had the shard, and wrote; it is back, and nobody told the engine yet.
    await store.append(uid, RecordKind.WRITE, b"", (payload("theirs", "turn 9: thing of the others"),))
    store.epoch += 1
    answers = await asyncio.gather(*(found(engine, "thing") for _ in range(8)))
    assert all("theirs" in ids and len(ids) == 4 for ids in answers)
    assert len(await found(engine, "thing", as_of=Moment(seq=2))) == 3
    await engine.write("t", turns(1, start=20), applied=True)
    assert len(await found(engine, "thing")) == 5


async def test_nothing_is_recalled_of_a_shard_that_is_another_process_s(lent) -> None:
    engine, store = lent
    await create(engine)
    await engine.write("t", turns(3), applied=True)
    store.elsewhere = True
    with pytest.raises(NotOwnerError, match="there:1"):
        await found(engine, "thing")
    with pytest.raises(NotOwnerError):
        await engine.reads.stats("t", state_hash=True)
    store.elsewhere = False  # it was only not certain
    assert len(await found(engine, "thing")) == 3


async def test_a_shard_that_is_wanted_is_given_though_its_tenants_cannot_be_let_go(lent, monkeypatch) -> None:
    engine, store = lent
    await create(engine)
    await engine.write("t", turns(3), applied=True)

    async def fail(*_: object) -> None:
        raise RuntimeError("broken")

    with monkeypatch.context() as broken:
        broken.setattr(engine.keeper, "snapshot", fail)
        store.tell(ShardEvent.WANTED)
        await asyncio.wait_for(store.released.wait(), 30)
    store.tell(ShardEvent.TAKEN)
    assert len(await found(engine, "thing")) == 3


async def test_who_waits_while_a_shard_is_lost_hears_so(lent) -> None:
    engine, store = lent
    await create(engine)
    async with engine.using("t") as opened:
        await opened.wait_applied(opened.head_seq)
        waiting = asyncio.create_task(opened.wait_change(opened.applied_seq))
        await asyncio.sleep(0)
        store.tell(ShardEvent.LOST)
        with pytest.raises(UnavailableError):
            await asyncio.wait_for(waiting, 30)
