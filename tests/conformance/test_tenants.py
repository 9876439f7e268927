"""Tenants: what `Log` promises about their lives, for every store."""

import asyncio

import pytest

from memsvc.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from memsvc.store.types import RecordKind, Snapshot, Span
from tests.conformance.stores import DAY_US, payload, write

# In byte order of UTF-8, which is neither that of UTF-16 nor of any locale.
IDS = ["A", "a", "a/b", "a@b.example", "e\u0301", "z", "é", "\u05d0", "\ufffd", "\U0001f600", "\U0001f600" * 64]


async def test_a_new_tenant_has_one_record(store, clock) -> None:
    row = await store.create_tenant("t", b"config", b"body", "r")
    assert (row.tenant, row.config, row.created_us) == ("t", b"config", clock.now_us)
    assert await store.get_tenant("t") == row
    (record,) = await store.read(row.uid, 0, 1 << 20)
    assert (record.seq, record.kind, record.body, record.entries) == (1, RecordKind.CREATE, b"body", ())
    assert record.commit_us == clock.now_us
    assert await store.head(row.uid) == 1


async def test_an_id_names_one_living_tenant(store) -> None:
    await store.create_tenant("t", b"", b"", "r1")
    with pytest.raises(AlreadyExistsError):
        await store.create_tenant("t", b"", b"", "r2")


async def test_ids_are_compared_as_bytes_and_listed_in_their_order(store) -> None:
    rows = {id: await store.create_tenant(id, id.encode(), b"", "") for id in reversed(IDS)}
    assert len({row.uid for row in rows.values()}) == len(IDS)
    for id in IDS:
        assert await store.get_tenant(id) == rows[id]
    assert [row.tenant for row in await store.list_tenants("", 100)] == IDS
    paged: list[str] = []
    while page := await store.list_tenants(paged[-1] if paged else "", 3):
        assert len(page) <= 3
        paged += [row.tenant for row in page]
    assert paged == IDS


@pytest.mark.parametrize(
    ("within", "shown"),
    [
        ([], []),
        ([Span(b"a", b"a\x00")], ["a"]),
        ([Span(b"b", b"b\x00")], []),
        ([Span(b"a/\x00", b"a0")], ["a/b"]),
        ([Span(b"A", b"A\x00"), Span(b"a/\x00", b"a0"), Span("é".encode())], ["A", "a/b", *IDS[6:]]),
    ],
)
async def test_a_listing_keeps_to_its_spans(store, within, shown) -> None:
    for id in IDS:
        await store.create_tenant(id, b"", b"", "")
    assert [row.tenant for row in await store.list_tenants("", 100, within)] == shown
    paged: list[str] = []
    while page := await store.list_tenants(paged[-1] if paged else "", 2, within):
        assert len(page) <= 2
        paged += [row.tenant for row in page]
    assert paged == shown


async def test_a_repeated_request_creates_nothing(store, reopen) -> None:
    row = await store.create_tenant("t", b"config", b"body", "r")
    assert await store.create_tenant("t", b"config", b"body", "r") == row
    store = await reopen()
    assert await store.create_tenant("t", b"config", b"body", "r") == row
    await store.delete_tenant(row.uid, "r2")
    # A retry that was under way for long must not bring the tenant back.
    assert await store.create_tenant("t", b"config", b"body", "r") == row
    assert await store.get_tenant("t") is None


@pytest.mark.parametrize(("tenant", "config"), [("other", b"config"), ("t", b"other")])
async def test_a_request_id_is_not_used_for_another_creation(store, tenant, config) -> None:
    await store.create_tenant("t", b"config", b"body", "r")
    with pytest.raises(FailedPreconditionError):
        await store.create_tenant(tenant, config, b"body", "r")


async def test_a_request_id_is_not_used_for_creation_and_deletion(store) -> None:
    row = await store.create_tenant("t", b"", b"", "r")
    with pytest.raises(FailedPreconditionError):
        await store.delete_tenant(row.uid, "r")
    assert await store.get_tenant("t") == row
    await store.delete_tenant(row.uid, "d")
    for request_id in ("r", "d"):
        with pytest.raises(FailedPreconditionError):
            await (store.delete_tenant(row.uid, "r") if request_id == "r" else store.create_tenant("t", b"", b"", "d"))


