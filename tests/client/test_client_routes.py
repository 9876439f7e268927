"""Both clients among several processes: whom they ask, whom they follow, and when they give up."""

import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from client_calls import CALLS
from fake_server import Fail, FakeServer, Hang
from google.rpc.error_details_pb2 import ErrorInfo
from grpc import StatusCode
from memsvc_client import (
    AsyncMemoryClient,
    DeadlineExceededError,
    Entry,
    MemoryClient,
    MemsvcError,
    RetryPolicy,
    UnavailableError,
    _channel,
)

from memsvc.v1 import types_pb2

SLOW = RetryPolicy(attempts=4, first=0.05, most=0.05)
ALL = [str(i) for i in range(10)]


@pytest.fixture
def start() -> Iterator[Callable[..., FakeServer]]:
    """Start processes; each has the tenants `ada` and `eve`."""
    started = []

    def start() -> FakeServer:
        server = FakeServer(tenants={"ada": {}, "eve": {}})
        server.target = server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def dead() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def asked(server: FakeServer) -> list[str]:
    return [method for method, _ in server.calls]


@pytest.mark.parametrize(("method", "args", "settings", "rpc"), CALLS)
def test_every_call_goes_to_the_owner_as_it_was(connect, start, method, args, settings, rpc):
    first, owner = start(), start()
    owner.append("ada", [types_pb2.Entry(id="known", text="old")])
    first.elsewhere["*"] = owner.target
    getattr(connect(first.target), method)(*args, **settings)
    (refused,), (served,) = first.asked(rpc), owner.asked(rpc)
    assert refused == served


def test_the_owner_of_a_tenant_is_kept_in_mind_and_asked_for_that_one_only(connect, start):
    first, owner = start(), start()
    first.elsewhere["ada"] = owner.target
    client = connect(first.target)
    for _ in range(3):
        client.write("ada", "x")
        client.write("eve", "y")
    assert asked(first) == ["Write", "Write", "Write", "Write"]
    assert (first.texts("eve"), owner.texts("ada"), owner.texts("eve")) == (["y"] * 3, ["x"] * 3, [])


def test_the_questions_for_an_erasure_go_where_it_is(connect, start):
    first, owner = start(), start()
    first.elsewhere["ada"] = owner.target
    owner.folds = 2
    receipt = connect(first.target).forget("ada", session="s")
    assert receipt.done
    assert (asked(first), owner.asked("GetErasure") != []) == (["Forget"], True)


@pytest.mark.parametrize("form", [tuple, list, ",".join, " , ".join])
def test_the_first_address_that_answers_is_asked(connect, start, dead, form):
    second, third = start(), start()
    client = connect(form([dead, second.target, third.target]))
    client.write("ada", "x")
    client.write("eve", "y")
    assert (asked(second), asked(third)) == (["Write", "Write"], [])
    assert repr(client).endswith(f"('{dead},{second.target},{third.target}')")


def test_the_next_address_is_asked_when_a_process_goes(connect, start):
    first, second = start(), start()
    client = connect([first.target, second.target])
    client.write("ada", "x")
    first.stop()
    client.write("ada", "y")
    client.write("ada", "z")
    assert second.texts("ada") == ["y", "z"]


def test_a_call_that_nobody_answers_fails_after_its_tries(connect, dead):
    with pytest.raises(UnavailableError) as raised:
        connect([dead, "127.0.0.1:1"]).stats("ada")
    assert raised.value.reason == "UNREACHABLE"


