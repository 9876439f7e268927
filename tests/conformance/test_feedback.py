"""Feedback: what `Log` promises about it, for every store."""

from dataclasses import replace

import pytest

from memsvc.errors import FailedPreconditionError, NotFoundError
from memsvc.store.types import RecordKind
from tests.conformance.stores import DAY_US, payload, write


@pytest.fixture
async def uid(store, tenant) -> str:
    """Entries "a" (1, replaced by 4), "b" (2, does not learn), "c" (3)."""
    await write(store, tenant.uid, payload("a", "one"), payload("b", "one", learn=False), payload("c", "one"))
    await store.update(tenant.uid, payload("a", "two"), "")
    return tenant.uid


async def test_feedback_is_about_the_living_revisions(store, uid, reopen, clock) -> None:
    before = await store.scan(uid, 0, 10)
    clock.now_us += 5
    changed = await store.feedback(uid, ["a", "c", "b", "a"], b"\x00body\xff", "r")
    record = changed.record
    assert (record.seq, record.kind, record.body) == (4, RecordKind.FEEDBACK, b"\x00body\xff")
    assert (record.about, record.entries, record.commit_us) == ((2, 3, 4), (), clock.now_us)
    assert changed.destroyed == 0
    for _ in range(2):
        assert await store.read(uid, 3, 1 << 20) == [record]
        assert await store.scan(uid, 0, 10) == before, "it changes no entry"
        store = await reopen()


async def test_only_living_entries_take_feedback(store, uid) -> None:
    await store.delete(uid, "c", "")
    await store.forget(uid, ["b"], "")
    for tenant, id, reason in (
        (uid, "c", "DELETED"),
        (uid, "b", "FORGOTTEN"),
        (uid, "x", "ENTRY_NOT_FOUND"),
        ("no-such-uid", "a", "TENANT_NOT_FOUND"),
    ):
        with pytest.raises(NotFoundError) as caught:
            await store.feedback(tenant, ["a", id], b"body", "r")
        assert caught.value.reason == reason
        assert caught.value.metadata == ({"id": id} if tenant == uid else {})
    assert await store.head(uid) == 5
    assert (await store.feedback(uid, ["a"], b"body", "r")).record.seq == 6, "what was refused is not remembered"


async def test_a_repeated_request_returns_the_same_record(store, uid, reopen, clock) -> None:
    changed = await store.feedback(uid, ["a", "b"], b"body", "r")
    await store.delete(uid, "b", "")
    for ids in (["a", "b"], ["b", "a"]):
        assert await store.feedback(uid, ids, b"body", "r") == replace(changed, repeated=True)
        store = await reopen()
    for ids, body in ((["a"], b"body"), (["a", "b"], b"other"), (["a", "b", "c"], b"body")):
        with pytest.raises(FailedPreconditionError) as caught:
            await store.feedback(uid, ids, body, "r")
        assert caught.value.reason == "REQUEST_ID_REUSED"
    with pytest.raises(FailedPreconditionError):
        await store.delete(uid, "a", "r")
    assert await store.head(uid) == 5
    clock.now_us += DAY_US
    with pytest.raises(NotFoundError):
        await store.feedback(uid, ["a", "b"], b"body", "r")


async def test_an_empty_request_id_repeats_nothing(store, uid) -> None:
    assert [(await store.feedback(uid, ["a"], b"", "")).record.seq for _ in range(3)] == [4, 5, 6]


async def test_forgetting_leaves_the_record_and_no_payload(store, uid) -> None:
    record = (await store.feedback(uid, ["a", "c"], b"body", "")).record
    erasure, _ = await store.forget(uid, ["a"], "")
    await store.erase(uid, erasure.first_seq)
    assert (await store.read(uid, 3, 0)) == [record]
    assert await store.entries(uid, record.about) == await store.entries(uid, [3])
