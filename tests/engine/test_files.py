"""A tenant as a file: out of one deployment and into another."""

import asyncio
from dataclasses import replace

import msgpack
import pytest

from memsvc.engine.engine import Engine
from memsvc.engine.past import Moment
from memsvc.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError, UnavailableError
from memsvc.store.types import Retention
from memsvc.tenant.archive import Reader, Writer
from memsvc.tenant.policies import Policies
from tests.engine.conftest import create, payload, running, state, turns
from tests.engine.test_erasure import erased
from tests.engine.test_past import answers, ids


async def exported(engine: Engine, tenant: str = "t") -> bytes:
    return b"".join([part async for part in engine.copies.export(tenant)])


async def imported(
    engine: Engine,
    data: bytes,
    as_tenant: str = "",
    request_id: str = "",
    *,
    rebuild: bool = False,
    step: int = 1000,
):
    async def parts():
        for at in range(0, len(data), step):
            yield data[at : at + step]

    return await engine.copies.import_(parts(), as_tenant, request_id, lambda tenant: None, rebuild=rebuild)


async def fill(engine: Engine) -> None:
    await create(engine, policies=Policies(max_entries=35))
    for start in range(0, 40, 10):
        await engine.write("t", turns(10, start), applied=True)
    await engine.changes.update_entry("t", payload("e39", "revised"), "")
    await engine.changes.delete_entry("t", "e38", "")
    await engine.changes.feedback("t", ["e39"], "", useful=True)
    await engine.changes.forget("t", ["e37"], None, "")


@pytest.mark.parametrize("rebuild", [False, True])
async def test_it_is_the_same_elsewhere(tmp_path, rebuild) -> None:
    async with running(tmp_path / "a", snapshot_min_tokens=1) as engine:
        await fill(engine)
        while await engine.store.unfinished_erasures():
            await engine.thread.call(lambda: None)
        async with engine.using("t") as opened:
            await engine.keeper.snapshot(opened)
        before, said, listed, data = (
            await state(engine),
            await answers(engine, "t"),
            await ids(engine),
            await exported(engine),
        )
    assert (b"turn 36:" in data, b"turn 37:" in data) == (True, False), "what is forgotten is in no file"
    async with running(tmp_path / "b") as engine:
        made = await imported(engine, data, rebuild=rebuild)
        assert (made.row.tenant, made.adopted) == ("t", False)
        assert (await state(engine), await answers(engine, "t"), await ids(engine)) == (before, said, listed)
        verified = await engine.changes.verify("t")
        assert verified.state_hash == verified.folded_hash
        with pytest.raises(FailedPreconditionError, match="forgotten"):
            await engine.write("t", [payload("e37", "again")])
        assert (await engine.write("t", turns(10))).skipped == (True,) * 10
        with pytest.raises(AlreadyExistsError):
            await imported(engine, data)
        await imported(engine, data, "other")
        assert await state(engine, "other") == before


