"""Two servers on one Redis, as an operator has them: calls find the owner, and what is acknowledged outlives it.

`home` serves all the module's tests. `guest` comes for one test and gets half of the shards; its own lease is so long
that nobody who has to wait for it passes.
"""

import os
import signal
from collections.abc import Callable, Iterator
from urllib.parse import quote

import grpc
import pytest
from memsvc_client import AsyncMemoryClient, Entry, FailedPreconditionError, MemoryClient, MemsvcError
from memsvc_client._status import to_error
from redis import Redis

from memsvc.v1 import types_pb2
from memsvc.v1.memory_pb2 import WriteRequest
from tests.e2e.on_redis import PATIENCE_S, Load, owned, until
from tests.redis_server import LOOPBACK, RedisUser
from tests.serving import Server, Stubs

LEASE_S, LONG_LEASE_S = 1.5, 300.0
SHARE = 3
"""Tenants that a server must own before a test begins."""


@pytest.fixture(scope="module")
def redis(tmp_path_factory) -> Iterator[RedisUser]:
    """One that asks for a password, and whose files hold what they hold uncompressed."""
    with RedisUser(tmp_path_factory.mktemp("deployment") / "redis", rdbcompression="no") as server:
        yield server


@pytest.fixture(scope="module")
def home(redis) -> Iterator[Server]:
    saves = {"snapshot_min_tokens": 1, "snapshot_idle_s": 0.2}
    with Server(redis.directory.parent / "home", store=redis.url, lease_s=LEASE_S, log_level="debug", **saves) as home:
        yield home


@pytest.fixture
def guest(request, redis, home) -> Iterator[Server]:
    """It saves nothing: whoever takes its tenants folds their logs."""
    data, lease_s = redis.directory.parent / f"guest-{request.node.name}", getattr(request, "param", LONG_LEASE_S)
    with Server(data, store=redis.url, lease_s=lease_s, snapshot_min_tokens=1 << 30) as guest:
        yield guest
        if guest.process.poll() is None:
            os.kill(guest.process.pid, signal.SIGCONT)
            assert guest.stop() == 0


@pytest.fixture
def tenants(request, home) -> list[str]:
    """Enough for everyone to own some."""
    names = [f"{request.node.name} {i}" for i in range(16)]
    with home.client() as client:
        for name in names:
            client.create_tenant(name)
    return names


def share(server: Server, tenants: list[str]) -> list[str]:
    """Wait until a server owns some of the tenants; return them."""
    return until(lambda: found if len(found := owned(server, tenants)) >= SHARE else [])


def refused(write: Callable[[], object]) -> MemsvcError:
    with pytest.raises(grpc.RpcError) as caught:
        write()
    return to_error(caught.value, "")


# --- whose a tenant is ------------------------------------------------------------------------------------------------


async def test_calls_and_streams_follow_a_tenant_to_its_owner_and_back(home, tenants, guest) -> None:
    theirs = share(guest, tenants)[0]
    with Stubs(home.target) as stubs:
        request = WriteRequest(tenant=theirs, entries=[types_pb2.Entry(text="not here")])
        assert until(lambda: refused(lambda: stubs.memory.Write(request)).metadata) == {"owner": guest.target}
    with home.client() as client:
        async with AsyncMemoryClient(home.target) as aio:

            async def lines(name: str):
                for i in range(4):
                    if name == "there and back" and i == 2:
                        assert guest.stop() == 0
                    yield [Entry(f"{name} {i}", id=f"{name} {i}")]

            async def all_kinds(name: str) -> None:
                assert client.write(theirs, [Entry(f"{name}: a call", id=f"{name} call")]).seq
                assert (await aio.write(theirs, [Entry(f"{name}: another", id=f"{name} aio")])).seq
                streamed = list(client.write_stream(theirs, [[Entry(f"{name}: a stream", id=f"{name} stream")]]))
                assert [receipt.ids for receipt in streamed] == [(f"{name} stream",)]
                assert {hit.id for hit in client.recall(theirs, f"{name}: a stream", k=50)} == {
                    hit.id for hit in await aio.recall(theirs, f"{name}: a stream", k=50)
                }

            await all_kinds("there")
            assert owned(guest, [theirs])
            receipts = [receipt async for receipt in aio.write_stream(theirs, lines("there and back"))]
            assert [id for receipt in receipts for id in receipt.ids] == [f"there and back {i}" for i in range(4)]
            assert owned(home, [theirs])
            await all_kinds("back")
            ids = [entry.id for entry in client.list_entries(theirs)]
    kinds = ("call", "aio", "stream")
    assert ids == [
        *(f"there {kind}" for kind in kinds),
        *(f"there and back {i}" for i in range(4)),
        *(f"back {kind}" for kind in kinds),
    ]


