"""Updates and deletions: what `Log` promises about an entry's later life, for every store."""

import asyncio
from dataclasses import replace

import pytest

from memsvc.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from memsvc.store.base import Store
from memsvc.store.types import Changed, RecordKind
from tests.conformance.stores import DAY_US, payload, size_of, write


@pytest.fixture
async def uid(store, tenant) -> str:
    """A tenant with an entry "a" that changes weights, and one "b" that does not."""
    await write(store, tenant.uid, payload("a", "one"), payload("b", "one", learn=False))
    return tenant.uid


async def change(store: Store, uid: str, kind: str, id: str, request_id: str = "") -> Changed:
    if kind == "update":
        return await store.update(uid, payload(id, "two"), request_id)
    return await store.delete(uid, id, request_id)


async def held(store: Store, uid: str) -> list[int]:
    """The numbers whose payloads the log holds."""
    return [entry.number for record in await store.read(uid, 0, 1 << 20) for entry in record.entries]


async def test_an_update_is_a_new_revision_under_a_new_number(store, uid, reopen, clock) -> None:
    clock.now_us += 5
    changed = await store.update(uid, payload("a", "two", learn=False), "r")
    record = changed.record
    assert (record.seq, record.kind, record.body, record.about) == (3, RecordKind.UPDATE, b"", (1,))
    assert record.commit_us == record.entries[0].commit_us == clock.now_us
    assert [(e.number, e.seq, e.payload) for e in record.entries] == [(3, 3, payload("a", "two", learn=False))]
    assert changed.destroyed == 0
    for _ in range(2):
        assert await store.entry_by_id(uid, "a") == record.entries[0]
        assert await store.entries(uid, [1, 3]) == list(record.entries)
        assert [e.number for e in await store.scan(uid, 0, 10)] == [2, 3]
        _, written, updated = await store.read(uid, 0, 1 << 20)
        assert [e.payload for e in written.entries] == [payload("a", "one"), payload("b", "one", learn=False)]
        assert updated == record
        assert await store.head(uid) == 3
        store = await reopen()
    assert (await write(store, uid, payload("c"))).numbers == (4,)
    assert (await store.update(uid, payload("a", "three"), "")).record.about == (3,)


async def test_a_deletion_hides_the_entry_and_keeps_its_payload(store, uid, reopen, clock) -> None:
    clock.now_us += 5
    changed = await store.delete(uid, "a", "r")
    record = changed.record
    assert (record.seq, record.kind, record.body, record.about) == (3, RecordKind.DELETE, b"", (1,))
    assert (record.commit_us, record.entries, changed.destroyed) == (clock.now_us, (), 0)
    for _ in range(2):
        with pytest.raises(NotFoundError) as caught:
            await store.entry_by_id(uid, "a")
        assert caught.value.reason == "DELETED"
        assert await store.entries(uid, [1]) == []
        assert [e.number for e in await store.scan(uid, 0, 10)] == [2]
        records = await store.read(uid, 0, 1 << 20)
        assert records[1].entries[0].payload == payload("a", "one")
        assert records[2] == record
        store = await reopen()


@pytest.mark.parametrize("kind", ["update", "delete"])
async def test_what_does_not_learn_is_destroyed_at_once(store, uid, reopen, kind) -> None:
    await write(store, uid, payload("c", "x" * 10_000, learn=False))
    size = await store.size(uid)
    changed = await change(store, uid, kind, "c", "r")
    assert changed.destroyed == size_of(payload("c", "x" * 10_000))
    assert await store.size(uid) < size - 9_000
    for _ in range(2):
        assert await held(store, uid) == ([1, 2, 4] if kind == "update" else [1, 2])
        assert (await store.read(uid, 2, 0))[0].entries == ()
        assert (await change(store, uid, kind, "c", "r")) == replace(changed, repeated=True)
        store = await reopen()


async def test_the_revision_that_goes_decides(store, uid) -> None:
    assert (await store.update(uid, payload("a", "two", learn=False), "")).destroyed == 0
    assert (await store.update(uid, payload("a", "three"), "")).destroyed == size_of(payload("a", "two"))
    assert (await store.delete(uid, "a", "")).destroyed == 0
    assert await held(store, uid) == [1, 2, 4]


@pytest.mark.parametrize("id", ["a", "b"])
@pytest.mark.parametrize("kinds", [["update"], ["delete"], ["update", "update", "delete"]])
async def test_a_retried_write_of_a_changed_entry_is_skipped(store, uid, reopen, id, kinds) -> None:
    for kind in kinds:
        await change(store, uid, kind, id)
    head = await store.head(uid)
    for _ in range(2):
        again = await write(store, uid, payload(id, "one"))
        number = 1 if id == "a" else 2
        assert (again.record, again.seqs, again.numbers, again.skipped) == (None, (2,), (number,), (True,))
        for text in ("two", "three"):
            with pytest.raises(AlreadyExistsError) as caught:
                await write(store, uid, payload("new"), payload(id, text))
            assert caught.value.metadata == {"id": id, "index": "1"}
        assert await store.head(uid) == head
        assert await store.entry_by_id(uid, "new") is None
        store = await reopen()


