"""Forgetting and erasing: what `Log` promises, for every store. That no file holds the text is each store's to show."""

import asyncio
from dataclasses import replace

import pytest

from memsvc.errors import FailedPreconditionError, MemsvcError, NotFoundError, UnavailableError
from memsvc.store.base import Store
from memsvc.store.types import RecordKind, Snapshot
from tests.conformance.stores import DAY_US, payload, size_of, write


@pytest.fixture
async def uid(store, tenant) -> str:
    """Entries "a" (1, replaced by 4), "b" (2, deleted), "k" (3, replaced by 5 and destroyed), "z" (6)."""
    await write(store, tenant.uid, payload("a", "one"), payload("b", "one"), payload("k", "one", learn=False))
    await store.update(tenant.uid, payload("a", "two"), "")
    await store.delete(tenant.uid, "b", "")
    await store.update(tenant.uid, payload("k", "two", learn=False), "")
    await write(store, tenant.uid, payload("z", "one"))
    return tenant.uid


async def held(store: Store, uid: str) -> list[int]:
    """The numbers whose payloads the log holds."""
    return [entry.number for record in await store.read(uid, 0, 1 << 20) for entry in record.entries]


async def reason_of(store: Store, uid: str, id: str) -> str:
    with pytest.raises(NotFoundError) as caught:
        await store.entry_by_id(uid, id)
    return caught.value.reason


async def test_every_revision_is_forgotten(store, uid, reopen, clock) -> None:
    clock.now_us += 5
    erasure, record = await store.forget(uid, ["k", "a"], "r")
    assert (record.seq, record.kind, record.body) == (7, RecordKind.FORGET, b"")
    assert (record.about, record.entries, record.commit_us) == ((1, 3, 4, 5), (), clock.now_us)
    assert (erasure.uid, erasure.seq, erasure.entries, erasure.first_seq) == (uid, 7, 4, 2)
    assert (erasure.done, erasure.receipt) == (False, b"")
    for _ in range(2):
        assert [await reason_of(store, uid, id) for id in ("a", "b", "k")] == ["FORGOTTEN", "DELETED", "FORGOTTEN"]
        assert [e.number for e in await store.scan(uid, 0, 10)] == [6]
        assert await store.entries(uid, [1, 2, 3, 4, 5]) == []
        assert await held(store, uid) == [1, 2, 4, 5, 6], "until it is erased, to fold what was before"
        assert (await store.read(uid, 6, 0)) == [record]
        assert await store.erasure(erasure.operation) == erasure
        assert await store.unfinished_erasures() == [erasure]
        store = await reopen()


async def test_a_deleted_entry_can_be_forgotten(store, uid) -> None:
    erasure, record = await store.forget(uid, ["b"], "")
    assert (record.about, erasure.entries, erasure.first_seq) == ((2,), 1, 2)
    assert await reason_of(store, uid, "b") == "FORGOTTEN"


async def test_the_first_record_is_that_of_the_oldest_revision(store, uid) -> None:
    erasure, _ = await store.forget(uid, ["z"], "")
    assert erasure.first_seq == 6
    await write(store, uid, payload("y"))
    await store.update(uid, payload("y", "two"), "")
    await store.delete(uid, "y", "")
    erasure, record = await store.forget(uid, ["y"], "")
    assert (erasure.first_seq, erasure.seq, record.about) == (8, 11, (7, 8))


@pytest.mark.parametrize("erased", [False, True])
async def test_a_forgotten_id_is_refused_for_ever(store, uid, reopen, clock, erased) -> None:
    erasure, _ = await store.forget(uid, ["a", "b", "k"], "")
    if erased:
        await store.erase(uid, erasure.first_seq)
    clock.now_us += 30 * DAY_US
    for _ in range(2):
        for id in ("a", "b", "k"):
            for text in ("one", "two", "new"):
                with pytest.raises(FailedPreconditionError) as caught:
                    await write(store, uid, payload("new"), payload("z", "one"), payload(id, text))
                assert caught.value.reason == "FORGOTTEN"
                assert caught.value.metadata == {"id": id, "index": "2"}
        assert await store.head(uid) == 7
        assert await store.entry_by_id(uid, "new") is None
        store = await reopen()
    other = await store.create_tenant("other", b"", b"", "")
    assert (await write(store, other.uid, payload("a", "one"))).numbers == (1,), "another tenant's id is another"


