"""The log: what `Log` promises about records and entries, for every store."""

import asyncio

import pytest

from memsvc.errors import AlreadyExistsError, FailedPreconditionError, MemsvcError, NotFoundError, UnavailableError
from memsvc.store.types import Payload, RecordKind
from tests.conformance.stores import DAY_US, payload, write


async def test_entries_are_numbered_in_order(store, tenant, clock) -> None:
    clock.now_us += 5
    first = await write(store, tenant.uid, payload("a", "1"), payload("b", "2"))
    assert (first.seqs, first.numbers, first.skipped) == ((2, 2), (1, 2), (False, False))
    second = await write(store, tenant.uid, payload("c", "3"))
    assert (second.seqs, second.numbers) == ((3,), (3,))
    created, *written = await store.read(tenant.uid, 0, 1 << 20)
    assert created.seq == 1
    assert written == [first.record, second.record]
    assert [entry.payload for record in written for entry in record.entries] == [
        payload("a", "1"),
        payload("b", "2"),
        payload("c", "3"),
    ]
    assert written[0].commit_us == written[0].entries[0].commit_us == clock.now_us
    assert await store.head(tenant.uid) == 3
    assert await store.heads() == {tenant.uid: 3}


async def test_a_record_may_have_a_body_and_no_entries(store, tenant) -> None:
    appended = await store.append(tenant.uid, RecordKind.NUMERICS, b"\x00fingerprint\xff")
    assert (appended.seqs, appended.numbers, appended.skipped) == ((), (), ())
    assert (await store.read(tenant.uid, 1, 1 << 20)) == [appended.record]
    assert appended.record.body == b"\x00fingerprint\xff"


async def test_a_repeated_request_appends_nothing(store, tenant, reopen) -> None:
    first = await store.append(tenant.uid, RecordKind.CONFIGURE, b"body", request_id="r")
    assert (first.record.seq, first.seqs) == (2, ())
    await write(store, tenant.uid, payload("a"))
    for _ in range(2):
        again = await store.append(tenant.uid, RecordKind.CONFIGURE, b"body", request_id="r")
        assert (again.record, again.seqs, again.numbers, again.skipped) == (None, (2,), (), ())
        store = await reopen()
    assert await store.head(tenant.uid) == 3
    for kind, body in ((RecordKind.RESTART, b"body"), (RecordKind.CONFIGURE, b"other")):
        with pytest.raises(FailedPreconditionError) as caught:
            await store.append(tenant.uid, kind, body, request_id="r")
        assert caught.value.reason == "REQUEST_ID_REUSED"
    assert await store.head(tenant.uid) == 3


async def test_a_request_id_belongs_to_its_tenant_and_to_a_day(store, tenant, clock) -> None:
    other = await store.create_tenant("other", b"", b"", "")
    for uid in (tenant.uid, other.uid):
        assert (await store.append(uid, RecordKind.RESTART, request_id="r")).record.seq == 2
    clock.now_us += DAY_US - 1
    assert (await store.append(tenant.uid, RecordKind.RESTART, request_id="r")).seqs == (2,)
    clock.now_us += 1
    assert (await store.append(tenant.uid, RecordKind.RESTART, request_id="r")).record.seq == 3
    for seq in (4, 5):
        assert (await store.append(tenant.uid, RecordKind.RESTART, request_id="")).record.seq == seq
    await store.delete_tenant(other.uid, "")
    with pytest.raises(NotFoundError):
        await store.append(other.uid, RecordKind.RESTART, request_id="r")


async def test_bytes_come_back_as_they_were(store, tenant, reopen) -> None:
    given = [
        Payload(id="é\U0001f600/'\"", content_hash=bytes(range(32)), data=bytes(range(256)) * 300),
        Payload(id="empty", content_hash=b"\x00", data=b"", learn=False),
    ]
    await write(store, tenant.uid, *given)
    store = await reopen()
    assert [entry.payload for entry in await store.scan(tenant.uid, 0, 10)] == given
    assert (await store.entry_by_id(tenant.uid, given[0].id)).payload == given[0]


