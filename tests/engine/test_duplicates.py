"""Duplicates merged: learnt once, recalled once, and each entry still its own."""

import asyncio

import numpy as np
import pytest

from memsvc.engine.engine import Engine
from memsvc.recall.filter import Filter
from memsvc.tenant.policies import Policies
from tests.engine.conftest import create, payload, running, state, turns
from tests.engine.test_erasure import erased
from tests.engine.test_expiry import gone
from tests.engine.test_resampling import listed

MERGE = Policies(duplicates="merge")
FROZEN = "the river froze over at noon"


async def hits(engine: Engine, query: str = FROZEN, k: int = 3, **asked) -> list[tuple[str, tuple[str, ...]]]:
    found = await engine.reads.recall("t", query, k=k, **asked)
    return [(hit.entry.payload.id, hit.also) for hit in found.hits]


async def figures(engine: Engine, tenant: str = "t"):
    return await engine.reads.stats(tenant, state_hash=False)


async def test_copies_crowd_nobody_out_and_cost_one_learning(engine: Engine) -> None:
    await create(engine, policies=MERGE)
    await engine.write("t", turns(20), applied=True)
    written = await engine.write("t", [payload("a", FROZEN)], applied=True)
    assert written.surprise is not None
    assert written.surprise[0] is not None
    once = await figures(engine)
    copies = [payload(f"c{i}", FROZEN.upper(), session=f"s{i}") for i in range(10)]
    written = await engine.write("t", copies, applied=True)
    assert written.surprise == (None,) * 10
    found = await hits(engine)
    assert found[0][0] in {"a", *(p.id for p in copies)}
    assert len(found[0][1]) == 10
    assert all(id.startswith("e") and also == () for id, also in found[1:])
    stats = await figures(engine)
    assert (stats.entries, stats.merged, stats.passages) == (31, 10, once.passages)
    assert stats.totals == once.totals
    assert (await listed(engine))[-11:] == ["a", *(f"c{i}" for i in range(10))]


async def test_filters_and_neighbours_are_each_entrys_own(engine: Engine) -> None:
    await create(engine, policies=MERGE)
    await engine.write(
        "t", [payload("x", "before it", session="one"), payload("a", FROZEN, session="one", role="user")]
    )
    await engine.write("t", [payload("b", f" {FROZEN}", session="two", role="bot", metadata_json='{"n": 2}')])
    await engine.write("t", [payload("y", "after it", session="two"), *turns(10)], applied=True)
    for filter, id in (
        (Filter(session="one"), "a"),
        (Filter.parse(role="bot"), "b"),
        (Filter.parse(metadata_json='{"n": {"$gt": 1}}'), "b"),
    ):
        found = await engine.reads.recall("t", FROZEN, k=1, filter=filter, neighbours=1)
        (hit,) = found.hits
        assert (hit.entry.payload.id, hit.also) == (id, ())
        around = [e.payload.id for e in (*hit.before, *hit.after)]
        assert around == (["x"] if id == "a" else ["y"])
    assert (await engine.reads.get_entry("t", "b")).payload.data != (
        await engine.reads.get_entry("t", "a")
    ).payload.data


async def test_what_happens_to_one_leaves_the_others(engine: Engine) -> None:
    await create(engine, policies=MERGE)
    await engine.write("t", [*turns(10), payload("a", FROZEN), payload("b", FROZEN), payload("c", FROZEN)])
    await engine.changes.delete_entry("t", "a", "")
    assert await hits(engine, k=1) == [("b", ("c",))]
    await engine.changes.update_entry("t", payload("c", "something else altogether"), "")
    assert await hits(engine, k=1) == [("b", ())]
    assert (await hits(engine, "something else altogether", k=1))[0] == ("c", ())
    await engine.write("t", [payload("d", FROZEN)], applied=True)
    assert await hits(engine, k=1) == [("b", ("d",))]
    await engine.changes.delete_entry("t", "d", "")
    await engine.changes.delete_entry("t", "b", "")
    assert all(id.startswith("e") or id == "c" for id, _ in await hits(engine))
    before = await figures(engine)
    await engine.write("t", [payload("f", FROZEN)], applied=True)
    assert (await figures(engine)).totals.tokens > before.totals.tokens, "nobody had it any more"
    verified = await engine.changes.verify("t")
    assert verified.state_hash == verified.folded_hash


async def test_an_entry_that_is_rated_lives_on(engine: Engine) -> None:
    await create(engine, policies=MERGE)
    await engine.write("t", [*turns(5), payload("a", FROZEN)])
    await engine.changes.feedback("t", ["a"], "", useful=True)
    await engine.write("t", [payload("b", FROZEN)])
    assert len((await hits(engine, k=1))[0][1]) == 1


async def test_an_entry_that_expires_leaves_its_repeats(engine: Engine) -> None:
    await create(engine, policies=MERGE)
    await engine.write("t", [*turns(5), payload("a", FROZEN, expire_us=1), payload("b", FROZEN)], applied=True)
    assert await gone(engine, "a") == "EXPIRED"
    assert await hits(engine, k=1) == [("b", ())]


