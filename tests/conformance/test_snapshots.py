"""Snapshots: what `Snapshots` promises, for every store."""

import asyncio

import pytest

from memsvc.errors import FailedPreconditionError, NotFoundError
from memsvc.store.base import Store
from memsvc.store.types import LoadedSnapshot, Retention, Snapshot
from tests.conformance.stores import payload, write


def snapshot(seq: int, **blobs: bytes | None) -> Snapshot:
    return Snapshot(seq=seq, meta=f"meta {seq}".encode(), blobs=blobs)


async def test_a_tenant_may_have_none(store, tenant) -> None:
    assert await store.load(tenant.uid) == LoadedSnapshot(snapshot=None)
    assert await store.seqs() == {}


async def test_a_snapshot_comes_back_whole(store, tenant, reopen) -> None:
    saved = snapshot(7, weights=bytes(range(256)) * 1000, empty=b"")
    await store.save(tenant.uid, saved)
    for _ in range(2):
        assert await store.load(tenant.uid) == LoadedSnapshot(snapshot=saved)
        assert await store.seqs() == {tenant.uid: 7}
        store = await reopen()


async def test_the_newest_is_loaded(store, tenant) -> None:
    for seq in (2, 5, 9):
        await store.save(tenant.uid, snapshot(seq, shared=b"s", **{f"own{seq}": b"%d" % seq}))
    assert (await store.load(tenant.uid)).snapshot == snapshot(9, shared=b"s", own9=b"9")
    assert await store.seqs() == {tenant.uid: 9}


async def test_bytes_that_the_store_holds_may_be_left_out(store, tenant, reopen) -> None:
    await store.save(tenant.uid, snapshot(1, segment0=b"zero"))
    await store.save(tenant.uid, snapshot(2, segment0=None, segment1=b"one"))
    store = await reopen()
    await store.save(tenant.uid, snapshot(3, segment0=None, segment1=None, segment2=b"two"))
    loaded = (await store.load(tenant.uid)).snapshot
    assert loaded == snapshot(3, segment0=b"zero", segment1=b"one", segment2=b"two")
    assert list(loaded.blobs) == ["segment0", "segment1", "segment2"]


async def test_a_blob_is_never_another(store, tenant) -> None:
    await store.save(tenant.uid, snapshot(1, a=b"one"))
    await store.save(tenant.uid, snapshot(2, a=b"one"))
    with pytest.raises(FailedPreconditionError):
        await store.save(tenant.uid, snapshot(3, a=b"two"))
    assert (await store.load(tenant.uid)).snapshot == snapshot(2, a=b"one")


async def test_blobs_that_no_generation_names_are_dropped(store, tenant) -> None:
    await store.save(tenant.uid, snapshot(1, old=b"x" * 500_000))
    await store.save(tenant.uid, snapshot(2, a=b"a"))
    assert await store.size(tenant.uid) > 500_000, "the older generation still names it"
    await store.save(tenant.uid, snapshot(3, a=None))
    assert await store.size(tenant.uid) < 100_000
    with pytest.raises(FailedPreconditionError):
        await store.save(tenant.uid, snapshot(4, old=None))
    assert (await store.load(tenant.uid)).snapshot == snapshot(3, a=b"a")