@pytest.mark.parametrize("erased", [False, True])
async def test_what_cannot_be_forgotten_is_named(store, uid, erased) -> None:
    erasure, _ = await store.forget(uid, ["b"], "")
    if erased:
        await store.erase(uid, erasure.first_seq)
    for ids, wrong, reason in ((["a", "c"], "c", "ENTRY_NOT_FOUND"), (["a", "b", "z"], "b", "FORGOTTEN")):
        with pytest.raises(NotFoundError) as caught:
            await store.forget(uid, ids, "r")
        assert (caught.value.metadata, caught.value.reason) == ({"id": wrong}, reason)
    with pytest.raises(NotFoundError) as caught:
        await store.forget("no-such-uid", ["a"], "r")
    assert caught.value.reason == "TENANT_NOT_FOUND"
    assert await store.head(uid) == 7
    assert await store.unfinished_erasures() == [erasure]
    assert (await store.entry_by_id(uid, "a")).number == 4, "nothing of the refused request was done"
    assert (await store.forget(uid, ["a"], "r"))[1].seq == 8, "and it is not remembered"


async def test_an_id_given_twice_is_forgotten_once(store, uid) -> None:
    erasure, record = await store.forget(uid, ["a", "z", "a"], "r")
    assert (record.about, erasure.entries) == ((1, 4, 6), 3)


async def test_no_ids_are_refused(store, uid) -> None:
    with pytest.raises(NotFoundError):
        await store.forget(uid, [], "r")
    assert await store.head(uid) == 6


async def test_a_request_in_its_callers_words_is_known_whatever_it_comes_to_now(store, uid) -> None:
    first = await store.forget(uid, ["a", "b"], "r", "session=s")
    for ids in ([], ["d"]):
        assert await store.forget(uid, ids, "r", "session=s") == first
    with pytest.raises(FailedPreconditionError):
        await store.forget(uid, [], "r", "session=other")
    with pytest.raises(NotFoundError):
        await store.forget(uid, [], "other", "session=s")


async def test_a_repeated_request_returns_the_same_erasure(store, uid, reopen, clock) -> None:
    erasure, record = await store.forget(uid, ["a", "b"], "r")
    for ids in (["a", "b"], ["b", "a"]):
        assert await store.forget(uid, ids, "r") == (erasure, record)
        store = await reopen()
    await store.erase(uid, erasure.first_seq)
    await store.finish_erasure(erasure.operation, b"receipt")
    done = replace(erasure, done=True, receipt=b"receipt")
    assert await store.forget(uid, ["a", "b"], "r") == (done, record)
    assert await store.head(uid) == 7
    with pytest.raises(FailedPreconditionError) as caught:
        await store.forget(uid, ["a"], "r")
    assert caught.value.reason == "REQUEST_ID_REUSED"
    for call in (store.update(uid, payload("z", "two"), "r"), store.delete(uid, "z", "r")):
        with pytest.raises(FailedPreconditionError):
            await call
    await store.delete(uid, "z", "d")
    with pytest.raises(FailedPreconditionError):
        await store.forget(uid, ["z"], "d")
    clock.now_us += DAY_US - 1
    assert await store.forget(uid, ["a", "b"], "r") == (done, record)
    clock.now_us += 1
    with pytest.raises(NotFoundError):
        await store.forget(uid, ["a", "b"], "r")


async def test_a_change_repeated_after_the_forgetting(store, tenant) -> None:
    uid = tenant.uid
    await write(store, uid, payload("a", "one"), payload("b", "one"))
    await store.update(uid, payload("a", "two"), "u")
    deleted = await store.delete(uid, "b", "d")
    erasure, _ = await store.forget(uid, ["a", "b"], "")
    for _ in range(2):
        assert await store.delete(uid, "b", "d") == replace(deleted, repeated=True)
        # No hash of content may stay that could tell whether this is the same.
        with pytest.raises(NotFoundError) as caught:
            await store.update(uid, payload("a", "two"), "u")
        assert caught.value.reason == "FORGOTTEN"
        await store.erase(uid, erasure.first_seq)
    assert await store.head(uid) == 5