async def test_a_revision_of_the_same_text_stays_found(engine: Engine) -> None:
    await create(engine, policies=MERGE)
    await engine.write("t", [*turns(5), payload("a", FROZEN)])
    await engine.changes.update_entry("t", payload("a", FROZEN, session="moved"), "")
    assert await hits(engine, k=1, filter=Filter(session="moved")) == [("a", ())]


async def test_what_does_not_learn_survives_the_text_it_shared(tmp_path) -> None:
    async with running(tmp_path / "d", snapshot_min_tokens=1) as engine:
        await create(engine, policies=MERGE)
        await engine.write("t", [*turns(5), *(payload(id, FROZEN, learn=False) for id in "ab"), payload("c", FROZEN)])
        assert [also for _, also in await hits(engine, k=2)].count(("b",)) == 1
        assert (await figures(engine)).merged == 1
        await engine.changes.delete_entry("t", "a", "")
        assert {id for id, _ in await hits(engine, k=2)} == {"b", "c"}
        verified = await engine.changes.verify("t")
        assert verified.state_hash == verified.folded_hash
    async with running(tmp_path / "d") as engine:
        assert {id for id, _ in await hits(engine, k=2)} == {"b", "c"}


async def test_vectors_that_differ_keep_a_text_apart(engine: Engine) -> None:
    await create(engine, policies=MERGE)
    one, two = np.eye(engine.thread.runner.encoder.dim, dtype="<f4")[:2]
    vectors = {"a": one, "b": two, "c": one}
    await engine.write("t", [payload(id, FROZEN, vector=v.tobytes()) for id, v in vectors.items()], applied=True)
    await engine.write("t", [payload("d", FROZEN)], applied=True)
    assert sorted(also for _, also in await hits(engine, k=9)) in ([(), (), ("a",)], [(), (), ("c",)])


async def test_forgetting_the_first_makes_the_next_the_first(tmp_path) -> None:
    """The state is that of a tenant that never got it: the text is learnt where it was written next."""
    async with running(tmp_path / "d", snapshot_min_tokens=1) as engine:
        for tenant in ("t", "twin"):
            await create(engine, tenant, policies=MERGE)
            if tenant == "t":
                await engine.write(tenant, [payload("first", FROZEN, session="secret")])
            await engine.write(tenant, turns(20))
            await engine.write(tenant, [payload("next", f"{FROZEN} "), payload("last", FROZEN)])
            await engine.write(tenant, turns(20, start=20))
        assert await state(engine) != await state(engine, "twin")
        forgetting = await engine.changes.forget("t", ["first"], None, "")
        assert await hits(engine, k=1) in ([("next", ("last",))], [("last", ("next",))])
        await erased(engine, forgetting.erasure.operation)
        assert await state(engine) == await state(engine, "twin")
        assert (await figures(engine)).merged == (await figures(engine, "twin")).merged == 1
        for tenant in ("t", "twin"):
            await engine.write(tenant, [payload("new", FROZEN)])
        assert await state(engine) == await state(engine, "twin")
        assert (await engine.changes.verify("t")).folded_hash == await state(engine, "twin")


async def test_the_policy_holds_from_its_record_on(tmp_path) -> None:
    async with running(tmp_path / "d", snapshot_min_tokens=1) as engine:
        await create(engine)
        await engine.write("t", [*turns(5), payload("a", FROZEN), payload("b", FROZEN)])
        await engine.changes.update_tenant("t", {}, "", {"duplicates": "merge"})
        assert (await engine.reads.stats("t", state_hash=False)).policies.duplicates == "merge"
        await engine.write("t", [payload("c", FROZEN), payload("d", FROZEN)])
        assert sorted(len(also) for _, also in await hits(engine, k=2)) == [0, 2]
    async with running(tmp_path / "d") as engine:
        await engine.write("t", [payload("e", FROZEN)])
        assert sorted(len(also) for _, also in await hits(engine, k=2)) == [0, 3]
        await engine.changes.update_tenant("t", {}, "", {"duplicates": "keep"})
        await engine.write("t", [payload("f", FROZEN)])
        assert sorted(len(also) for _, also in await hits(engine, k=3)) == [0, 0, 3]
        verified = await engine.changes.verify("t")
        assert verified.state_hash == verified.folded_hash


@pytest.mark.parametrize("offload", [False, True])
async def test_writes_behind_a_change_of_policy_are_decided_by_what_holds_at_their_place(tmp_path, offload) -> None:
    """A change and what is written behind it are taken up in one go, while steps ahead of them may wait."""
    async with running(tmp_path / "d", offload=offload) as engine:
        await create(engine, policies=MERGE, chunk=16)
        for i in range(6):
            duplicates = "keep" if i % 2 == 0 else "merge"
            change = engine.changes.update_tenant("t", {}, "", {"duplicates": duplicates})
            writes = (engine.write("t", [payload(f"{id}{i}", FROZEN)]) for id in "abc")
            await asyncio.gather(engine.write("t", turns(3, start=3 * i)), change, *writes)
        assert await hits(engine, k=1)
        verified = await engine.changes.verify("t")
        assert verified.state_hash == verified.folded_hash
        assert (await figures(engine)).entries == 36
