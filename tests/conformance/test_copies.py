"""Tenants made of another one's records: what `Log` promises about staging and publishing them, for every store."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from memsvc.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from memsvc.store.base import Store
from memsvc.store.types import Origin, Payload, Record, RecordKind, Snapshot, StoredEntry
from tests.conformance.stores import DAY_US, payload, write


@pytest.fixture
async def uid(store, tenant, clock) -> str:
    """Of "a" 1, 2 (did not learn) and 3; "b" 4 (deleted), "c" 5 (expired, did not learn), "f" 6 (erased), "g" 7."""
    uid = tenant.uid
    await write(store, uid, payload("a", "one"))
    clock.now_us += 5
    await store.update(uid, payload("a", "two", learn=False), "u")
    await store.update(uid, payload("a", "three"), "")
    await write(store, uid, payload("b", "one"), payload("c", "one", learn=False, expire_us=clock.now_us))
    await store.feedback(uid, ["a"], b"feedback", "")
    await write(store, uid, payload("f", "one"), payload("g", "one", expire_us=clock.now_us + 5))
    await store.delete(uid, "b", "d")
    await store.expire(10)
    erasure, _ = await store.forget(uid, ["f"], "")
    await store.erase(uid, erasure.first_seq)
    return uid


async def copy(store: Store, uid: str, tenant: str = "copy") -> tuple[str, list[Record]]:
    """Stage a copy; return its uid and its records."""
    staged = await store.stage(await store.origin(uid), tenant)
    records = await store.read(uid, 0, 1 << 20)
    for start in range(0, len(records), 4):
        await store.append_staged(staged, records[start : start + 4])
    return staged, records


async def reason_of(store: Store, uid: str, id: str) -> str:
    with pytest.raises(NotFoundError) as caught:
        await store.entry_by_id(uid, id)
    return caught.value.reason


async def test_a_copy_is_what_it_was_made_of(store, uid, tenant, reopen) -> None:
    staged, records = await copy(store, uid)
    row = await store.publish(staged, "copy", "")
    assert row == replace(tenant, uid=staged, tenant="copy")
    assert staged != uid
    for _ in range(2):
        assert await store.get_tenant("copy") == row
        assert await store.list_tenants("", 10) == [row, tenant]
        assert await store.read(staged, 0, 1 << 20) == records
        assert await store.heads() == dict.fromkeys((uid, staged), len(records))
        assert await store.origin(staged) == await store.origin(uid)
        for as_of in [None, *range(len(records) + 1)]:
            assert await store.scan(staged, 0, 10, as_of) == await store.scan(uid, 0, 10, as_of)
        assert await store.entry_by_id(staged, "a") == await store.entry_by_id(uid, "a")
        assert await store.entry_by_id(staged, "a", 2) == await store.entry_by_id(uid, "a", 2)
        with pytest.raises(NotFoundError) as caught:
            await store.entry_by_id(staged, "a", 3)
        assert caught.value.reason == "DELETED", "its text is destroyed, there and here"
        assert [await reason_of(store, staged, id) for id in "bf"] == ["DELETED", "FORGOTTEN"]
        assert await store.entry_by_id(staged, "c") is None, "of what is not there, nothing is known"
        assert await store.seq_at(staged, records[1].commit_us) == await store.seq_at(uid, records[1].commit_us) == 2
        store = await reopen()
    assert abs(await store.size(staged) - await store.size(uid)) < 1_000


async def test_a_copy_goes_on_by_itself(store, uid, clock) -> None:
    staged, records = await copy(store, uid)
    await store.publish(staged, "copy", "")
    before = await store.read(uid, 0, 1 << 20)
    clock.now_us -= 100
    written = await write(store, staged, payload("new"), payload("a", "one"), payload("b", "one"))
    assert (written.numbers, written.skipped) == ((8, 1, 4), (False, True, True)), "no number is given again"
    assert (written.record.seq, written.record.commit_us) == (len(records) + 1, records[-1].commit_us)
    with pytest.raises(AlreadyExistsError):
        await write(store, staged, payload("b", "two"))
    with pytest.raises(FailedPreconditionError) as caught:
        await write(store, staged, payload("f", "other"))
    assert caught.value.reason == "FORGOTTEN"
    clock.now_us += 200
    assert {uid: record.about for uid, record in await store.expire(10)} == {uid: (7,), staged: (7,)}
    assert (await store.update(staged, payload("a", "four"), "")).record.about == (3,)
    _, forget = await store.forget(staged, ["a"], "")
    assert forget.about == (1, 3, 9), "every revision that is there"
    assert (await store.read(uid, 0, 1 << 20))[:-1] == before


async def test_a_request_of_the_one_is_none_of_the_other(store, uid) -> None:
    staged, records = await copy(store, uid)
    await store.publish(staged, "copy", "")
    assert (await store.update(staged, payload("a", "two"), "u")).record.seq == len(records) + 1
    assert (await store.delete(staged, "g", "d")).record.about == (7,)
    assert (await store.update(uid, payload("a", "two", learn=False), "u")).record.seq == 3


async def test_a_copy_of_the_past(store, uid) -> None:
    staged = await store.stage(await store.origin(uid), "copy")
    await store.append_staged(staged, (await store.read(uid, 0, 1 << 20))[:6])
    await store.publish(staged, "copy", "")
    assert await store.head(staged) == 6
    assert (await store.entry_by_id(staged, "b")).number == 4
    assert [e.number for e in await store.scan(staged, 0, 10)] == [3, 4]
    assert await reason_of(store, staged, "f") == "FORGOTTEN", "though it was written later"
    assert (await store.delete(staged, "b", "")).record.seq == 7


async def test_what_ends_in_a_copy_is_destroyed_as_ever(store) -> None:
    """A record read before the end of its entry, and one read after it."""
    staged = await store.stage(Origin(created_us=1, config=b"config", id_key=b"key", forgotten=()), "copy")
    given = [payload("a", "one", learn=False), payload("b", "one", learn=False), payload("c", "one", learn=False)]
    await store.append_staged(
        staged,
        [
            record(1, RecordKind.WRITE, {1: given[0], 2: given[1], 3: given[2]}),
            record(2, RecordKind.UPDATE, {4: payload("a", "two")}, (1,)),
            record(3, RecordKind.EXPIRE, {}, (2,)),
            record(4, RecordKind.DELETE, {}, (3,)),
        ],
    )
    row = await store.publish(staged, "copy", "")
    assert (row.created_us, row.config) == (1, b"config")
    assert [e.number for r in await store.read(staged, 0, 1 << 20) for e in r.entries] == [4]
    assert [await reason_of(store, staged, id) for id in "bc"] == ["EXPIRED", "DELETED"]
    assert (await write(store, staged, *given)).skipped == (True, True, True)


async def test_the_revision_that_is_not_there(store) -> None:
    staged = await store.stage(Origin(created_us=1, config=b"", id_key=b"key", forgotten=()), "copy")
    await store.append_staged(
        staged,
        [
            record(1, RecordKind.WRITE, {1: payload("a", "one"), 2: payload("b", "one")}),
            record(2, RecordKind.UPDATE, {}, (1,)),
            record(3, RecordKind.UPDATE, {}, (2,)),
            record(4, RecordKind.UPDATE, {5: payload("b", "three")}, (4,)),
            record(5, RecordKind.UPDATE, {7: payload("x", "two")}, (6,)),
            record(6, RecordKind.DELETE, {}, (8,)),
        ],
    )
    await store.publish(staged, "copy", "")
    assert await reason_of(store, staged, "a") == "DELETED"
    assert [e.number for e in await store.scan(staged, 0, 10)] == [5, 7]
    assert (await store.entry_by_id(staged, "b", 1)).number == 2
    assert (await store.forget(staged, ["b", "x"], ""))[1].about == (2, 5, 7)
    assert (await write(store, staged, payload("new"))).numbers == (9,), "nor is the number of what is not there"


def record(
    seq: int, kind: RecordKind, entries: dict[int, Payload], about: Sequence[int] = (), commit_us: int = 5
) -> Record:
    stored = (StoredEntry(number=n, seq=seq, commit_us=commit_us, payload=p) for n, p in entries.items())
    return Record(seq=seq, commit_us=commit_us, kind=kind, entries=tuple(stored), about=tuple(about))


@pytest.mark.parametrize(
    "wrong",
    [
        record(2, RecordKind.RESTART, {}),
        record(4, RecordKind.RESTART, {}),
        record(3, RecordKind.RESTART, {}, commit_us=4),
        record(3, RecordKind.WRITE, {2: payload("new")}),
        record(3, RecordKind.WRITE, {4: payload("new"), 3: payload("newer")}),
        replace(
            record(3, RecordKind.WRITE, {3: payload("new")}),
            entries=record(2, RecordKind.WRITE, {3: payload("n")}).entries,
        ),
        record(3, RecordKind.WRITE, {3: payload("a", "one")}),
        record(3, RecordKind.WRITE, {3: payload("b", "one")}),
        record(3, RecordKind.WRITE, {3: payload("new"), 4: payload("new")}),
        record(3, RecordKind.UPDATE, {3: payload("a", "two")}, (2,)),
        record(3, RecordKind.UPDATE, {3: payload("a", "two"), 4: payload("new")}, (1,)),
        record(3, RecordKind.FORGET, {}, (1,)),
    ],
)
async def test_a_record_that_does_not_follow_is_refused(store, tenant, wrong) -> None:
    await write(store, tenant.uid, payload("f"))
    await store.forget(tenant.uid, ["f"], "")
    staged = await store.stage(await store.origin(tenant.uid), "copy")
    first = [
        record(1, RecordKind.WRITE, {1: payload("a", "one"), 2: payload("b", "one")}),
        record(2, RecordKind.DELETE, {}, (2,)),
    ]
    await store.append_staged(staged, first)
    for records in ([wrong], [record(3, RecordKind.WRITE, {3: payload("f")})]):
        with pytest.raises(InvalidArgumentError) as caught:
            await store.append_staged(staged, records)
        assert caught.value.field == "records[0]"
    update = record(3, RecordKind.UPDATE, {3: payload("a", "two")}, (1,))
    with pytest.raises(InvalidArgumentError) as caught:
        await store.append_staged(staged, [update, record(3, RecordKind.RESTART, {})])
    assert caught.value.field == "records[1]"
    await store.publish(staged, "copy", "")
    assert await store.read(staged, 0, 1 << 20) == first, "nothing of what was refused is there"
    assert [e.number for e in await store.scan(staged, 0, 10)] == [1]


async def test_no_one_sees_what_is_staged(store, uid, tenant) -> None:
    heads = await store.heads()
    staged, records = await copy(store, uid)
    await store.save(staged, Snapshot(seq=2, meta=b"", blobs={"a": b"bytes"}))
    assert await store.kept(staged) > (1, 5)
    assert await store.list_tenants("", 10) == [tenant]
    assert await store.heads() == heads
    for call in (
        store.head(staged),
        store.seq_at(staged, 0),
        store.origin(staged),
        store.delete_tenant(staged, ""),
        write(store, staged, payload("new")),
        store.delete(staged, "a", ""),
    ):
        with pytest.raises(NotFoundError):
            await call
    assert await store.scan(staged, 0, 10) == await store.read(staged, 0, 1 << 20) == []
    await store.publish(staged, "copy", "")
    assert await store.head(staged) == len(records)
    assert (await store.load(staged)).snapshot.seq == 2, "what was saved before is there"


async def test_a_discarded_copy_is_gone(store, uid, tenant) -> None:
    staged, records = await copy(store, uid)
    await store.save(staged, Snapshot(seq=2, meta=b"", blobs={"a": b"bytes"}))
    for _ in range(2):
        await store.discard(staged)
        assert await store.kept(staged) == (0, 0)
        for call in (
            store.append_staged(staged, []),
            store.publish(staged, "copy", "r"),
            store.replace(uid, staged, "r"),
            store.save(staged, Snapshot(seq=2, meta=b"", blobs={})),
        ):
            with pytest.raises(NotFoundError):
                await call
    await store.save(uid, Snapshot(seq=2, meta=b"", blobs={}))
    await store.discard(uid)
    await store.discard("no-such-uid")
    assert await store.read(uid, 0, 1 << 20) == records, "a living one is not discarded"
    assert (await store.load(uid)).snapshot is not None


async def test_what_is_not_staged_takes_no_records(store, uid) -> None:
    staged, records = await copy(store, uid)
    await store.publish(staged, "copy", "")
    for target in (uid, staged, "no-such-uid"):
        with pytest.raises(NotFoundError):
            await store.append_staged(target, [record(len(records) + 1, RecordKind.RESTART, {}, commit_us=1 << 60)])
        with pytest.raises(NotFoundError):
            await store.publish(target, "other", "")
    assert await store.heads() == dict.fromkeys((uid, staged), len(records))


async def test_a_staged_copy_is_gone_after_a_restart(store, uid, reopen, tenant) -> None:
    staged, _ = await copy(store, uid)
    await store.save(staged, Snapshot(seq=2, meta=b"", blobs={"a": b"bytes"}))
    store = await reopen()
    with pytest.raises(NotFoundError):
        await store.publish(staged, "copy", "")
    assert await store.list_tenants("", 10) == [tenant]
    assert await store.seqs() == {}


async def test_a_name_that_is_taken_is_refused(store, uid) -> None:
    staged, records = await copy(store, uid)
    taken = await store.create_tenant("copy", b"", b"", "")
    with pytest.raises(AlreadyExistsError):
        await store.publish(staged, "copy", "r")
    await store.delete_tenant(taken.uid, "")
    await store.publish(staged, "copy", "r")
    assert await store.head(staged) == len(records), "it was as it was, and the refused is not remembered"


async def test_a_repeated_publication(store, uid, reopen, clock) -> None:
    staged, _ = await copy(store, uid)
    assert await store.published("copy", "r") is None
    row = await store.publish(staged, "copy", "r")
    again, _ = await copy(store, uid)
    assert await store.publish(again, "copy", "r") == row
    for name in ("other", "tenant"):
        with pytest.raises(FailedPreconditionError) as caught:
            await store.publish(again, name, "r")
        assert caught.value.reason == "REQUEST_ID_REUSED"
    with pytest.raises(FailedPreconditionError):
        await store.create_tenant("other", b"", b"", "r")
    other, _ = await copy(store, uid, "again")
    await store.publish(other, "again", "")
    for _ in range(2):
        assert await store.published("copy", "r") == row
        assert await store.published("copy", "r2") is await store.published("again", "r") is None
        assert await store.published("again", "") is None
        store = await reopen()
    clock.now_us += DAY_US - 1
    assert await store.published("copy", "r") == row
    await store.delete_tenant(staged, "")
    assert await store.published("copy", "r") is None
    with pytest.raises(NotFoundError):
        await store.publish(again, "copy", "r")
    clock.now_us += 1
    assert await store.published("again", "r") is None


async def test_a_request_that_created_published_nothing(store) -> None:
    await store.create_tenant("t", b"", b"", "c")
    assert await store.published("t", "c") is None


async def test_what_was_made_of_a_tenant(store, uid, reopen) -> None:
    other = await store.create_tenant("other", b"", b"", "")
    assert await store.copies(uid) == []
    for note in ("export 2", "é", "export 1", "é", "export 2"):
        await store.note_copy(uid, note)
    await store.note_copy(other.uid, "é")
    for _ in range(2):
        assert await store.copies(uid) == ["export 2", "é", "export 1"]
        assert await store.copies(other.uid) == ["é"]
        store = await reopen()
    await store.delete_tenant(uid, "")
    await store.note_copy(uid, "late")
    assert await store.copies(uid) == []
    assert await store.copies(other.uid) == ["é"]


async def test_a_closed_store_makes_nothing(store, uid) -> None:
    origin = await store.origin(uid)
    await store.close()
    for call in (
        store.stage(origin, "copy"),
        store.append_staged("staged", []),
        store.publish("staged", "copy", ""),
        store.published("copy", "r"),
        store.replace(uid, "staged", ""),
        store.discard("staged"),
        store.unpark(uid, ""),
        store.confirm(uid, ""),
        store.note_copy(uid, "copy"),
    ):
        with pytest.raises(UnavailableError):
            await call
