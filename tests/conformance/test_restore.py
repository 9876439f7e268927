"""A tenant put in another one's place, and back: what `Log` promises, for every store."""

from dataclasses import replace

import pytest

from memsvc.errors import FailedPreconditionError, NotFoundError
from memsvc.store.base import Store
from memsvc.store.types import Snapshot
from tests.conformance.stores import DAY_US, payload, write


@pytest.fixture
async def uid(store, tenant) -> str:
    """A tenant with entries, snapshots and an erasure that is not done."""
    await write(store, tenant.uid, payload("a", "one"), payload("f", "one"))
    await store.forget(tenant.uid, ["f"], "")
    await store.save(tenant.uid, Snapshot(seq=2, meta=b"old", blobs={"a": b"old"}))
    return tenant.uid


async def stage(store: Store, uid: str, last: int = 1) -> str:
    """Stage a copy of a tenant's first records."""
    staged = await store.stage(await store.origin(uid), "tenant")
    await store.append_staged(staged, (await store.read(uid, 0, 1 << 20))[:last])
    await store.save(staged, Snapshot(seq=last, meta=b"new", blobs={"a": b"new"}))
    return staged


async def refuses(call, reason: str) -> None:
    with pytest.raises(FailedPreconditionError) as caught:
        await call
    assert caught.value.reason == reason


async def test_one_takes_the_place_of_the_other(store, uid, tenant, reopen) -> None:
    assert await store.parked(uid) is None
    staged = await stage(store, uid)
    row = await store.replace(uid, staged, "r")
    assert row == replace(tenant, uid=staged)
    for _ in range(2):
        assert await store.get_tenant("tenant") == row
        assert await store.list_tenants("", 10) == [row]
        assert await store.heads() == {staged: 1}
        assert await store.parked(staged) == uid
        assert await store.parked(uid) is None
        assert await store.unfinished_erasures() == []
        assert await store.scan(uid, 0, 10) == []
        for call in (store.head(uid), write(store, uid, payload("x")), store.delete_tenant(uid, "")):
            with pytest.raises(NotFoundError):
                await call
        await store.discard(uid)
        assert await store.expire(10) == []
        store = await reopen()
    assert (await write(store, staged, payload("a", "other"))).numbers == (1,)


async def test_the_first_one_takes_its_place_again(store, uid, tenant, reopen) -> None:
    erasures, records = await store.unfinished_erasures(), await store.read(uid, 0, 1 << 20)
    assert len(erasures) == 1
    staged = await stage(store, uid)
    await store.replace(uid, staged, "r")
    await write(store, staged, payload("x"))
    assert await store.unpark(staged, "") == tenant
    for _ in range(2):
        assert await store.get_tenant("tenant") == tenant
        assert await store.heads() == {uid: 3}
        assert await store.read(uid, 0, 1 << 20) == records
        assert await store.unfinished_erasures() == erasures
        assert (await store.load(uid)).snapshot.meta == b"old"
        assert (await store.load(staged)).snapshot is None
        assert await store.parked(uid) is None
        assert await store.published("tenant", "r") is None
        for found in (uid, staged):
            await refuses(store.unpark(found, ""), "NO_RESTORE_PENDING")
            await refuses(store.confirm(found, ""), "NO_RESTORE_PENDING")
        store = await reopen()
    with pytest.raises(NotFoundError):
        await store.replace(uid, await stage(store, uid), "r")
    await store.replace(uid, await stage(store, uid), "r2")


async def test_the_first_one_goes_for_good(store, uid, reopen) -> None:
    staged = await stage(store, uid)
    row = await store.replace(uid, staged, "")
    await store.confirm(staged, "")
    for _ in range(2):
        assert await store.get_tenant("tenant") == row
        assert await store.parked(staged) is None
        assert await store.seqs() == {staged: 1}
        for found in (uid, staged, "no-such-uid"):
            await refuses(store.confirm(found, ""), "NO_RESTORE_PENDING")
            await refuses(store.unpark(found, ""), "NO_RESTORE_PENDING")
        store = await reopen()
    again = await stage(store, staged)
    assert (await store.replace(staged, again, "")).uid == again
    assert await store.parked(again) == staged


async def test_one_is_parked_at_a_time(store, uid) -> None:
    staged, other = await stage(store, uid), await stage(store, uid)
    await store.replace(uid, staged, "r")
    await refuses(store.replace(staged, other, "r2"), "RESTORE_PENDING")
    assert await store.parked(staged) == uid
    await store.confirm(staged, "")
    assert (await store.replace(staged, other, "r2")).uid == other, "what was refused is as it was"


async def test_a_repeated_replacement(store, uid, clock) -> None:
    staged = await stage(store, uid)
    row = await store.replace(uid, staged, "r")
    again = await stage(store, staged)
    for other in (staged, again):
        assert await store.replace(uid, other, "r") == row
    assert await store.published("tenant", "r") == row
    assert await store.published("other", "r") is None
    for call in (
        store.replace(staged, again, "r"),
        store.publish(again, "tenant", "r"),
        store.create_tenant("other", b"", b"", "r"),
    ):
        await refuses(call, "REQUEST_ID_REUSED")
    clock.now_us += DAY_US
    assert await store.published("tenant", "r") is None
    with pytest.raises(NotFoundError):
        await store.replace(uid, again, "r")