class Relay:
    """Between a client and a server, until it is frozen: then connections stay and nothing comes through."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._to = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._frozen = False
        self.target = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        self._frozen = True

    def close(self) -> None:
        for end in (self._listener, *self._ends):
            with suppress(OSError):  # the other side was faster
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):  # until it is closed
            while True:
                near, far = self._listener.accept()[0], socket.create_connection(self._to)
                self._ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while part := one.recv(65536):
                if not self._frozen:
                    other.sendall(part)


def test_a_process_that_freezes_is_left_before_the_call_is_over(connect, start, monkeypatch):
    """Its connections stay as they are, so nothing but a ping tells."""
    monkeypatch.setattr(_channel, "KEEPALIVE_MS", 200)
    first, second = start(), start()
    relay = Relay(first.target)
    client = connect([relay.target, second.target], timeout=60.0)
    client.write("ada", "x")
    relay.freeze()
    client.write("ada", "y")
    relay.close()
    assert (first.texts("ada"), second.texts("ada")) == (["x"], ["y"])


def test_a_process_that_takes_connections_and_says_nothing_is_passed_over(start):
    """As one that is stopped does. gRPC alone would wait for twenty seconds."""
    second = start()
    with socket.create_server(("127.0.0.1", 0)) as mute:
        client = MemoryClient([f"127.0.0.1:{mute.getsockname()[1]}", second.target], timeout=15.0)
        client.write("ada", "x")
        client.close()
    assert second.texts("ada") == ["x"]


def test_an_owner_that_is_gone_is_left_for_the_configured_address(connect, start):
    first, owner = start(), start()
    first.elsewhere["ada"] = owner.target
    client = connect(first.target)
    client.write("ada", "x")
    owner.stop()
    first.elsewhere.clear()
    client.write("ada", "y")
    client.write("ada", "z")
    assert first.texts("ada") == ["y", "z"]


def test_the_owners_are_asked_when_no_configured_address_answers(connect, start):
    first, owner = start(), start()
    first.elsewhere["ada"] = owner.target
    client = connect(first.target)
    client.write("ada", "x")
    first.stop()
    client.write("eve", "y")
    assert owner.texts("eve") == ["y"]


@pytest.mark.parametrize("named", ["nobody", "the one that is gone"])
def test_a_tenant_that_changes_hands_is_waited_for(connect, start, dead, named):
    """However few tries the policy has: others answer that it is not theirs."""
    first, second = start(), start()
    for server in (first, second):
        server.elsewhere["ada"] = None if named == "nobody" else dead
    taken_over = threading.Timer(0.3, second.elsewhere.clear)
    client = connect(f"{first.target},{second.target}", retry=RetryPolicy(attempts=2, first=0.001, most=0.004))
    taken_over.start()
    client.write("ada", "x")
    taken_over.join()
    assert second.texts("ada") == ["x"]
    assert len(first.calls) + len(second.calls) > 4


def test_two_that_name_each_other_are_asked_with_pauses_until_the_timeout(connect, start):
    first, second = start(), start()
    first.elsewhere["ada"], second.elsewhere["ada"] = second.target, first.target
    with pytest.raises((UnavailableError, DeadlineExceededError)):
        connect(first.target, retry=SLOW).write("ada", "x", timeout=0.5)
    assert 4 < len(first.calls) + len(second.calls) < 50


def test_one_that_names_itself_is_asked_with_pauses(connect, start):
    first = start()
    first.elsewhere["ada"] = first.target
    with pytest.raises((UnavailableError, DeadlineExceededError)):
        connect(first.target, retry=SLOW).write("ada", "x", timeout=0.3)
    assert 2 < len(first.calls) < 25


def test_a_chain_of_owners_is_not_followed_without_end(connect, start):
    chain = [start() for _ in range(8)]
    for each, after in itertools.pairwise(chain):
        each.elsewhere["ada"] = after.target
    with pytest.raises(UnavailableError):
        connect(chain[0].target, retry=RetryPolicy(attempts=1)).write("ada", "x")
    assert [len(each.calls) for each in chain] == [1, 1, 1, 1, 1, 0, 0, 0]


def test_one_attempt_follows_an_owner_and_tries_nothing_again(connect, start, dead):
    first, owner = start(), start()
    first.elsewhere.update(ada=owner.target, eve=None)
    client = connect([first.target, owner.target], retry=RetryPolicy(attempts=1))
    client.write("ada", "x")
    assert owner.texts("ada") == ["x"]
    with pytest.raises(UnavailableError):
        client.write("eve", "y")
    assert owner.texts("eve") == []
    with pytest.raises(UnavailableError):
        connect([dead, owner.target], retry=RetryPolicy(attempts=1)).write("ada", "z")


@pytest.mark.parametrize(
    "owner", ["unix:/tmp/other", "http://127.0.0.1:{port}", "127.0.0.1:{port}/x", "x@127.0.0.1:{port}"]
)
def test_an_owner_that_is_no_host_and_port_is_not_asked(connect, start, owner):
    first, other = start(), start()
    first.elsewhere["ada"] = owner.format(port=other.target.split(":")[1])
    with pytest.raises(UnavailableError) as raised:
        connect(first.target, retry=RetryPolicy(attempts=1)).write("ada", "x")
    assert (raised.value.reason, len(other.calls)) == ("NOT_OWNER", 0)


def test_an_owner_that_does_not_answer_in_time_is_not_asked_first_again(connect, start):
    first, owner = start(), start()
    first.elsewhere["ada"] = owner.target
    owner.fail("Write", Hang())
    client = connect(first.target)
    with pytest.raises(DeadlineExceededError):
        client.write("ada", "x", timeout=0.3)
    first.elsewhere.clear()
    client.write("ada", "y")
    assert (first.texts("ada"), owner.texts("ada")) == (["y"], [])


def test_what_an_owner_refuses_is_not_tried_elsewhere(connect, start):
    first, owner = start(), start()
    first.elsewhere["ada"] = owner.target
    owner.fail("Write", Fail(StatusCode.ALREADY_EXISTS))
    client = connect(first.target)
    with pytest.raises(MemsvcError):
        client.write("ada", "x")
    client.write("ada", "y")
    assert asked(first) == ["Write"]


def test_pages_come_from_the_owner(connect, start):
    first, owner = start(), start()
    first.elsewhere["ada"] = owner.target
    owner.append("ada", [types_pb2.Entry(id=id, text=id) for id in ALL])
    assert [entry.id for entry in connect(first.target).list_entries("ada")] == ALL
    assert asked(first) == ["ListEntries"]


def test_a_write_stream_goes_to_the_owner(connect, start):
    first, owner = start(), start()
    first.elsewhere["ada"] = owner.target
    receipts = list(connect(first.target).write_stream("ada", [[text] for text in ALL]))
    assert (len(receipts), owner.texts("ada"), first.texts("ada")) == (10, ALL, [])


@pytest.mark.parametrize("gone", [False, True], ids=["moved", "gone"])
def test_a_write_stream_goes_on_at_the_new_owner_with_what_has_no_receipt(connect, start, gone):
    first, owner = start(), start()
    moved = threading.Event()
    first.plans.append(first.stream(hold=moved, free=5))
    client = connect([first.target, owner.target])
    receipts = client.write_stream("ada", [[Entry(text, id=text)] for text in ALL])
    ids = [next(receipts).ids[0] for _ in range(3)]
    if gone:
        first.stop()
    else:
        first.elsewhere["ada"] = owner.target
    moved.set()
    ids += [receipt.ids[0] for receipt in receipts]
    assert ids == ALL, "each has its receipt, once"
    assert set(first.texts("ada")) | set(owner.texts("ada")) == set(ALL)
    assert owner.texts("ada") == ALL[-len(owner.texts("ada")) :], "in order"
    assert set(ALL[3:]) >= set(owner.texts("ada")) > set()


def test_a_write_stream_among_owners_that_name_each_other_ends(connect, start):
    first, second = start(), start()
    first.elsewhere["ada"], second.elsewhere["ada"] = second.target, first.target
    with pytest.raises(UnavailableError) as raised:
        list(connect(first.target, retry=SLOW).write_stream("ada", ["x"], timeout=0.5))
    assert raised.value.reason == "NOT_OWNER"
    assert len(first.streams) + len(second.streams) < 50


@pytest.mark.parametrize("gone", [False, True], ids=["moved", "gone"])
def test_a_watch_goes_on_at_the_new_owner(connect, start, gone):
    first, owner = start(), start()
    events = [types_pb2.Event(seq=seq, kind="drift") for seq in range(1, 5)]
    cut = threading.Event()
    info = ErrorInfo(reason="NOT_OWNER", metadata={"owner": owner.target})
    first.watches.append([*events[:2], cut, Fail(StatusCode.UNAVAILABLE, details=[info])])
    owner.watches.append(events)
    watching = connect([first.target, owner.target]).watch("ada")
    seen = [next(watching).seq for _ in range(2)]
    if gone:
        first.stop()
    cut.set()
    seen += [next(watching).seq for _ in range(2)]
    watching.close()
    assert seen == [1, 2, 3, 4]
    assert len(first.asked("WatchTenant")) == 1


def test_an_export_comes_from_the_owner(connect, start, tmp_path):
    first, owner = start(), start()
    first.elsewhere["ada"] = owner.target
    owner.exported.append([b"abc"])
    assert connect(first.target).export_tenant("ada", tmp_path / "file") == 3
    assert (len(first.asked("ExportTenant")), (tmp_path / "file").read_bytes()) == (1, b"abc")


@pytest.mark.parametrize("as_tenant", [None, "eve"])
@pytest.mark.parametrize("size", [1, 40 * 256 * 1024])
def test_an_import_goes_to_the_owner(connect, start, tmp_path, as_tenant, size):
    """Though nobody knows whose it is before the file was looked into."""
    first, owner = start(), start()
    first.elsewhere["*"] = owner.target
    (tmp_path / "file").write_bytes(b"x" * size)
    imported = connect(first.target).import_tenant(tmp_path / "file", as_tenant)
    assert (imported.tenant.tenant, imported.head_seq) == (as_tenant or "exported", size)
    assert (first.imports, owner.imports) == (0, 1)
    assert first.uploads[0][0].request_id == owner.uploads[0][0].request_id


def test_a_closed_client_asks_nobody(start):
    first = start()
    client = MemoryClient(first.target)
    client.write("ada", "x")
    client.close()
    for call in (lambda: client.write("ada", "y"), lambda: list(client.write_stream("ada", ["y"]))):
        with pytest.raises(MemsvcError) as raised:
            call()
        assert raised.value.code is StatusCode.CANCELLED
    assert first.texts("ada") == ["x"]


@pytest.mark.parametrize(
    "call",
    [
        lambda client, path: client.stats("ada"),
        lambda client, path: next(client.write_stream("ada", ["x"])),
        lambda client, path: next(client.watch("ada")),
        lambda client, path: client.export_tenant("ada", path / "file"),
    ],
    ids=["call", "stream", "watch", "export"],
)
def test_a_client_that_another_thread_closes_just_before_a_call_says_so(start, tmp_path, call):
    client = MemoryClient(start().target, api_key=lambda: client.close() or "key")
    with pytest.raises(MemsvcError, match="the client is closed") as raised:
        call(client, tmp_path)
    assert raised.value.code is StatusCode.CANCELLED


async def test_a_closed_asyncio_client_asks_nobody(start):
    first = start()
    async with AsyncMemoryClient(first.target) as client:
        await client.write("ada", "x")
    with pytest.raises(MemsvcError) as raised:
        await client.write("ada", "y")
    assert raised.value.code is StatusCode.CANCELLED
    assert first.texts("ada") == ["x"]


@pytest.mark.parametrize("idle", [True, False], ids=["idle", "in use"])
def test_closing_the_client_closes_the_connections_to_owners(start, idle):
    first, owner = start(), start()
    first.elsewhere["ada"] = owner.target
    client = MemoryClient(first.target)
    events = client.watch("ada")
    owner.watches.append([types_pb2.Event(seq=1, kind="drift"), *([] if idle else [threading.Event()])])
    next(events)
    if idle:
        events.close()
    threading.Timer(0.1, client.close).start()
    with pytest.raises(StopIteration if idle else MemsvcError):
        next(events)
    assert owner.over.wait(10)


def test_threads_share_what_is_known_of_owners(start):
    servers = [start() for _ in range(3)]
    client = MemoryClient([server.target for server in servers], retry=SLOW)
    failures = []

    def write(number):
        try:
            for i in range(20):
                client.write("ada" if number % 2 else "eve", Entry("x", id=f"{number}-{i}"))
        except MemsvcError as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for owner in (servers[1], servers[2], servers[0]):
        for server in servers:
            server.elsewhere = {} if server is owner else {"*": owner.target}
    for thread in threads:
        thread.join()
    client.close()
    assert failures == []
    held = {id for server in servers for tenant in server.tenants.values() for id in tenant}
    assert held == {f"{number}-{i}" for number in range(6) for i in range(20)}