@pytest.mark.parametrize("kind", ["update", "delete"])
async def test_a_repeated_change_returns_the_same_record(store, uid, reopen, clock, kind) -> None:
    changed = await change(store, uid, kind, "a", "r")
    assert not changed.repeated
    again = replace(changed, repeated=True)
    for _ in range(2):
        assert await change(store, uid, kind, "a", "r") == again
        assert await store.head(uid) == 3
        store = await reopen()
    if kind == "update":
        await store.update(uid, payload("a", "three"), "r2")
        assert await change(store, uid, kind, "a", "r") == again, "also once it was replaced"
        await store.delete(uid, "a", "r3")
    head = await store.head(uid)
    clock.now_us += DAY_US - 1
    assert await change(store, uid, kind, "a", "r") == again
    clock.now_us += 1
    with pytest.raises(NotFoundError):
        await change(store, uid, kind, "a", "r")
    assert await store.head(uid) == head


async def test_a_repeated_update_of_what_was_destroyed(store, uid) -> None:
    changed = await store.update(uid, payload("a", "two", learn=False), "r")
    await store.delete(uid, "a", "")
    again = await store.update(uid, payload("a", "two", learn=False), "r")
    assert (again.record.seq, again.record.about, again.record.entries) == (changed.record.seq, (1,), ())
    with pytest.raises(FailedPreconditionError):
        await store.update(uid, payload("a", "three"), "r")


async def test_a_request_id_is_used_for_one_change(store, uid) -> None:
    await store.update(uid, payload("a", "two"), "u")
    await store.delete(uid, "b", "d")
    await store.append(uid, RecordKind.RESTART, request_id="p")
    other = await store.create_tenant("other", b"", b"", "")
    await write(store, other.uid, payload("a"))
    for call in (
        store.update(uid, payload("a", "three"), "u"),
        store.update(uid, payload("b", "two"), "u"),
        store.update(uid, payload("b", "two"), "d"),
        store.update(uid, payload("a", "three"), "p"),
        store.delete(uid, "a", "u"),
        store.delete(uid, "a", "d"),
        store.delete(uid, "a", "p"),
        store.append(uid, RecordKind.RESTART, request_id="u"),
    ):
        with pytest.raises(FailedPreconditionError) as caught:
            await call
        assert caught.value.reason == "REQUEST_ID_REUSED"
    assert await store.head(uid) == 5
    assert (await store.delete(other.uid, "a", "u")).record.seq == 3, "another tenant's is another"


async def test_an_empty_request_id_repeats_nothing(store, uid) -> None:
    assert [(await store.update(uid, payload("a", "two"), "")).record.seq for _ in range(3)] == [3, 4, 5]
    await store.delete(uid, "a", "")
    with pytest.raises(NotFoundError):
        await store.delete(uid, "a", "")


@pytest.mark.parametrize("kind", ["update", "delete"])
async def test_only_a_living_entry_is_changed(store, uid, kind) -> None:
    await store.delete(uid, "a", "")
    await store.forget(uid, ["b"], "")
    for tenant, id, reason in (
        (uid, "a", "DELETED"),
        (uid, "b", "FORGOTTEN"),
        (uid, "c", "ENTRY_NOT_FOUND"),
        ("no-such-uid", "a", "TENANT_NOT_FOUND"),
    ):
        with pytest.raises(NotFoundError) as caught:
            await change(store, tenant, kind, id, "r")
        assert caught.value.reason == reason
    assert await store.head(uid) == 4
    await write(store, uid, payload("c"))
    assert (await change(store, uid, kind, "c", "r")).record.seq == 6, "what was refused is not remembered"


async def test_concurrent_updates_of_one_entry_follow_one_another(store, uid) -> None:
    changes = await asyncio.gather(*(store.update(uid, payload("a", str(i)), f"r{i}") for i in range(20)))
    assert [c.record.about for c in changes] == [(1,), *((number,) for number in range(3, 22))]
    assert (await store.entry_by_id(uid, "a")).payload == payload("a", "19")
    assert [e.number for e in await store.scan(uid, 0, 100)] == [2, 22]


async def test_one_of_many_concurrent_deletions_deletes(store, uid) -> None:
    results = await asyncio.gather(*(store.delete(uid, "a", f"r{i}") for i in range(20)), return_exceptions=True)
    assert [type(r) for r in results] == [Changed, *[NotFoundError] * 19]
    assert await store.head(uid) == 3


async def test_a_cancelled_change_is_made_whole(store, uid) -> None:
    task = asyncio.create_task(store.update(uid, payload("b", "two"), "r"))
    await asyncio.sleep(0)  # it is with the store now
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    again = await store.update(uid, payload("b", "two"), "r")
    assert (again.record.seq, again.destroyed) == (3, size_of(payload("b", "one")))
    assert await held(store, uid) == [1, 3]


async def test_the_living_are_paged_past_the_rest(store, uid) -> None:
    await write(store, uid, *(payload(f"c{i}") for i in range(20)))
    for i in range(0, 20, 2):
        await store.delete(uid, f"c{i}", "")
    paged: list[int] = []
    while page := await store.scan(uid, paged[-1] if paged else 0, 3):
        assert len(page) <= 3
        paged += [entry.number for entry in page]
    assert paged == [1, 2, *range(4, 23, 2)]
    assert [e.number for e in await store.entries(uid, [4, 3, 1])] == [4, 1]
