"""Too many entries, as the owner of a tenant sees it: who leaves, what answers, who comes back."""

import pytest

from memsvc.engine.engine import Engine
from memsvc.errors import InvalidArgumentError, NotFoundError
from memsvc.recall.filter import Filter
from memsvc.tenant.policies import Policies
from tests.engine.conftest import create, payload, running, state, turns

EVERY = Filter.parse(session=None, role=None, after_us=None, before_us=None, metadata_json="")


async def listed(engine: Engine, *, evicted: bool = False) -> list[str]:
    page, more = await engine.reads.list_entries("t", 0, 1000, EVERY, 1 << 20, evicted=evicted)
    assert more is None
    return [entry.payload.id for entry in page]


async def fill(engine: Engine, n: int = 40, most: int = 30) -> None:
    await create(engine, policies=Policies(max_entries=most))
    for start in range(0, n, 10):
        await engine.write("t", turns(10, start), applied=True)


async def test_those_that_left_answer_so_and_stay_in_the_log(engine: Engine) -> None:
    await fill(engine)
    stats = await engine.reads.stats("t", state_hash=False)
    assert (stats.entries, stats.evicted) == (27, 13)
    stay, every = await listed(engine), await listed(engine, evicted=True)
    assert len(stay) == 27
    assert every == [f"e{i}" for i in range(40)]
    (gone, *_) = [id for id in every if id not in stay]
    with pytest.raises(NotFoundError) as caught:
        await engine.reads.get_entry("t", gone)
    assert caught.value.reason == "EVICTED"
    found = await engine.reads.recall("t", "thing met thing at noon", k=1000)
    assert {hit.entry.payload.id for hit in found.hits} == set(stay)
    (event,) = [e for e in await events(engine) if e.kind == "resampled"]
    assert event.figures == {"evicted": 13, "entries": 27}


async def events(engine: Engine) -> list:
    async with engine.using("t") as opened:
        return list(opened.view.events)


async def test_a_larger_number_brings_them_back(engine: Engine) -> None:
    await fill(engine)
    await engine.changes.update_tenant("t", {}, "", {"max_entries": 35})
    assert len(await listed(engine)) == 35
    await engine.changes.update_tenant("t", {}, "", {"max_entries": 100})
    assert await listed(engine) == [f"e{i}" for i in range(40)]
    assert [e.figures["entries"] for e in await events(engine) if e.kind == "returned"] == [8, 5]
    await engine.changes.update_tenant("t", {}, "", {"max_entries": 10})
    assert len(await listed(engine)) == 9


async def test_what_is_called_useful_stays(engine: Engine) -> None:
    await fill(engine, 30)
    async with engine.using("t") as opened:
        index = opened.view.index
        least = [index.number(int(i)) for i in index.importance().argsort()[:3]]
    wanted = [f"e{number - 1}" for number in least]
    for i in range(8):
        await engine.changes.feedback("t", wanted, f"r{i}", useful=True)
    again = await engine.changes.feedback("t", wanted, "r7", useful=True)
    assert again == (await engine.reads.stats("t", state_hash=False)).head_seq, "a retry counts once"
    await engine.write("t", turns(5, 30), applied=True)
    assert set(wanted) <= set(await listed(engine))
    with pytest.raises(NotFoundError):
        await engine.changes.feedback("t", ["e1", "never"], "", useful=True)


async def test_it_is_a_function_of_the_log(tmp_path) -> None:
    async with running(tmp_path / "d", snapshot_min_tokens=1) as engine:
        await fill(engine)
        await engine.changes.feedback("t", [(await listed(engine))[0]], "", useful=False)
        await engine.changes.update_tenant("t", {}, "", {"max_entries": 32})
        before, left = await state(engine), await listed(engine)
        verified = await engine.changes.verify("t")
        assert verified.state_hash == verified.folded_hash == before
    async with running(tmp_path / "d") as engine:
        assert (await state(engine), await listed(engine)) == (before, left)
        await engine.write("t", [payload("new", "a new thing")], applied=True)
        verified = await engine.changes.verify("t")
        assert verified.state_hash == verified.folded_hash


@pytest.mark.parametrize(
    ("policies", "field"),
    [({"max_entries": 0}, "max_entries"), ({"ttl_us": -1}, "ttl"), ({"snapshots": "x"}, "snapshots")],
)
async def test_a_policy_out_of_its_range_changes_nothing(engine: Engine, policies, field) -> None:
    await create(engine)
    with pytest.raises(InvalidArgumentError) as caught:
        await engine.changes.update_tenant("t", {"eta": 0.5}, "", policies)
    assert caught.value.field == f"policies.{field}"
    stats = await engine.reads.stats("t", state_hash=False)
    assert (stats.head_seq, stats.config.eta) == (1, 0.9)