async def test_erasing_destroys_the_payloads(store, uid, reopen) -> None:
    before = await store.read(uid, 0, 1 << 20)
    erasure, record = await store.forget(uid, ["a", "k"], "")
    gone = [payload("a", "one"), payload("a", "two"), payload("k", "two")]  # k's first went before
    size = await store.size(uid)
    assert (await store.erase(uid, erasure.first_seq)).bytes == sum(map(size_of, gone))
    assert await store.size(uid) <= size - sum(len(p.data) for p in gone)
    for _ in range(2):
        assert await held(store, uid) == [2, 6]
        after = await store.read(uid, 0, 1 << 20)
        assert after[:-1] == [replace(r, entries=tuple(e for e in r.entries if e.number in (2, 6))) for r in before]
        assert after[-1] == record
        assert [e.number for e in await store.scan(uid, 0, 10)] == [6]
        assert await reason_of(store, uid, "a") == "FORGOTTEN"
        assert await store.unfinished_erasures() == [erasure], "until it is said to be done"
        store = await reopen()
    assert (await write(store, uid, payload("new"))).numbers == (7,), "no number is used again"


async def test_erasing_again_does_no_harm(store, uid, reopen) -> None:
    erasure, _ = await store.forget(uid, ["a"], "")
    assert (await store.erase(uid, erasure.first_seq)).bytes > 0
    records = await store.read(uid, 0, 1 << 20)
    for _ in range(2):
        assert (await store.erase(uid, erasure.first_seq)).bytes == 0
        assert await store.read(uid, 0, 1 << 20) == records
        store = await reopen()


async def test_only_what_is_forgotten_is_erased(store, uid) -> None:
    records = await store.read(uid, 0, 1 << 20)
    assert (await store.erase(uid, 1)).bytes == 0
    assert await store.read(uid, 0, 1 << 20) == records
    assert (await store.erase("no-such-uid", 1)).bytes == 0


async def test_one_erasing_takes_all_that_is_forgotten_of_one_tenant(store, uid) -> None:
    other = await store.create_tenant("other", b"", b"", "")
    await write(store, other.uid, payload("a", "one"))
    await store.forget(other.uid, ["a"], "")
    for id in ("a", "b", "z"):
        await store.forget(uid, [id], "")
    await store.erase(uid, 2)
    assert await held(store, uid) == [5]
    assert await held(store, other.uid) == [1]


async def test_a_large_erasure_is_whole(store, tenant) -> None:
    await write(store, tenant.uid, *(payload(f"id{i}", "x" * 100) for i in range(1_000)))
    before = await store.size(tenant.uid)
    erasure, record = await store.forget(tenant.uid, [f"id{i}" for i in range(0, 1_000, 2)], "r")
    assert await store.size(tenant.uid) - before >= 500, "the numbers that it is about are counted"
    assert record.about == tuple(range(1, 1_001, 2))
    assert erasure.entries == 500
    size = sum(size_of(payload(f"id{i}", "x" * 100)) for i in range(0, 1_000, 2))
    assert (await store.erase(tenant.uid, erasure.first_seq)).bytes == size
    assert await held(store, tenant.uid) == list(range(2, 1_001, 2))
    kept = await store.read(tenant.uid, 1, 70_000)
    assert [r.seq for r in kept] == [2, 3], "what was erased takes nothing of a read's budget"