# --- the end of an owner ----------------------------------------------------------------------------------------------


def test_whoever_is_told_to_stop_hands_over_and_nothing_is_lost(home, tenants, guest) -> None:
    """Nobody waits for the lease: it is longer than any call's timeout."""
    with home.client() as client:
        theirs = share(guest, tenants)
        with Load(client, theirs[:SHARE]) as load:
            load.more(20)
            assert guest.stop() == 0
            load.more(20)
        assert owned(home, tenants) == tenants
        for tenant in theirs[:SHARE]:
            load.check(tenant)
            verified = client.verify(tenant)
            assert client.state_hash(tenant) == verified.state_hash == verified.folded_hash


@pytest.mark.parametrize("guest", [LEASE_S], indirect=True, ids=["short lease"])
def test_whoever_is_killed_is_succeeded_after_the_lease_and_nothing_is_lost(home, tenants, guest) -> None:
    with home.client() as client:
        theirs = share(guest, tenants)
        quiet, *busy = theirs[:SHARE]
        client.write(quiet, [f"turn {i}: thing {i * 7919 % 1009} met thing {i * 104729 % 997}" for i in range(400)])
        state = client.state_hash(quiet)
        with Load(client, busy) as load:
            load.more(20)
            guest.kill()
            assert client.state_hash(quiet, timeout=PATIENCE_S) == state, "the first that is asked of it"
            load.more(20)
        assert owned(home, tenants) == tenants
        for tenant in busy:
            hashed = client.state_hash(tenant)
            load.check(tenant)
            verified = client.verify(tenant)
            assert hashed == verified.state_hash == verified.folded_hash


def test_whoever_was_frozen_past_the_lease_acknowledges_nothing_more(home, tenants, guest) -> None:
    """Of home's shards: those that it gets in exchange when it is back are the guest's last ones."""
    share(guest, tenants)
    tenant = share(home, [name for name in tenants if name not in owned(guest, tenants)])[0]

    def request(id: str) -> WriteRequest:
        return WriteRequest(tenant=tenant, entries=[types_pb2.Entry(id=id, text=f"the text of {id}")])

    with Stubs(home.target) as frozen, Stubs(guest.target) as alive:
        frozen.memory.Write(request("before"))
        os.kill(home.process.pid, signal.SIGSTOP)
        try:
            late = frozen.memory.Write.future(request("on its way"), timeout=2 * PATIENCE_S)
            until(lambda: owned(guest, [tenant]))
            alive.memory.Write(request("meanwhile"))
        finally:
            os.kill(home.process.pid, signal.SIGCONT)
        assert refused(late.result).reason == "NOT_OWNER"
        told = until(lambda: refused(lambda: frozen.memory.Write(request("after"))).metadata)
        assert told == {"owner": guest.target}
        alive.memory.Write(request("and on"))
    with home.client() as client:
        assert [entry.id for entry in client.list_entries(tenant)] == ["before", "meanwhile", "and on"]
        assert client.recall(tenant, "the text", k=10).applied_seq == client.verify(tenant).seq
        assert client.verify(tenant).equal


# --- what is erased ---------------------------------------------------------------------------------------------------