async def test_a_known_id_with_equal_content_is_skipped(store, tenant) -> None:
    await write(store, tenant.uid, payload("a", "1"), payload("b", "2"))
    again = await write(store, tenant.uid, payload("c", "3"), payload("a", "1"), payload("c", "3"))
    assert (again.seqs, again.numbers, again.skipped) == ((3, 2, 3), (3, 1, 3), (False, True, True))
    assert [entry.payload.id for entry in again.record.entries] == ["c"]
    only_known = await write(store, tenant.uid, payload("b", "2"), payload("c", "3"))
    assert only_known.record is None
    assert (only_known.seqs, only_known.numbers, only_known.skipped) == ((2, 3), (2, 3), (True, True))
    assert await store.head(tenant.uid) == 3


@pytest.mark.parametrize(
    ("batch", "index"),
    [
        ([payload("new", "n"), payload("a", "other")], 1),
        ([payload("x", "1"), payload("y", "2"), payload("x", "3")], 2),
        ([payload("a", "other"), payload("a", "1")], 0),
    ],
)
async def test_one_conflict_refuses_the_whole_batch(store, tenant, batch, index) -> None:
    await write(store, tenant.uid, payload("a", "1"))
    with pytest.raises(AlreadyExistsError) as caught:
        await write(store, tenant.uid, *batch)
    assert caught.value.metadata == {"id": batch[index].id, "index": str(index)}
    assert await store.head(tenant.uid) == 2
    assert [entry.payload.id for entry in await store.scan(tenant.uid, 0, 10)] == ["a"]
    appended = await write(store, tenant.uid, payload("b", "2"))
    assert (appended.seqs, appended.numbers) == ((3,), (2,))


async def test_ids_are_compared_as_bytes_and_belong_to_one_tenant(store, tenant) -> None:
    other = await store.create_tenant("other", b"", b"", "")
    ids = ["a", "A", "é", "e\u0301", "a ", " a"]
    for number, id in enumerate(ids, start=1):
        appended = await write(store, tenant.uid, payload(id, id))
        assert appended.numbers == (number,)
    appended = await write(store, other.uid, payload("a", "another text"))
    assert appended.numbers == (1,)
    assert (await store.entry_by_id(tenant.uid, "e\u0301")).number == 4
    assert await store.entry_by_id(other.uid, "A") is None


async def test_commit_times_never_decrease(store, tenant, reopen, clock) -> None:
    start = clock.now_us
    for step in (1_000, -5_000, -1, 3_000, 10_000):
        clock.now_us += step
        await write(store, tenant.uid, payload(str(clock.now_us), ""))
        store = await reopen()
    times = [record.commit_us for record in await store.read(tenant.uid, 0, 1 << 20)]
    assert times == [start, *[start + 1_000] * 4, start + 8_999]


async def test_an_unknown_tenant_takes_nothing(store) -> None:
    for call in (write(store, "no-such-uid", payload("a")), store.head("no-such-uid")):
        with pytest.raises(NotFoundError):
            await call


async def test_reads_are_whole_records_within_a_budget(store, tenant) -> None:
    for i in range(20):
        await write(store, tenant.uid, *(payload(f"{i}-{j}", "x" * 100) for j in range(3)))
    everything = await store.read(tenant.uid, 0, 1 << 30)
    assert [record.seq for record in everything] == list(range(1, 22))
    assert [e.number for r in everything for e in r.entries] == list(range(1, 61))
    paged = []
    while page := await store.read(tenant.uid, paged[-1].seq if paged else 0, 1_500):
        assert sum(record.size for record in page) <= 1_500
        paged += page
    assert paged == everything
    assert await store.read(tenant.uid, 4, 0) == [everything[4]], "a record larger than the budget comes alone"
    assert await store.read(tenant.uid, 21, 1 << 20) == []
    assert await store.read(tenant.uid, 99, 1 << 20) == []


async def test_entries_by_number_id_and_range(store, tenant) -> None:
    await write(store, tenant.uid, *(payload(f"id{n}", str(n)) for n in range(1, 6)))
    await write(store, tenant.uid, payload("id6", "6"))
    assert [e.number for e in await store.entries(tenant.uid, [4, 99, 1, 6, 0, 4])] == [4, 1, 6, 4]
    (sixth,) = await store.entries(tenant.uid, [6])
    assert (sixth.seq, sixth.payload) == (3, payload("id6", "6"))
    assert await store.entry_by_id(tenant.uid, "id6") == sixth
    assert await store.entry_by_id(tenant.uid, "id7") is None
    assert [e.number for e in await store.scan(tenant.uid, 0, 3)] == [1, 2, 3]
    assert [e.number for e in await store.scan(tenant.uid, 3, 100)] == [4, 5, 6]
    assert await store.scan(tenant.uid, 6, 100) == []