async def test_a_repeated_return(store, uid, tenant, clock, reopen) -> None:
    """It names either of the two, because whoever asks again may have heard of the first time or not."""
    staged = await stage(store, uid)
    await store.replace(uid, staged, "r")
    assert await store.unpark(staged, "u") == tenant
    await write(store, uid, payload("new"))
    for _ in range(2):
        assert await store.unpark(uid, "u") == await store.unpark(staged, "u") == tenant
        assert (await store.entry_by_id(uid, "new")).payload.id == "new"
        await refuses(store.unpark(uid, "u2"), "NO_RESTORE_PENDING")
        store = await reopen()
    other = await store.create_tenant("other", b"", b"", "")
    for call in (store.unpark(other.uid, "u"), store.confirm(uid, "u"), store.unpark(uid, "r")):
        await refuses(call, "REQUEST_ID_REUSED")
    again = await stage(store, uid)
    await store.replace(uid, again, "r2")
    await refuses(store.unpark(again, "r2"), "REQUEST_ID_REUSED")
    assert await store.parked(again) == uid, "what is done is done once"
    clock.now_us += DAY_US
    assert await store.unpark(again, "u") == tenant


async def test_a_repeated_return_does_not_bring_back_what_is_gone(store, uid) -> None:
    staged = await stage(store, uid)
    await store.replace(uid, staged, "")
    await store.unpark(staged, "u")
    await store.delete_tenant(uid, "")
    for found in (uid, staged):
        with pytest.raises(NotFoundError):
            await store.unpark(found, "u")


async def test_a_repeated_confirmation(store, uid, clock, reopen) -> None:
    staged = await stage(store, uid)
    row = await store.replace(uid, staged, "r")
    await store.confirm(staged, "c")
    for _ in range(2):
        await store.confirm(staged, "c")
        await refuses(store.confirm(staged, "c2"), "NO_RESTORE_PENDING")
        store = await reopen()
    assert await store.get_tenant("tenant") == row
    other = await store.create_tenant("other", b"", b"", "")
    for call in (store.confirm(other.uid, "c"), store.unpark(staged, "c"), store.confirm(staged, "r")):
        await refuses(call, "REQUEST_ID_REUSED")
    again = await stage(store, staged)
    await store.replace(staged, again, "r2")
    await refuses(store.confirm(again, "c"), "REQUEST_ID_REUSED")
    assert await store.parked(again) == staged, "what is done is done once"
    clock.now_us += DAY_US
    await store.confirm(again, "c")
    assert await store.parked(again) is None


async def test_what_is_refused_is_not_remembered(store, uid) -> None:
    for call in (store.unpark(uid, "u"), store.confirm(uid, "c")):
        await refuses(call, "NO_RESTORE_PENDING")
    staged = await stage(store, uid)
    await store.replace(uid, staged, "")
    await store.confirm(staged, "c")
    again = await stage(store, staged)
    await store.replace(staged, again, "")
    await store.unpark(again, "u")
    assert (await store.get_tenant("tenant")).uid == staged


async def test_only_a_staged_one_takes_the_place_of_a_living_one(store, uid, tenant) -> None:
    other = await store.create_tenant("other", b"", b"", "")
    staged = await stage(store, uid)
    for living, new in ((uid, other.uid), (uid, "no-such-uid"), ("no-such-uid", staged), (staged, staged), (uid, uid)):
        with pytest.raises(NotFoundError):
            await store.replace(living, new, "")
    assert await store.list_tenants("", 10) == [other, tenant]


@pytest.mark.parametrize("restart", [False, True])
async def test_what_is_parked_goes_with_the_one_in_front(store, uid, reopen, restart) -> None:
    staged = await stage(store, uid)
    await store.replace(uid, staged, "")
    if restart:
        store = await reopen()
    await store.delete_tenant(staged, "d")
    for _ in range(2):
        await store.delete_tenant(staged, "d")
        assert await store.get_tenant("tenant") is None
        assert await store.seqs() == {}
        assert await store.kept(uid) == (0, 0)
        assert await store.parked(staged) is None
        await refuses(store.unpark(staged, ""), "NO_RESTORE_PENDING")
        store = await reopen()
    assert (await store.create_tenant("tenant", b"", b"", "")).uid not in (uid, staged)


async def test_what_is_parked_does_not_expire_until_it_is_back(store, tenant, clock) -> None:
    await write(store, tenant.uid, payload("a", expire_us=clock.now_us + 5))
    staged = await stage(store, tenant.uid, 2)
    clock.now_us += 5
    hidden = await stage(store, tenant.uid, 2)
    await store.replace(tenant.uid, staged, "")
    assert [uid for uid, _ in await store.expire(10)] == [staged]
    await store.unpark(staged, "")
    assert [uid for uid, _ in await store.expire(10)] == [tenant.uid]
    await store.publish(hidden, "other", "")
    assert [uid for uid, _ in await store.expire(10)] == [hidden]