async def test_snapshots_that_may_hold_it_go(store, uid, reopen) -> None:
    other = await store.create_tenant("other", b"", b"", "")
    for seq in (5, 6):
        blobs = {"shared": b"s" * 1_000, f"own{seq}": b"%d" % seq * 500_000}
        for tenant in (uid, other.uid):
            await store.save(tenant, Snapshot(seq=seq, meta=b"meta", blobs=blobs))
    erasure, _ = await store.forget(uid, ["z"], "")
    assert erasure.first_seq == 6
    await store.erase(uid, erasure.first_seq)
    for _ in range(2):
        loaded = (await store.load(uid)).snapshot
        assert (loaded.seq, loaded.blobs) == (5, {"shared": b"s" * 1_000, "own5": b"5" * 500_000})
        assert await store.size(uid) < 600_000
        assert await store.seqs() == {uid: 5, other.uid: 6}
        store = await reopen()
    with pytest.raises(FailedPreconditionError):
        await store.save(uid, Snapshot(seq=8, meta=b"", blobs={"own6": None}))
    await store.save(uid, Snapshot(seq=8, meta=b"", blobs={"shared": None}))
    await store.erase(uid, 5)
    assert (await store.load(uid)).snapshot is None


async def test_erasures_are_finished_one_by_one(store, uid, reopen) -> None:
    other = await store.create_tenant("other", b"", b"", "")
    await write(store, other.uid, payload("x"))
    erasures = [(await store.forget(uid, [id], ""))[0] for id in ("z", "a", "b")]
    foreign, _ = await store.forget(other.uid, ["x"], "")
    assert len({e.operation for e in [*erasures, foreign]}) == 4
    found = await store.unfinished_erasures()
    assert [e for e in found if e.uid == uid] == erasures, "in the order of their records"
    assert [e for e in found if e.uid == other.uid] == [foreign]
    await store.finish_erasure(erasures[1].operation, b"\x00receipt\xff")
    done = replace(erasures[1], done=True, receipt=b"\x00receipt\xff")
    for _ in range(2):
        assert await store.erasure(done.operation) == done
        assert [e for e in await store.unfinished_erasures() if e.uid == uid] == [erasures[0], erasures[2]]
        store = await reopen()
    assert await store.erasure("no-such-operation") is None
    await store.finish_erasure("no-such-operation", b"")


async def test_erasures_go_with_their_tenant(store, uid, reopen) -> None:
    erasure, _ = await store.forget(uid, ["a"], "")
    await store.delete_tenant(uid, "")
    for _ in range(2):
        assert await store.erasure(erasure.operation) is None
        assert await store.unfinished_erasures() == []
        await store.finish_erasure(erasure.operation, b"receipt")
        assert (await store.erase(uid, erasure.first_seq)).bytes == 0
        store = await reopen()


async def test_a_cancelled_erasing_goes_on(store, tenant, reopen) -> None:
    await write(store, tenant.uid, *(payload(f"id{i}") for i in range(1_000)))
    await store.save(tenant.uid, Snapshot(seq=2, meta=b"", blobs={}))
    erasure, _ = await store.forget(tenant.uid, [f"id{i}" for i in range(999)], "")
    task = asyncio.create_task(store.erase(tenant.uid, erasure.first_seq))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    store = await reopen()
    assert await held(store, tenant.uid) == [1_000]
    assert await store.seqs() == {}


async def test_forgetting_beside_other_changes_of_the_entry(store, uid) -> None:
    results = await asyncio.gather(
        *(store.update(uid, payload("z", str(i)), "") for i in range(5)),
        store.forget(uid, ["z"], ""),
        *(store.update(uid, payload("z", str(i)), "") for i in range(5)),
        store.delete(uid, "z", ""),
        return_exceptions=True,
    )
    assert results[5][1].about == tuple(range(6, 12))
    assert [r.reason for r in results[6:] if isinstance(r, MemsvcError)] == ["FORGOTTEN"] * 6
    assert (await store.erase(uid, results[5][0].first_seq)).bytes > 0
    assert await held(store, uid) == [1, 2, 4, 5]


async def test_a_closed_store_changes_nothing(store, uid) -> None:
    await store.close()
    for call in (
        store.update(uid, payload("a"), ""),
        store.delete(uid, "a", ""),
        store.forget(uid, ["a"], ""),
        store.erase(uid, 1),
        store.erasure("operation"),
        store.unfinished_erasures(),
        store.finish_erasure("operation", b""),
    ):
        with pytest.raises(UnavailableError):
            await call