async def test_concurrent_appends_leave_no_gap(store) -> None:
    tenants = [await store.create_tenant(f"t{i}", b"", b"", "") for i in range(5)]
    calls = [
        write(store, t.uid, *(payload(f"{i}-{j}", "") for j in range(i % 3 + 1))) for i in range(40) for t in tenants
    ]
    appended = await asyncio.gather(*calls)
    for place, tenant in enumerate(tenants):
        own = appended[place::5]
        assert [a.record.seq for a in own] == list(range(2, 42)), "appends of one caller keep their order"
        records = await store.read(tenant.uid, 1, 1 << 30)
        assert records == [a.record for a in own]
        assert [e.number for r in records for e in r.entries] == list(range(1, 80))


async def test_a_failing_append_fails_only_itself(store, tenant) -> None:
    await write(store, tenant.uid, payload("a", "1"))

    async def attempt(i: int) -> str:
        uid, given = {
            0: (tenant.uid, [payload(f"new{i}", "n")]),
            1: (tenant.uid, [payload(f"lost{i}", "n"), payload("a", "other")]),
            2: ("no-such-uid", [payload(f"lost{i}", "n")]),
        }[i % 3]
        try:
            await write(store, uid, *given)
        except MemsvcError as error:
            return type(error).__name__
        return "written"

    outcomes = await asyncio.gather(*(attempt(i) for i in range(60)))
    assert outcomes == ["written", "AlreadyExistsError", "NotFoundError"] * 20
    ids = [entry.payload.id for entry in await store.scan(tenant.uid, 0, 100)]
    assert ids == ["a", *(f"new{i}" for i in range(0, 60, 3))]
    assert await store.head(tenant.uid) == 22


async def test_concurrent_writers_of_one_entry_write_it_once(store, tenant) -> None:
    appended = await asyncio.gather(*(write(store, tenant.uid, payload("a", "1")) for _ in range(20)))
    assert sum(a.record is not None for a in appended) == 1
    assert {(a.seqs, a.numbers) for a in appended} == {((2,), (1,))}
    assert await store.head(tenant.uid) == 2


async def test_a_cancelled_caller_disturbs_nobody(store, tenant) -> None:
    tasks = [asyncio.create_task(write(store, tenant.uid, payload(f"id{i}", ""))) for i in range(50)]
    await asyncio.sleep(0)  # every append is with the store now
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(r, asyncio.CancelledError) for r in results[::2])
    last = await write(store, tenant.uid, payload("last", ""))
    entries = await store.scan(tenant.uid, 0, 100)
    assert [e.payload.id for e in entries] == [*(f"id{i}" for i in range(50)), "last"], (
        "what was handed over is written"
    )
    assert [results[i].seqs[0] for i in range(1, 50, 2)] == [e.seq for e in entries[1:50:2]]
    assert last.seqs == (52,)


async def test_what_was_written_is_there_after_closing(store, tenant, reopen) -> None:
    before = await asyncio.gather(*(write(store, tenant.uid, payload(f"id{i}", "")) for i in range(30)))
    store = await reopen()
    assert await store.get_tenant("tenant") == tenant
    assert await store.read(tenant.uid, 1, 1 << 30) == [a.record for a in before]
    assert (await write(store, tenant.uid, payload("id7", ""))).record is None
    assert (await write(store, tenant.uid, payload("new", ""))).seqs == (32,)


async def test_closing_finishes_what_is_under_way(store, tenant, reopen) -> None:
    calls = [asyncio.create_task(write(store, tenant.uid, payload(f"id{i}", ""))) for i in range(30)]
    await asyncio.sleep(0)
    await store.close()
    assert [a.seqs for a in await asyncio.gather(*calls)] == [(seq,) for seq in range(2, 32)]


async def test_a_closed_store_says_so(store, tenant) -> None:
    await store.close()
    await store.close()
    for call in (write(store, tenant.uid, payload("a")), store.head(tenant.uid), store.load(tenant.uid), store.check()):
        with pytest.raises(UnavailableError):
            await call


async def test_check_and_size(store, tenant) -> None:
    await store.check()
    assert await store.head(tenant.uid) == 1
    before = await store.size(tenant.uid)
    await write(store, tenant.uid, payload("a", "x" * 10_000))
    assert 10_000 <= await store.size(tenant.uid) - before <= 20_000
    assert await store.size("no-such-uid") == 0
