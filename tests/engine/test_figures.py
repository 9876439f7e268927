"""What an engine counts and tells of itself: what is new once, and what is folded again nowhere but under that name."""

import asyncio
from collections import Counter, defaultdict

import pytest

from memsvc.engine.config import EngineConfig
from memsvc.engine.engine import Engine
from memsvc.engine.figures import gather
from memsvc.engine.shards import Shards
from memsvc.observer import WORK
from memsvc.store.sqlite import SqliteStore
from memsvc.store.types import ShardChange, ShardEvent
from tests.engine.conftest import create, payload, running, state, turns


class Listener:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: dict[str, list[tuple[float, float, object, dict[str, float]]]] = defaultdict(list)

    def request(self) -> object:
        return "this request"

    def took(self, what, began, ended, request=None, /, **figures) -> None:
        self.heard[what].append((began, ended, request, figures))


@pytest.fixture
async def watched(tmp_path):
    """An engine, and who listens to it."""
    listener = Listener()
    store = SqliteStore.open(tmp_path / "watched")
    engine = Engine(store, EngineConfig(encoder="kmer", threads=1, slots=4), listener)
    await engine.start()
    yield engine, listener
    await engine.close()
    await store.close()


async def test_the_way_of_a_record_is_told_in_order_and_adds_up(watched) -> None:
    engine, listener = watched
    await create(engine)
    await engine.write("t", turns(3), applied=True)
    await engine.reads.recall("t", "thing", k=1, max_tokens=50)
    ours = {what for what in WORK if not what.startswith("generate.")}
    assert listener.heard.keys() == ours, "everything that the engine may tell was told, and nothing else"
    (queue,), (encode,), (step,) = (listener.heard[f"write.{phase}"] for phase in ("queue", "encode", "step"))
    (whole,) = listener.heard["write.recallable"]
    assert whole[0] == queue[0] <= queue[1] == encode[0] <= encode[1] == step[0] <= step[1] == whole[1]
    assert queue[2:] == ("this request", {"entries": 3})
    assert {request for told in listener.heard.values() for _, _, request, _ in told} == {"this request"}


async def test_a_record_without_entries_has_no_way(watched) -> None:
    engine, listener = watched
    await create(engine)
    await engine.changes.hot_restart("t", "r")
    await state(engine)
    assert not listener.heard["write.recallable"]
    assert +Counter(engine.thread.ingest.counters.events) == {"restart": 1}


async def test_what_is_folded_again_is_not_counted_as_new(tmp_path) -> None:
    async with running(tmp_path / "data") as engine:
        await create(engine)
        await engine.write("t", turns(40), applied=True)
        await engine.changes.hot_restart("t", "r")
        await state(engine)
        counters = engine.thread.ingest.counters
        before = (counters.entries, counters.tokens, dict(counters.events))
        assert before[0] == 40
        assert +Counter(before[2]) == {"restart": 1}
        stepped = counters.stepped
        assert stepped > 0
        await engine.shut("t")
        assert await state(engine)
        assert (counters.entries, counters.tokens, counters.events) == before
        assert counters.stepped == 2 * stepped, "the memory stepped it again all the same"
        assert counters.refolded == 0
        assert (await engine.changes.verify("t")).seq
        assert counters.stepped == 2 * stepped
        assert counters.refolded == stepped


async def test_what_a_snapshot_has_need_not_be_replayed(tmp_path) -> None:
    async with running(tmp_path / "data", snapshot_min_tokens=1, snapshot_idle_s=1000.0) as engine:
        await create(engine)
        before = gather(engine)
        assert (before.hot, before.warm, before.unsaved_bytes, before.snapshot_age_s) == (0, 0, 0, 0)
        await engine.write("t", turns(40), applied=True)
        written = gather(engine)
        assert written.unsaved_bytes > sum(len(each.data) for each in turns(40))
        assert written.snapshot_age_s > 0
        assert written.hot + written.warm == 1
        await engine.keeper.snapshot(engine.opened()[0])
        saved = gather(engine)
        assert (saved.unsaved_bytes, saved.snapshot_age_s, saved.snapshots) == (0, 0, before.snapshots + 1)
        await engine.write("t", [payload("late", "one more thing")], applied=True)
        late = gather(engine).unsaved_bytes
        assert 0 < late < written.unsaved_bytes
        await engine.shut("t")
        await state(engine)
        assert gather(engine).unsaved_bytes == late, "what is opened again has it still to be saved"


async def test_shards_are_owned_until_they_are_lost_or_handed_over(tmp_path) -> None:
    async with running(tmp_path / "data") as engine:
        changes: asyncio.Queue[ShardChange] = asyncio.Queue()
        engine.shards = Shards(engine, Following(changes))
        engine.shards.start()
        seen = []
        for shard, event in (
            (1, ShardEvent.TAKEN),
            (2, ShardEvent.TAKEN),
            (1, ShardEvent.LOST),
            (2, ShardEvent.WANTED),
        ):
            changes.put_nowait(ShardChange(shard=shard, event=event))
            await asyncio.sleep(0.05)
            figures = gather(engine)
            seen.append((figures.shards, figures.shard_losses))
        assert seen == [(1, 0), (2, 0), (1, 1), (0, 1)]


class Following:
    """Of a store, what tells of shards."""

    def __init__(self, changes: "asyncio.Queue[ShardChange]") -> None:
        self.next_change = changes.get
        self.heads = self.seqs = self.release = self.list_tenants = self._nothing

    async def _nothing(self, *_: object) -> dict[str, int]:
        return {}


async def test_a_view_that_cannot_go_on_is_counted(tmp_path, monkeypatch) -> None:
    async with running(tmp_path / "data") as engine:
        await create(engine)
        await engine.write("t", turns(2), applied=True)
        opened = engine.opened()[0]

        def broken(*_: object) -> None:
            raise ValueError("planted")

        monkeypatch.setattr(opened.view, "finish", broken)
        with pytest.raises(Exception, match="folded afresh"):
            await engine.write("t", [payload("x", "another")], applied=True)
        assert engine.thread.ingest.counters.failures == 1
        assert await state(engine)