async def test_a_request_id_is_forgotten_after_a_day(store, clock) -> None:
    row = await store.create_tenant("t", b"", b"", "r")
    clock.now_us += DAY_US - 1
    assert await store.create_tenant("t", b"", b"", "r") == row
    clock.now_us += 1
    with pytest.raises(AlreadyExistsError):
        await store.create_tenant("t", b"", b"", "r")


async def test_an_empty_request_id_is_never_remembered(store) -> None:
    await store.create_tenant("a", b"", b"", "")
    row = await store.create_tenant("b", b"", b"", "")
    await store.delete_tenant(row.uid, "")
    assert not await store.find_deleted("b", "")
    with pytest.raises(NotFoundError):
        await store.delete_tenant(row.uid, "")


async def test_concurrent_creations_of_one_id_make_one_tenant(store) -> None:
    results = await asyncio.gather(
        *(store.create_tenant("t", b"", b"", f"r{i}") for i in range(20)), return_exceptions=True
    )
    refused = [r for r in results if isinstance(r, AlreadyExistsError)]
    assert len(refused) == 19
    assert len(await store.list_tenants("", 100)) == 1


async def test_a_deleted_tenant_is_gone_everywhere(store, reopen) -> None:
    row = await store.create_tenant("t", b"", b"", "")
    kept = await store.create_tenant("kept", b"", b"", "")
    for uid in (row.uid, kept.uid):
        await write(store, uid, payload("x", "one"))
        await store.save(uid, Snapshot(seq=2, meta=b"", blobs={"a": b"bytes"}))
    await store.delete_tenant(row.uid, "d")
    for _ in range(2):
        assert await store.get_tenant("t") is None
        assert await store.list_tenants("", 10) == [kept]
        assert await store.heads() == {kept.uid: 2}
        assert await store.seqs() == {kept.uid: 2}
        assert await store.read(row.uid, 0, 1 << 20) == []
        assert await store.entries(row.uid, [1]) == []
        assert await store.entry_by_id(row.uid, "x") is None
        assert await store.scan(row.uid, 0, 10) == []
        assert (await store.load(row.uid)).snapshot is None
        for call in (store.head(row.uid), write(store, row.uid, payload("y"))):
            with pytest.raises(NotFoundError):
                await call
        assert await store.entry_by_id(kept.uid, "x") is not None
        assert (await store.load(kept.uid)).snapshot is not None
        store = await reopen()


async def test_a_new_incarnation_begins_anew(store) -> None:
    old = await store.create_tenant("t", b"", b"", "")
    await write(store, old.uid, payload("x", "one"))
    await store.delete_tenant(old.uid, "d")
    new = await store.create_tenant("t", b"", b"", "")
    assert new.uid != old.uid
    appended = await write(store, new.uid, payload("x", "two"))
    assert (appended.seqs, appended.numbers) == ((2,), (1,))
    await store.delete_tenant(old.uid, "d")  # the repeat of an old request
    assert await store.get_tenant("t") == new


async def test_only_a_repeat_deletes_an_absent_tenant(store, reopen, clock) -> None:
    row = await store.create_tenant("t", b"", b"", "")
    with pytest.raises(NotFoundError):
        await store.delete_tenant("no-such-uid", "d0")
    await store.delete_tenant(row.uid, "d")
    store = await reopen()
    await store.delete_tenant(row.uid, "d")
    with pytest.raises(NotFoundError):
        await store.delete_tenant(row.uid, "d2")
    clock.now_us += DAY_US
    with pytest.raises(NotFoundError):
        await store.delete_tenant(row.uid, "d")


async def test_find_deleted_knows_the_tenant_and_the_request(store, clock) -> None:
    row = await store.create_tenant("t", b"", b"", "c")
    assert not await store.find_deleted("t", "d")
    await store.delete_tenant(row.uid, "d")
    assert await store.find_deleted("t", "d")
    assert not await store.find_deleted("t", "c")
    assert not await store.find_deleted("other", "d")
    clock.now_us += DAY_US
    assert not await store.find_deleted("t", "d")
