"""Entries with a time to live."""

import asyncio
import time

from memsvc.engine.engine import Engine
from memsvc.errors import NotFoundError
from memsvc.tenant.policies import Policies
from memsvc.tenant.record import decode_create
from tests.engine.conftest import create, payload, running, state, turns

SECOND_US = 1_000_000


async def gone(engine: Engine, id: str) -> str:
    """Wait until an entry does not answer any more; the reason."""
    for _ in range(100):
        try:
            await engine.reads.get_entry("t", id)
        except NotFoundError as error:
            return error.reason
        await asyncio.sleep(0.1)
    return "it lives"


async def test_an_entry_expires_by_itself_and_says_so(engine: Engine) -> None:
    await create(engine)
    soon = time.time_ns() // 1000 + SECOND_US
    await engine.write(
        "t", [payload("short", "a thing for a moment", expire_us=soon), payload("long", "a thing to keep")]
    )
    assert (await engine.reads.get_entry("t", "short")).payload.expire_us == soon
    assert await gone(engine, "short") == "EXPIRED"
    found = await engine.reads.recall("t", "a thing for a moment", k=10)
    assert [hit.entry.payload.id for hit in found.hits] == ["long"]
    async with engine.using("t") as opened:
        assert [(e.kind, e.figures) for e in opened.view.events] == [("expired", {"entries": 1})]
    verified = await engine.changes.verify("t")
    assert verified.state_hash == verified.folded_hash


async def test_a_tenants_time_to_live_holds_for_what_does_not_say_itself(engine: Engine) -> None:
    await create(engine, policies=Policies(ttl_us=SECOND_US))
    far = time.time_ns() // 1000 + 3600 * SECOND_US
    await engine.write("t", [payload("default", "one"), payload("own", "two", expire_us=far)])
    await engine.changes.update_entry("t", payload("own", "three", expire_us=far), "")
    assert await gone(engine, "default") == "EXPIRED"
    assert (await engine.reads.get_entry("t", "own")).payload.expire_us == far
    await engine.changes.update_entry("t", payload("own", "four"), "")
    assert await gone(engine, "own") == "EXPIRED"


async def test_a_retry_of_an_expired_write_is_known(engine: Engine) -> None:
    await create(engine, policies=Policies(ttl_us=SECOND_US))
    first = await engine.write("t", [payload("a", "one")])
    assert await gone(engine, "a") == "EXPIRED"
    again = await engine.write("t", [payload("a", "one")])
    assert (again.skipped, again.seqs) == ((True,), first.seqs)


async def test_what_falls_due_while_nobody_serves_expires_at_the_start(tmp_path) -> None:
    soon = time.time_ns() // 1000 + SECOND_US
    async with running(tmp_path / "d", snapshot_min_tokens=1) as engine:
        await create(engine)
        await engine.write("t", [*turns(20), payload("short", "gone soon", expire_us=soon)], applied=True)
        await state(engine)
    await asyncio.sleep(1.0)
    async with running(tmp_path / "d") as engine:
        assert await gone(engine, "short") == "EXPIRED"
        found = await engine.reads.recall("t", "gone soon", k=100)
        assert len(found.hits) == 20


async def test_the_time_to_live_of_now_holds_before_the_log_is_folded_again(tmp_path) -> None:
    async with running(tmp_path / "d") as engine:
        await create(engine)
        await engine.write("t", turns(20))
        await engine.changes.update_tenant("t", {}, "", {"ttl_us": SECOND_US})
    async with running(tmp_path / "d") as engine:
        await engine.write("t", [payload("first", "written before the view knows")])
        assert await gone(engine, "first") == "EXPIRED"
        (row,) = await engine.store.list_tenants("", 10)
        assert decode_create(row.config, 96)[2].ttl_us == SECOND_US


async def test_what_expires_while_its_tenant_is_opened_is_gone(engine: Engine, monkeypatch) -> None:
    await engine.keeper.stop()
    await create(engine)
    await engine.write("t", turns(3))
    soon = time.time_ns() // 1000 + SECOND_US // 10
    await engine.write("t", [payload("short", "a thing for a moment", expire_us=soon)], applied=True)
    await engine.shut("t")
    head, read, go = engine.store.head, asyncio.Event(), asyncio.Event()

    async def slow(uid: str) -> int:
        found = await head(uid)
        read.set()
        await go.wait()
        return found

    monkeypatch.setattr(engine.store, "head", slow)
    engine.prefetch("t")
    await read.wait()
    await asyncio.sleep(0.2)
    expiring = asyncio.create_task(engine.keeper._expire())
    await asyncio.sleep(0.1)
    go.set()
    await expiring
    found = await engine.reads.recall("t", "a thing for a moment", k=1)
    assert found.hits
    async with engine.using("t") as opened:
        assert opened.head_seq == await head(opened.uid)
        assert opened.pending_bytes == 0


async def test_a_round_that_failed_is_not_the_last(engine: Engine, monkeypatch) -> None:
    failed = asyncio.Event()

    async def fail() -> None:
        failed.set()
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(engine.residency, "round", fail)
    await create(engine)
    await asyncio.wait_for(failed.wait(), 10)
    soon = time.time_ns() // 1000 + SECOND_US
    await engine.write("t", [payload("short", "a thing for a moment", expire_us=soon)])
    assert await gone(engine, "short") == "EXPIRED"