def test_what_is_forgotten_is_in_no_file_of_redis_or_of_ours(redis, home) -> None:
    """Of two entries alike one is forgotten. A word's stem is no part of it: both are looked for."""
    planted = {
        "word": "glizorby",
        "stem": "glizorbi",
        "id": "id-karvon",
        "session": "session-karvon",
        "meta": "meta-karvon",
    }
    twin = {kind: text.replace("zorb", "murd").replace("karvon", "telvin") for kind, text in planted.items()}

    def found(needles: dict[str, str]) -> set[str]:
        files = [path.read_bytes() for path in redis.directory.parent.rglob("*") if path.is_file()]
        return {kind for kind, text in needles.items() if any(text.encode() in file for file in files)}

    with home.client() as client, Redis.from_url(redis.url) as commands:
        client.create_tenant("erased")
        client.write("erased", [f"filler {i}: thing {i * 7919 % 1009}" for i in range(50)])
        for entry in (planted, twin):
            client.write(
                "erased",
                Entry(
                    f"a {entry['word']} thing it is",
                    id=entry["id"],
                    session=entry["session"],
                    metadata={"kind": entry["meta"]},
                ),
            )
        until(lambda: (stats := client.stats("erased")).snapshot_seq == stats.head_seq)
        commands.save()  # a dump, which the append only file does not replace
        assert found(planted) == found(twin) == set(planted), "the scan finds what is there"
        receipt = client.forget("erased", [planted["id"]])
        assert receipt.bytes_destroyed > 0
        assert not receipt.files_pending
        assert found(planted) == set()
        until(lambda: (stats := client.stats("erased")).snapshot_seq == stats.head_seq)
        assert found(planted) == set()
        assert found(twin) == set(twin)
        assert client.verify("erased").equal


# --- what is asked of Redis -------------------------------------------------------------------------------------------


def test_a_weak_redis_is_refused_unless_the_loss_is_accepted_and_no_password_is_told(tmp_path) -> None:
    wrong = "not of honour"
    with RedisUser(tmp_path / "redis", appendfsync="everysec") as redis:
        strict = Server(tmp_path / "strict", store=redis.url, log_level="debug")
        locked_out = Server(
            tmp_path / "locked out",
            store=f"redis://{redis.NAME}:{quote(wrong)}@{LOOPBACK}:{redis.port}",
            log_level="debug",
        )
        for process in [server.spawn() for server in (strict, locked_out)]:
            output, _ = process.communicate(timeout=2 * PATIENCE_S)
            assert process.returncode != 0
            assert output == ""
        for said in ("appendfsync is everysec", "CONFIG SET appendfsync always", "--allow-weak-durability"):
            assert said in strict.log
        assert "Traceback" not in strict.log + locked_out.log
        lax = Server(tmp_path / "lax", store=redis.url, allow_weak_durability=True, log_level="debug")
        with lax, lax.client() as client:
            assert "appendfsync is everysec" in lax.log
            client.create_tenant("t")
            client.write("t", "taken")
            redis.kill()
            with pytest.raises(MemsvcError) as caught:
                client.write("t", "not taken", timeout=3.0)
    told = "".join([strict.log, locked_out.log, lax.log, str(caught.value), str(caught.value.metadata)])
    for password in (redis.PASSWORD, wrong):
        assert password not in told
        assert quote(password, safe="") not in told


# --- between stores ---------------------------------------------------------------------------------------------------


def test_a_tenant_moves_from_a_directory_to_redis_and_back(tmp_path, home) -> None:
    with Server(tmp_path / "data") as directory, directory.client() as here, home.client() as there:
        here.create_tenant("mover", layers=2)
        here.write("mover", [Entry(f"turn {i}: thing {i * 7919 % 1009}", id=str(i), session="s") for i in range(60)])
        here.write("mover", Entry("by key", id="key", learn=False, metadata={"n": 1}))
        here.update_entry("mover", Entry("turn 3 was another", id="3"))
        here.delete_entry("mover", "4")
        here.forget("mover", ["5"])
        here.feedback("mover", ["6"], useful=False)
        here.export_tenant("mover", tmp_path / "out")
        there.import_tenant(tmp_path / "out", "moved")
        there.export_tenant("moved", tmp_path / "back")
        here.import_tenant(tmp_path / "back", "mover, back")
        places: list[tuple[MemoryClient, str]] = [(here, "mover"), (there, "moved"), (here, "mover, back")]
        assert len({client.state_hash(tenant) for client, tenant in places}) == 1
        first, *others = [[(e.id, e.text, e.seq, e.metadata) for e in c.list_entries(t)] for c, t in places]
        assert others == [first, first]
        for client, tenant in places:
            assert client.verify(tenant).equal
            with pytest.raises(FailedPreconditionError, match="forgotten"):
                client.write(tenant, Entry("again", id="5"))
