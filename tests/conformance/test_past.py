"""The past: what `Log` promises about reading as of a record, for every store."""

import pytest

from memsvc.errors import NotFoundError
from memsvc.store.base import Store
from memsvc.store.types import RecordKind
from tests.conformance.stores import payload, write


@pytest.fixture
async def uid(store, tenant, clock) -> str:
    """2: "a" (1), "b" (2), "k" (3, does not learn). 3: "a" (4). 4: b deleted. 5: "c" (5). 6: c expired. 7: "k" (6)."""
    uid = tenant.uid
    await write(store, uid, payload("a", "one"), payload("b", "one"), payload("k", "one", learn=False))
    await store.update(uid, payload("a", "two"), "")
    await store.delete(uid, "b", "")
    await write(store, uid, payload("c", "one", expire_us=clock.now_us))
    await store.expire(10)
    await store.update(uid, payload("k", "two"), "")
    return uid


LIVED = {0: [], 1: [], 2: [1, 2], 3: [2, 4], 4: [4], 5: [4, 5], 6: [4], 7: [4, 6], 8: [4, 6], None: [4, 6]}
"""By record. What was destroyed since is in no past."""


async def by_id(store: Store, uid: str, id: str, as_of: int | None) -> int | str | None:
    try:
        entry = await store.entry_by_id(uid, id, as_of)
    except NotFoundError as error:
        return error.reason
    return entry and entry.number


async def test_what_lived_as_of_a_record(store, uid, reopen) -> None:
    stored = {e.number: e for r in await store.read(uid, 0, 1 << 20) for e in r.entries}
    for _ in range(2):
        for as_of, numbers in LIVED.items():
            expected = [stored[number] for number in numbers]
            assert await store.scan(uid, 0, 10, as_of) == expected
            assert await store.entries(uid, [6, 5, 4, 3, 2, 1], as_of) == expected[::-1]
            assert await store.scan(uid, 1, 1, as_of) == [e for e in expected if e.number > 1][:1]
        store = await reopen()


@pytest.mark.parametrize(
    ("id", "found"),
    [
        ("a", {1: None, 2: 1, 3: 4, 7: 4, None: 4}),
        ("b", {1: None, 2: 2, 3: 2, 4: "DELETED", 7: "DELETED", None: "DELETED"}),
        ("c", {4: None, 5: 5, 6: "EXPIRED", None: "EXPIRED"}),
        ("k", {1: None, 2: "DELETED", 6: "DELETED", 7: 6, None: 6}),
        ("x", {2: None, None: None}),
    ],
)
async def test_an_entry_by_its_id_as_of_a_record(store, uid, id, found) -> None:
    assert {as_of: await by_id(store, uid, id, as_of) for as_of in found} == found


async def test_what_is_forgotten_is_in_no_past(store, uid) -> None:
    erasure, _ = await store.forget(uid, ["a", "b", "c"], "")
    for _ in range(2):
        for as_of in LIVED:
            assert [e.number for e in await store.scan(uid, 0, 10, as_of)] == ([6] if as_of in (7, 8, None) else [])
            assert await store.entries(uid, [1, 2, 4, 5], as_of) == []
            assert [await by_id(store, uid, id, as_of) for id in "abc"] == ["FORGOTTEN"] * 3
        await store.erase(uid, erasure.first_seq)


async def test_the_past_of_many_revisions(store, tenant) -> None:
    await write(store, tenant.uid, payload("a", "1"))
    for i in range(2, 30):
        await store.update(tenant.uid, payload("a", str(i), learn=i % 3 > 0), "")
    await store.delete(tenant.uid, "a", "")
    for i in range(1, 30):
        assert await by_id(store, tenant.uid, "a", i + 1) == (i if i % 3 else "DELETED")
    assert await by_id(store, tenant.uid, "a", 31) == "DELETED"


async def test_the_record_at_a_time(store, tenant, clock) -> None:
    uid, start = tenant.uid, clock.now_us
    assert [await store.seq_at(uid, start + step) for step in (-1, 0, 1)] == [0, 1, 1]
    for step in (0, 10, 0, -5, 20):  # committed at 0, 10, 10, 10, 25
        clock.now_us += step
        await store.append(uid, RecordKind.RESTART)
    expected = {-1: 0, 0: 2, 9: 2, 10: 5, 11: 5, 24: 5, 25: 6, 1_000: 6}
    assert {step: await store.seq_at(uid, start + step) for step in expected} == expected
    with pytest.raises(NotFoundError) as caught:
        await store.seq_at("no-such-uid", start)
    assert caught.value.reason == "TENANT_NOT_FOUND"
