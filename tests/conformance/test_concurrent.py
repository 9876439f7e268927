"""Many writers at once, some of whom repeat what was written before: each hears what is true of its own entries."""

import asyncio

import pytest

from memsvc.errors import AlreadyExistsError
from memsvc.store.types import RecordKind
from tests.conformance.stores import payload

KNOWN, ALL = range(50), range(25, 150)


@pytest.mark.parametrize("again", [False, True], ids=["same process", "another process"])
async def test_new_and_repeated_entries_in_one_group(reopen, again) -> None:
    store = await reopen()
    uid = (await store.create_tenant("tenant", b"", b"", "")).uid

    def append(i: int, text: str = "", request_id: str = ""):
        return store.append(uid, RecordKind.WRITE, b"", (payload(f"id{i}", text),), request_id=request_id)

    first = await asyncio.gather(*(append(i, request_id=f"r{i}") for i in KNOWN))
    if again:
        store = await reopen()
    answers = await asyncio.gather(
        *(append(i, "other" if i % 10 == 3 else "", f"r{i}" if i % 10 == 5 else "") for i in ALL),
        return_exceptions=True,
    )
    for i, answer in zip(ALL, answers, strict=True):
        if i in KNOWN and i % 10 == 3:
            assert isinstance(answer, AlreadyExistsError)
        elif i in KNOWN:
            assert answer.record is None
            assert answer.seqs == first[i].seqs
            assert all(answer.skipped)
        else:
            assert answer.skipped == (False,)
    entries = await store.scan(uid, 0, 1000)
    assert {entry.payload.id for entry in entries} == {f"id{i}" for i in range(ALL.stop)}
    assert [entry.number for entry in entries] == list(range(1, ALL.stop + 1))
    records = await store.read(uid, 0, 1 << 24)
    assert [record.seq for record in records] == list(range(1, ALL.stop + 2))