async def loadable(store: Store, uid: str, newest: int) -> list[int]:
    """The snapshots that can be had, the newest first."""
    seqs: list[int] = []
    while (found := (await store.load(uid, seqs[-1] if seqs else newest + 1)).snapshot) is not None:
        assert found == snapshot(found.seq, shared=b"s" * 50_000, **{f"own{found.seq}": b"%d" % found.seq * 20_000})
        seqs.append(found.seq)
    return seqs


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (Retention.NONE, [20, 19]),
        (Retention.LOG_SPACED, [20, 19, 17, 13, 9, 1]),
        (Retention.ALL, list(range(20, 0, -1))),
    ],
)
async def test_the_snapshots_to_keep_are_kept(store, tenant, reopen, keep, expected) -> None:
    sizes = {}
    for seq in range(1, 21):
        blobs = {"shared": b"s" * 50_000, f"own{seq}": b"%d" % seq * 20_000}
        await store.save(tenant.uid, snapshot(seq, **blobs), keep)
        count, sizes[seq] = await store.kept(tenant.uid)
    assert count == len(expected)
    own = sum(len(str(seq)) * 20_000 for seq in expected)
    assert 50_000 + own <= sizes[20] <= 50_000 + own + 10_000 * (count + 1), "what they share counts once"
    assert await store.size(tenant.uid) >= sizes[20]
    for _ in range(2):
        assert await loadable(store, tenant.uid, 20) == expected
        assert (await store.kept(tenant.uid))[0] == len(expected)
        store = await reopen()
    destroyed = await store.erase(tenant.uid, 16)
    assert (destroyed.bytes, list(destroyed.snapshots)) == (0, [seq for seq in expected if seq >= 16])
    left = [seq for seq in expected if seq < 16]
    assert await loadable(store, tenant.uid, 20) == left
    await store.save(tenant.uid, snapshot(21, shared=b"s" * 50_000, own21=b"21" * 20_000))
    assert await loadable(store, tenant.uid, 21) == [21, *left[:1]], "the next that keeps none drops the rest"
    assert await store.kept("no-such-uid") == (0, 0)


@pytest.mark.parametrize("keep", [Retention.NONE, Retention.ALL])
async def test_a_save_drops_what_holds_something_destroyed(store, tenant, keep) -> None:
    for seq in range(1, 6):
        blobs = {"shared": b"s" * 50_000, f"own{seq}": b"%d" % seq * 20_000}
        await store.save(tenant.uid, snapshot(seq, **blobs), Retention.ALL)
    for seq in (6, 6):  # and once more, of the same record
        blobs = {"shared": b"s" * 50_000, f"own{seq}": b"%d" % seq * 20_000}
        await store.save(tenant.uid, snapshot(seq, **blobs), keep, drop_from=3)
        expected = [6, 2] if keep is Retention.NONE else [6, 2, 1]
        assert await loadable(store, tenant.uid, 6) == expected
        count, size = await store.kept(tenant.uid)
        assert count == len(expected)
        assert size < 50_000 + 20_000 * count + 10_000 * (count + 1), "what only the others named is gone"


async def test_a_snapshot_saved_again_leaves_nothing_of_the_first(store, tenant) -> None:
    await store.save(tenant.uid, snapshot(1, a=b"x" * 500_000), Retention.ALL)
    await store.save(tenant.uid, snapshot(1, b=b"b"), Retention.ALL)
    count, size = await store.kept(tenant.uid)
    assert count == 1
    assert size < 100_000


async def test_snapshots_of_tenants_are_apart(store, tenant) -> None:
    other = await store.create_tenant("other", b"", b"", "")
    await store.save(tenant.uid, snapshot(1, a=b"one"))
    with pytest.raises(FailedPreconditionError):
        await store.save(other.uid, snapshot(1, a=None))
    await store.save(other.uid, snapshot(4, a=b"two"))
    await store.delete_tenant(tenant.uid, "")
    assert (await store.load(other.uid)).snapshot == snapshot(4, a=b"two")
    assert await store.seqs() == {other.uid: 4}


async def test_a_deleted_tenant_gets_no_snapshot(store, tenant) -> None:
    results = await asyncio.gather(
        *(store.save(tenant.uid, snapshot(seq, a=b"a")) for seq in range(1, 6)),
        store.delete_tenant(tenant.uid, ""),
        *(store.save(tenant.uid, snapshot(seq, b=b"b")) for seq in range(6, 11)),
        return_exceptions=True,
    )
    assert all(r is None or isinstance(r, NotFoundError) for r in results)
    assert await store.seqs() == {}
    with pytest.raises(NotFoundError):
        await store.save(tenant.uid, snapshot(11))


async def test_saving_and_appending_go_on_side_by_side(store, tenant) -> None:
    saves = [store.save(tenant.uid, snapshot(seq, **{f"b{seq}": bytes(1_000_000)})) for seq in range(1, 4)]
    appends = [write(store, tenant.uid, payload(f"id{i}", "")) for i in range(50)]
    await asyncio.gather(*saves, *appends)
    assert await store.head(tenant.uid) == 51
    assert await store.seqs() == {tenant.uid: 3}