async def test_a_refused_file_leaves_nothing(tmp_path) -> None:
    async with running(tmp_path / "a", snapshot_min_tokens=1) as engine:
        await create(engine)
        await engine.write("t", [*turns(30), payload("x", "a word like floccinaucinihilipilification")], applied=True)
        data = await exported(engine)
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 1
    async with running(tmp_path / "b") as engine:
        for bad in (bytes(damaged), data[:-1], data[: len(data) // 2], b"", data[8:], data[:7] + b"\x02" + data[8:]):
            with pytest.raises(InvalidArgumentError) as caught:
                await imported(engine, bad)
            assert caught.value.reason == "ARCHIVE_REFUSED"
        assert await engine.store.list_tenants("", 10) == []
        assert (await imported(engine, data)).row.tenant == "t", "the name is free"
        await engine.delete_tenant("t", "")
    for file in (tmp_path / "b").iterdir():
        assert b"floccinaucini" not in file.read_bytes()


async def test_a_snapshot_of_other_numerics_is_adopted_or_left(tmp_path) -> None:
    async with running(tmp_path / "a", snapshot_min_tokens=1) as engine:
        await create(engine)
        await engine.write("t", turns(30), applied=True)
        engine.thread.runner.fingerprint = "other"
        async with engine.using("t") as opened:
            opened.view.fingerprint = "other"
            await engine.keeper.snapshot(opened)
        before, data = await state(engine), await exported(engine)
    async with running(tmp_path / "b") as engine:
        adopted, rebuilt = await imported(engine, data), await imported(engine, data, "rebuilt", rebuild=True)
        assert (adopted.adopted, rebuilt.adopted) == (True, False)
        assert await state(engine) == before == await state(engine, "rebuilt")
        for tenant in ("t", "rebuilt"):
            stats = await engine.reads.stats(tenant, state_hash=False)
            assert stats.fingerprint == engine.thread.runner.fingerprint


@pytest.mark.parametrize("as_tenant", ["", "other"])
async def test_a_file_comes_in_once(engine: Engine, as_tenant) -> None:
    """Whoever asks again has the tenant of the first time, from the file's beginning alone."""
    await create(engine)
    await engine.write("t", turns(30), applied=True)
    data = await exported(engine)
    await engine.delete_tenant("t", "")
    made = await imported(engine, data, as_tenant, "i")
    assert await imported(engine, data, as_tenant, "i") == made
    assert await imported(engine, data[:1000], as_tenant, "i") == made
    await engine.write(made.row.tenant, turns(1, 50), applied=True)
    assert (await imported(engine, data, as_tenant, "i")).row.uid == made.row.uid
    assert "e50" in await ids(engine, made.row.tenant)
    for request_id in ("", "i2"):
        with pytest.raises(AlreadyExistsError):
            await imported(engine, data, as_tenant, request_id)
    with pytest.raises(FailedPreconditionError) as caught:
        await imported(engine, data, "a third", "i")
    assert caught.value.reason == "REQUEST_ID_REUSED"
    assert len(await engine.store.list_tenants("", 10)) == 1


async def test_of_the_same_request_at_once_one_makes_the_tenant(tmp_path) -> None:
    async with running(tmp_path / "d") as engine:
        await create(engine)
        word = payload("x", "a word like floccinaucinihilipilification")
        await engine.write("t", [*turns(30), word], applied=True)
        data = await exported(engine)
        made = await asyncio.gather(*(imported(engine, data, "other", "i") for _ in range(3)))
        assert len({each.row.uid for each in made}) == 1
        restored = await asyncio.gather(
            *(engine.copies.restore("t", Moment(seq=2), "restored", "r") for _ in range(3)),
        )
        assert len({each.uid for each in restored}) == 1
        for tenant in ("t", "other", "restored"):
            await engine.delete_tenant(tenant, "")
        for file in (tmp_path / "d").iterdir():
            assert b"floccinaucini" not in file.read_bytes(), "nothing is left of the others"


async def test_what_is_forgotten_as_an_export_begins_is_in_a_file_that_is_taken(tmp_path) -> None:
    async with running(tmp_path / "a") as engine:
        await create(engine)
        await engine.write("t", turns(5))
        note_copy, forgetting = engine.store.note_copy, []

        async def noting(uid: str, copy: str) -> None:
            await note_copy(uid, copy)
            forgetting.append(asyncio.create_task(engine.changes.forget("t", ["e3"], None, "")))
            await asyncio.wait(forgetting, timeout=0.3)

        engine.store.note_copy = noting
        data = await exported(engine)
        await forgetting[0]
    async with running(tmp_path / "b") as engine:
        assert (await imported(engine, data)).head_seq == 2, "it came after the export"


@pytest.fixture
def small_pages(monkeypatch) -> None:
    monkeypatch.setattr("memsvc.engine.copies.PAGE_BYTES", 4000)


async def test_an_entry_that_is_replaced_while_its_tenant_is_exported_is_in_the_file(tmp_path, small_pages) -> None:
    async with running(tmp_path / "a") as engine:
        await create(engine)
        await engine.write("t", turns(200))
        await engine.write("t", [payload("key", "value 0", learn=False), payload("other", "it", learn=False)])
        data = b""
        async for part in engine.copies.export("t"):
            if data.count(b"value") == 0:
                for value in range(2):
                    await engine.changes.update_entry("t", payload("key", f"value {value}", learn=False), "")
                await engine.write("t", turns(1, 500))
            data += part
        head = (await engine.reads.stats("t", state_hash=False)).head_seq
    async with running(tmp_path / "b") as engine:
        made = await imported(engine, data)
        assert 3 < made.head_seq < head, "no further than it has to"
        assert {"key", "other"} <= set(await ids(engine))
        assert b"value 1" in (await engine.reads.get_entry("t", "key")).payload.data


async def test_an_export_ends_though_a_tenant_is_written_all_the_time(engine: Engine, small_pages) -> None:
    await create(engine)
    await engine.write("t", turns(200))
    await engine.write("t", [payload("key", "value", learn=False)])
    parts = 0
    async for _ in engine.copies.export("t"):
        parts += 1
        assert parts < 20
        await engine.changes.update_entry("t", payload("key", f"value {parts}", learn=False), "")


async def test_an_export_that_settings_overtake_begins_anew(engine: Engine, small_pages) -> None:
    await create(engine)
    await engine.write("t", turns(200))
    await engine.write("t", [payload("key", "value", learn=False)])
    parts = engine.copies.export("t")
    await anext(parts)
    await engine.changes.update_entry("t", payload("key", "another", learn=False), "")
    await engine.changes.update_tenant("t", {}, "", {"ttl_us": 1_000_000_000})
    with pytest.raises(UnavailableError) as caught:
        async for _ in parts:
            pass
    assert caught.value.reason == "EXPORT_OVERTAKEN"


@pytest.mark.parametrize(
    ("numbers", "about", "taken"),
    [
        ((1000, 1001), (), True),
        ((1, 2000), (), False),
        ((1 << 53,), (), False),
        ((2002,), (), False),
        ((1002,), (1001,), False),
    ],
)
async def test_numbers_that_no_server_gives_are_refused(engine: Engine, numbers, about, taken) -> None:
    """A store goes through them, one after another, as when it deletes the tenant."""
    await create(engine)
    await engine.write("t", turns(1))
    await engine.write("t", turns(2, 1))
    header, *records = Reader(most_snapshot_bytes=None).feed(await exported(engine))
    entries = (replace(e, number=n) for e, n in zip(records[-1].entries, numbers, strict=False))
    records[-1] = replace(records[-1], entries=tuple(entries), about=about)
    writer = Writer()
    data = b"".join([writer.begin(header), *map(writer.record, records), writer.end()])
    if taken:
        assert (await imported(engine, data, "copy")).head_seq == 3
        return
    with pytest.raises(InvalidArgumentError, match=r"no server gives|not there yet"):
        await imported(engine, data, "copy")


async def test_the_snapshot_in_a_file_is_that_of_its_records(tmp_path, small_pages) -> None:
    async with running(tmp_path / "a", snapshot_min_tokens=1) as engine:
        await create(engine, policies=Policies(snapshots="all"), chunk=16)
        for i in range(4):
            await engine.write("t", turns(50, 50 * i), applied=True)
        async with engine.using("t") as opened:
            await engine.keeper.snapshot(opened)
        data = b""
        async for part in engine.copies.export("t"):
            if b"turn 60:" in part:
                forgotten = await engine.changes.forget("t", ["e10"], None, "")
                await erased(engine, forgotten.erasure.operation)
                for _ in range(300):
                    if (await engine.store.load(opened.uid, 6)).snapshot is not None:  # it is made again
                        break
                    await asyncio.sleep(0.1)
            data += part
        assert b"turn 10:" in data, "it was read before"
    async with running(tmp_path / "b") as engine:
        await imported(engine, data)
        verified = await engine.changes.verify("t")
        assert verified.state_hash == verified.folded_hash


async def test_a_snapshot_that_says_too_much_is_refused_in_a_file_and_passed_over_in_the_store(tmp_path) -> None:
    async with running(tmp_path / "a", snapshot_min_tokens=1) as engine:
        await create(engine)
        await engine.write("t", turns(30), applied=True)
        async with engine.using("t") as opened:
            await engine.keeper.snapshot(opened)
        before, data = await state(engine), await exported(engine)
        reader = Reader(most_snapshot_bytes=1 << 30)
        header, *records = reader.feed(data)
        said = msgpack.unpackb(reader.snapshot().meta)
        crafted = replace(reader.snapshot(), meta=msgpack.packb({**said, "more": [[]] * 100_000}))
        writer = Writer()
        parts = [writer.begin(header), *map(writer.record, records), *writer.snapshot(crafted), writer.end()]
        with pytest.raises(InvalidArgumentError, match="damaged") as caught:
            await imported(engine, b"".join(parts), "copy")
        assert caught.value.reason == "ARCHIVE_REFUSED"
        assert (await imported(engine, b"".join(parts), "copy", rebuild=True)).head_seq == len(records)
        assert await state(engine, "copy") == before
        row = await engine.store.get_tenant("t")
        await engine.store.save(row.uid, replace(crafted, seq=len(records)), Retention.NONE)
    async with running(tmp_path / "a") as engine:
        assert await state(engine) == before
        assert any(
            "does not fit together" in each for each in (await engine.reads.stats("t", state_hash=False)).warnings
        )
