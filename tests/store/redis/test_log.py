"""The log in Redis beyond what every store promises: what is read beside commits, and in how few rounds."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsvc.store.redis import committer, rows
from memsvc.store.redis.store import RedisOptions, RedisStore
from memsvc.store.redis.transaction import Transaction
from memsvc.store.redis.url import parse
from memsvc.store.types import Origin, Record, RecordKind, StoredEntry, TenantRow
from tests.conformance.stores import Clock, payload, write
from tests.store.redis.proxy import Proxy

MANY = 200


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def proxy(server) -> AsyncIterator[Proxy]:
    async with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture(params=["server"])
async def store(request, server, proxy, clock) -> AsyncIterator[RedisStore]:
    """On the server, or through the proxy, where commands must be small."""
    url = {"server": server, "proxy": proxy}[request.param].url
    store = await RedisStore.open(parse(url), RedisOptions(clock_us=clock, shards=1))
    yield store
    await store.close()


through_the_proxy = pytest.mark.parametrize("store", ["proxy"], indirect=True)


@pytest.fixture
async def tenant(store) -> TenantRow:
    return await store.create_tenant("tenant", b"config", b"created", "")


@pytest.fixture
def calls(monkeypatch) -> list[None]:
    """One for each call of an operation."""
    calls: list[None] = []
    made = Transaction.__init__

    def make(*args: object, **options: object) -> None:
        calls.append(None)
        made(*args, **options)

    monkeypatch.setattr(Transaction, "__init__", make)
    return calls


@through_the_proxy
@pytest.mark.parametrize("learn", [True, False])
async def test_an_entry_is_found_while_it_is_updated(store, tenant, proxy, learn) -> None:
    await write(store, tenant.uid, payload("id", "old", learn=learn))

    async def update() -> None:
        await store.update(tenant.uid, payload("id", "new", learn=learn), "")

    proxy.before(b":e:0", update)  # between the look at the id and the one at the entry
    assert (await store.entry_by_id(tenant.uid, "id")).payload.data == b"data of new"


@through_the_proxy
@pytest.mark.parametrize("learn", [True, False])
async def test_an_entry_is_listed_while_it_is_updated(store, tenant, proxy, learn) -> None:
    await write(store, tenant.uid, payload("id", "old", learn=learn))

    async def update() -> None:
        await store.update(tenant.uid, payload("id", "new", learn=learn), "")

    proxy.before(b":e:0", update)
    assert [entry.payload.data for entry in await store.scan(tenant.uid, 0, 10)] == [b"data of new"]


async def test_many_entries_expire_in_a_few_rounds(store, tenant, clock, calls) -> None:
    due = [payload(f"id {n}", learn=False, expire_us=clock.now_us + 1) for n in range(MANY)]
    await store.append(tenant.uid, RecordKind.WRITE, b"", due)
    clock.now_us += 1
    store._lease(tenant.uid).committer._known.clear()
    calls.clear()
    assert [len(record.about) for _, record in await store.expire(2 * MANY)] == [MANY]
    assert len(calls) < 10


async def test_many_revisions_are_forgotten_in_a_few_rounds(store, tenant, calls) -> None:
    ids = [f"id {n}" for n in range(MANY)]
    await write(store, tenant.uid, *(payload(id) for id in ids))
    for id in ids:
        await store.update(tenant.uid, payload(id, "new"), "")
    store._lease(tenant.uid).committer._known.clear()
    calls.clear()
    erasure, _ = await store.forget(tenant.uid, ids, "")
    assert erasure.entries == 2 * MANY
    assert len(calls) < 10


async def test_writes_stay_in_order_when_some_must_be_called_again(store, tenant, monkeypatch) -> None:
    """A writer that streams does not wait for its answers; a group of its first has another's retry."""
    monkeypatch.setattr(committer, "GROUP_OPERATIONS", 2)
    other = await store.create_tenant("other", b"", b"", "")
    await write(store, other.uid, payload("known"))
    store._lease(other.uid).committer._known.clear()
    writes = [write(store, other.uid, payload("known")), *(write(store, tenant.uid, payload(f"{n}")) for n in range(9))]
    retried, *streamed = await asyncio.gather(*writes)
    assert retried.skipped == (True,)
    assert [appended.seqs for appended in streamed] == [(2 + n,) for n in range(9)]


async def test_records_are_found_through_more_handovers_than_a_head_remembers(server, monkeypatch) -> None:
    monkeypatch.setattr(rows, "EPOCHS", 4)
    uid, seq = "", 1
    for owner in range(14):
        store = await RedisStore.open(parse(server.url), RedisOptions(clock_us=partial(int, owner), shards=1))
        uid = uid or (await store.create_tenant("tenant", b"", b"", "")).uid
        for _ in range(owner % 4):
            seq += 1
            await write(store, uid, payload(f"id {seq}"))
        if owner < 13:
            await store.close()
    seqs = list(range(1, seq + 1))
    assert len((await store._reader(store._lease(uid)).head(uid)).epochs) <= 5
    for after in range(seq + 1):
        assert [record.seq for record in await store.read(uid, after, 1 << 20)] == seqs[after:]
        assert [record.seq for record in await store.read(uid, after, 1)] == seqs[after:][:1]
    for owner in range(14):
        until = [record.seq for record in await store.read(uid, 0, 1 << 20) if record.commit_us <= owner]
        assert await store.seq_at(uid, owner) == until[-1]
    await store.close()


@given(st.lists(st.integers(1, 3), max_size=400))
def test_a_head_stays_small_and_knows_its_last_owner(steps) -> None:
    head, epoch, true = rows.Head(), 0, {}
    for seq, step in enumerate(steps, 1):
        epoch += step
        head = head.after(Record(seq=seq, commit_us=0, kind=RecordKind.CREATE, body=b""), 0, epoch)
        true[seq] = epoch
    assert len(head.epochs) <= rows.EPOCHS + 1
    for seq, epoch in true.items():
        told, _, of = head.stream_id(seq).partition("-")
        assert int(of) == seq
        assert int(told) <= epoch
    if steps:
        assert head.stream_id(len(steps)) == f"{epoch}-{len(steps)}"
        assert head.stream_id(len(steps) + 1) == f"{epoch}-{len(steps) + 1}"


async def test_a_number_that_is_far_from_the_others_keeps_no_deletion_waiting(store, connection) -> None:
    origin = Origin(created_us=1, config=b"config", id_key=b"key", forgotten=())
    staged = await store.stage(origin, "copy")
    far = (StoredEntry(number=1 << 53, seq=2, commit_us=1, payload=payload("a", "one", expire_us=9)),)
    first = Record(seq=1, commit_us=1, kind=RecordKind.CREATE)
    await store.append_staged(staged, [first, Record(seq=2, commit_us=1, kind=RecordKind.WRITE, entries=far)])
    assert any(staged in key.decode() for key in await connection.keys("*:p:*"))
    async with asyncio.timeout(10):
        await store.discard(staged)
    assert not any(staged in key.decode() for key in await connection.keys("*"))
    assert await connection.zcard("memsvc:{0}:due") == 0
