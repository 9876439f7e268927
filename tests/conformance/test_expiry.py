"""Expiry: what `Log` promises about it, for every store."""

import pytest

from memsvc.errors import AlreadyExistsError, NotFoundError, UnavailableError
from memsvc.store.base import Store
from memsvc.store.types import RecordKind
from tests.conformance.stores import payload, write


@pytest.fixture
async def uid(store, tenant, clock) -> str:
    """Entries "a" (1) due in 10 µs, "b" (2) in 20 and "c" (3), which does not learn, in 10, and "d" (4) never."""
    now = clock.now_us
    await write(
        store,
        tenant.uid,
        payload("a", "one", expire_us=now + 10),
        payload("b", "one", expire_us=now + 20),
        payload("c", "one", expire_us=now + 10, learn=False),
        payload("d", "one"),
    )
    return tenant.uid


async def living(store: Store, uid: str) -> list[int]:
    return [entry.number for entry in await store.scan(uid, 0, 100)]


async def reason_of(store: Store, uid: str, id: str) -> str:
    with pytest.raises(NotFoundError) as caught:
        await store.entry_by_id(uid, id)
    assert caught.value.metadata == {"id": id}
    return caught.value.reason


async def test_when_an_entry_expires_comes_back(store, uid, reopen, clock) -> None:
    expected = [clock.now_us + 10, clock.now_us + 20, clock.now_us + 10, None]
    for _ in range(2):
        assert [e.payload.expire_us for e in await store.scan(uid, 0, 10)] == expected
        assert [e.payload.expire_us for e in await store.entries(uid, [1, 2, 3, 4])] == expected
        assert [e.payload.expire_us for r in await store.read(uid, 0, 1 << 20) for e in r.entries] == expected
        assert (await store.entry_by_id(uid, "a")).payload.expire_us == expected[0]
        store = await reopen()


async def test_what_is_due_expires_in_one_record(store, uid, reopen, clock) -> None:
    clock.now_us += 9
    assert await store.expire(100) == []
    assert await store.head(uid) == 2
    clock.now_us += 1
    size = await store.size(uid)
    ((found, record),) = await store.expire(100)
    assert (found, record.seq, record.kind, record.body) == (uid, 3, RecordKind.EXPIRE, b"")
    assert (record.about, record.entries, record.commit_us) == ((1, 3), (), clock.now_us)
    assert await store.size(uid) == size + 16 - len(payload("c", "one").data), "what it is about comes, the text goes"
    for _ in range(2):
        assert await store.expire(100) == []
        assert await store.read(uid, 2, 1 << 20) == [record]
        assert await living(store, uid) == [2, 4]
        assert await store.entries(uid, [1, 3]) == []
        assert [await reason_of(store, uid, id) for id in "ac"] == ["EXPIRED", "EXPIRED"]
        (held,) = await store.read(uid, 1, 0)
        assert [e.number for e in held.entries] == [1, 2, 4], "what does not learn is destroyed at once"
        store = await reopen()
    clock.now_us += 10
    assert [record.about for _, record in await store.expire(100)] == [(2,)]


async def test_an_expired_id_stays_known(store, uid, clock) -> None:
    clock.now_us += 10
    await store.expire(100)
    for given, number in ((payload("a", "one"), 1), (payload("c", "one", learn=False), 3)):
        again = await write(store, uid, given)
        assert (again.record, again.numbers, again.skipped) == (None, (number,), (True,))
        with pytest.raises(AlreadyExistsError):
            await write(store, uid, payload(given.id, "two"))
        for call in (
            store.update(uid, payload(given.id, "two"), ""),
            store.delete(uid, given.id, ""),
            store.feedback(uid, [given.id], b"", ""),
        ):
            with pytest.raises(NotFoundError) as caught:
                await call
            assert caught.value.reason == "EXPIRED"
    erasure, record = await store.forget(uid, ["a", "c"], "")
    assert (record.about, erasure.first_seq) == ((1, 3), 2)
    assert await reason_of(store, uid, "a") == "FORGOTTEN"


async def test_an_equal_entry_does_not_move_its_end(store, uid, clock) -> None:
    again = await write(store, uid, payload("a", "one", expire_us=clock.now_us + 99), payload("d", "one", expire_us=1))
    assert again.skipped == (True, True)
    clock.now_us += 10
    assert [record.about for _, record in await store.expire(100)] == [(1, 3)]


async def test_a_revision_has_an_end_of_its_own(store, uid, clock) -> None:
    now = clock.now_us
    await store.update(uid, payload("a", "two"), "")
    await store.update(uid, payload("c", "two", expire_us=now + 30), "")
    await store.update(uid, payload("d", "two", expire_us=now + 15), "")
    assert (await store.entry_by_id(uid, "c")).payload.expire_us == now + 30
    for step, about in ((10, []), (10, [(2, 7)]), (10, [(6,)]), (1_000, [])):
        clock.now_us += step
        assert [record.about for _, record in await store.expire(100)] == about
    assert await living(store, uid) == [5]


async def test_what_is_deleted_or_forgotten_does_not_expire(store, uid, clock) -> None:
    await store.delete(uid, "a", "")
    await store.forget(uid, ["c"], "")
    clock.now_us += 100
    assert [record.about for _, record in await store.expire(100)] == [(2,)]
    assert [await reason_of(store, uid, id) for id in "abc"] == ["DELETED", "EXPIRED", "FORGOTTEN"]


async def test_each_tenant_has_a_record_of_its_own_and_the_limit_is_for_all(store, uid, clock) -> None:
    other = await store.create_tenant("other", b"", b"", "")
    gone = await store.create_tenant("gone", b"", b"", "")
    now = clock.now_us
    await write(store, other.uid, *(payload(f"id{i}", expire_us=now + 11 + i) for i in range(4)))
    await write(store, gone.uid, payload("a", expire_us=now))
    await store.delete_tenant(gone.uid, "")
    clock.now_us += 100
    assert await store.expire(0) == []
    assert {uid: record.about for uid, record in await store.expire(4)} == {uid: (1, 3), other.uid: (1, 2)}
    assert {uid: record.about for uid, record in await store.expire(4)} == {uid: (2,), other.uid: (3, 4)}
    assert await store.expire(4) == []
    assert await living(store, uid) == [4]
    assert await store.heads() == {uid: 4, other.uid: 4}


async def test_the_stores_clock_may_step_back(store, uid, clock) -> None:
    clock.now_us += 10
    last = (await store.append(uid, RecordKind.RESTART)).record
    clock.now_us -= 5
    assert await store.expire(100) == []
    await store.update(uid, payload("b", "two", expire_us=1), "")
    ((_, record),) = await store.expire(100)
    assert (record.about, record.commit_us) == ((5,), last.commit_us)


async def test_a_closed_store_expires_nothing(store, uid) -> None:
    await store.close()
    with pytest.raises(UnavailableError):
        await store.expire(1)
