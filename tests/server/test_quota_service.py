"""Quotas as an operator sets them and a client meets them: a real server, its file, and SIGHUP."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from memsvc_client import AsyncMemoryClient, Entry, MemoryClient, ResourceExhaustedError
from pydantic import ValidationError

from memsvc.server.config import Settings
from memsvc.v1.memory_pb2 import WriteRequest, WriteStreamBatch, WriteStreamOpen, WriteStreamRequest
from memsvc.v1.types_pb2 import Entry as EntryMessage
from tests.serving import Server, Stubs

PATIENCE_S = 60.0

QUOTAS = """
[quotas]
burst_s = 1

[quotas.tenants."requests"]
requests_per_s = 0.001

[quotas.tenants."impatient"]
requests_per_s = 0.001

[quotas.tenants."slow"]
requests_per_s = 0.4

[quotas.tenants."paced"]
requests_per_s = 20

[quotas.tenants."bytes a second"]
bytes_per_s = 100

[quotas.tenants."tokens"]
tokens_per_s = 100

[quotas.tenants."flow"]
bytes_per_s = 10_000

[quotas.tenants."streams*"]
streams = 2

[quotas.tenants."entries*"]
entries = 5

[quotas.tenants."size"]
bytes = 10_000
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("quotas") / "memsvc.toml"
    file.write_text(QUOTAS)
    return file


@pytest.fixture(scope="module")
def server(file) -> Iterator[Server]:
    with Server(file.parent / "data", config=file) as server:
        yield server


@pytest.fixture
def client(server) -> Iterator[MemoryClient]:
    with server.client() as client:
        yield client


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, "it does not come true"
        time.sleep(0.05)


def exhausted(call: Callable[[], object]) -> ResourceExhaustedError:
    with pytest.raises(ResourceExhaustedError) as caught:
        call()
    assert caught.value.reason == "QUOTA_EXCEEDED"
    return caught.value


def test_requests_a_second(client) -> None:
    client.create_tenant("requests")
    error = exhausted(lambda: client.write("requests", "one too many"))
    assert error.metadata == {"quota": "requests_per_s", "scope": "tenant", "limit": "0.001"}
    assert 900 < error.retry_after <= 1000, "longer than the call's timeout, so that it is not waited for"
    assert "requests a second" in str(error)


async def test_who_is_a_little_too_fast_waits_and_hears_nothing_of_it(server) -> None:
    async with AsyncMemoryClient(server.target) as client:
        await client.create_tenant("paced")
        before = server.log.count("QUOTA_EXCEEDED")
        for i in range(25):
            await client.write("paced", Entry(f"line {i}", id=str(i)))
        assert server.log.count("QUOTA_EXCEEDED") == before
        assert len([entry async for entry in client.list_entries("paced")]) == 25


async def test_a_client_waits_as_long_as_it_is_told_and_its_caller_hears_nothing_of_it(server) -> None:
    async with AsyncMemoryClient(server.target) as client:
        await client.create_tenant("slow")
        before = server.log.count("QUOTA_EXCEEDED")
        await client.write("slow", "one")
        assert server.log.count("QUOTA_EXCEEDED") > before


def test_who_waits_less_long_than_the_server_would_is_told_at_once(server, client) -> None:
    client.create_tenant("impatient")
    error = exhausted(lambda: client.write("impatient", "one too many", timeout=0.5))
    assert error.metadata["quota"] == "requests_per_s"


def test_bytes_a_second(client) -> None:
    client.create_tenant("bytes a second")
    client.write("bytes a second", "x" * 6_000)
    error = exhausted(lambda: client.write("bytes a second", "y"))
    assert error.metadata == {"quota": "bytes_per_s", "scope": "tenant", "limit": "100"}
    assert error.retry_after > 50


def test_tokens_a_second(client) -> None:
    client.create_tenant("tokens")
    client.write("tokens", "acgtacgt" * 4_000, wait="applied")
    tokens = client.stats("tokens").tokens
    assert tokens > 20_000
    for write in (
        lambda: client.write("tokens", "acgt", timeout=5),
        lambda: client.update_entry("tokens", Entry("acgt", id="none"), timeout=5),
    ):
        error = exhausted(write)
        assert error.metadata == {"quota": "tokens_per_s", "scope": "tenant", "limit": "100"}
        assert (tokens - 100) / 100 - PATIENCE_S < error.retry_after < tokens / 100
        assert "written tokens a second" in str(error)
    assert client.recall("tokens", "acgtacgtacgt").hits, "who reads pays for nothing"


def test_a_stream_of_too_many_bytes_a_second_is_slowed_down_and_not_refused(server, client) -> None:
    client.create_tenant("flow")
    before = server.log.count("QUOTA_EXCEEDED")
    batches = [[Entry(f"{i}: " + "word " * 200, id=str(i))] for i in range(20)]
    receipts = list(client.write_stream("flow", batches))
    assert [receipt.ids for receipt in receipts] == [(str(i),) for i in range(20)]
    assert server.log.count("QUOTA_EXCEEDED") == before


def test_streams_at_once(server, client) -> None:
    client.create_tenant("streams")
    with Stubs(server.target) as stubs:
        over = threading.Event()

        def requests() -> Iterator[WriteStreamRequest]:
            yield WriteStreamRequest(open=WriteStreamOpen(tenant="streams"))
            over.wait(PATIENCE_S)

        held = [stubs.memory.WriteStream(requests()) for _ in range(2)]
        for stream in held:
            next(stream)
        for call in (
            lambda: next(client.watch("streams", timeout=0.5)),
            lambda: list(client.write_stream("streams", ["x"], timeout=0.5)),
        ):
            error = exhausted(call)
            assert error.metadata == {"quota": "streams", "scope": "tenant", "limit": "2"}
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(lambda: list(client.write_stream("streams", ["it waits for its turn"])))
            held[0].cancel()
            assert len(waiting.result(PATIENCE_S)) == 1
        for _ in range(20):
            stubs.memory.WriteStream(requests()).cancel()
        over.set()
        list(held[1])
    assert len(list(client.write_stream("streams", ["and the next one"]))) == 1


def test_entries(client) -> None:
    client.create_tenant("entries")
    client.write("entries", [Entry(f"entry {i}", id=str(i)) for i in range(4)])
    error = exhausted(lambda: client.write("entries", ["two are", "one too many"]))
    assert error.metadata == {"quota": "entries", "scope": "tenant", "limit": "5", "held": "4"}
    assert error.retry_after is None, "no time lifts it"
    client.write("entries", Entry("entry 4", id="4"))
    exhausted(lambda: client.write("entries", "a sixth"))
    exhausted(lambda: list(client.write_stream("entries", ["a sixth"])))
    client.update_entry("entries", Entry("entry 3, told anew", id="3"))
    assert client.stats("entries").entries == 5
    client.forget("entries", ["0"])
    client.write("entries", Entry("there is room again", id="5"))
    exhausted(lambda: client.write("entries", "a sixth"))


def test_entries_of_many_writers_at_once(server) -> None:
    """As many as fit, whoever comes first; calls and streams alike."""

    def write(i: int) -> int:
        with server.client() as client:
            if i % 2:
                call: Callable[[], object] = lambda: client.write("entries at once", f"writer {i}")  # noqa: E731
            else:
                call = lambda: list(client.write_stream("entries at once", [f"writer {i}"]))  # noqa: E731
            try:
                call()
            except ResourceExhaustedError:
                return 0
            return 1

    with server.client() as client, ThreadPoolExecutor(12) as pool:
        client.create_tenant("entries at once")
        assert sum(pool.map(write, range(24))) == 5
        assert client.stats("entries at once").entries == 5


def test_writers_that_go_away_hold_no_room(server, client) -> None:
    tenant = "entries of whoever went away"
    client.create_tenant(tenant)
    with Stubs(server.target) as stubs:
        for i in range(30):
            batch = WriteStreamBatch(entries=[EntryMessage(id=f"stream {i}", text="cut off")])
            opening = WriteStreamRequest(open=WriteStreamOpen(tenant=tenant))
            stream = stubs.memory.WriteStream(iter([opening, WriteStreamRequest(batch=batch)]))
            next(stream)
            stream.cancel()
            request = WriteRequest(tenant=tenant, entries=[EntryMessage(id=f"call {i}", text="cut off")])
            stubs.memory.Write.future(request).cancel()

    def refilled() -> bool:
        for entry in list(client.list_entries(tenant)):
            client.delete_entry(tenant, entry.id)
        client.recall(tenant, "the deletions are applied")
        try:
            return bool(client.write(tenant, [f"line {i}" for i in range(5)]))
        except ResourceExhaustedError:  # something was still on its way
            return False

    until(refilled)
    exhausted(lambda: client.write(tenant, "a sixth"))


def test_bytes(client) -> None:
    client.create_tenant("size")
    written = 0

    def fill() -> None:
        nonlocal written
        for _ in range(100):
            client.write("size", Entry("x" * 1_000, id=str(written)))
            written += 1

    error = exhausted(fill)
    assert (error.metadata["quota"], error.metadata["limit"], error.retry_after) == ("bytes", "10000", None)
    assert 5 <= written < 10
    exhausted(lambda: client.update_entry("size", Entry("y" * 6_000, id="0")))
    client.forget("size", [str(i) for i in range(written)])
    client.write("size", Entry("x" * 1_000, id="again"))


def test_limits_change_while_the_server_runs_and_a_wrong_file_changes_nothing(tmp_path) -> None:
    file = tmp_path / "memsvc.toml"
    file.write_text("[quotas.tenant]\nentries = 1\n")
    with Server(tmp_path / "data", config=file) as server, server.client() as client:

        def read_anew(text: str, says: str) -> None:
            said = server.log.count(says)
            file.write_text(text)
            os.kill(server.process.pid, signal.SIGHUP)
            until(lambda: server.log.count(says) > said)

        client.create_tenant("t")
        client.write("t", "one")
        exhausted(lambda: client.write("t", "two"))
        read_anew("[quotas.tenant]\nentries = 2\n", "the quotas are read anew")
        client.write("t", "two")
        exhausted(lambda: client.write("t", "three"))
        read_anew("[quotas.tenants.t]\nentries = 3\n", "the quotas are read anew")
        client.write("t", "three")
        for wrong in ("[quotas.tenant]\nentries = -1\n", "[quotas.tenants.t]\nentires = 9\n", "not TOML at all"):
            read_anew(wrong, "the quotas stay as they are")
            exhausted(lambda: client.write("t", "four"))
        assert "quotas.tenants.t.entires" in server.log
        file.rename(tmp_path / "elsewhere.toml")
        os.kill(server.process.pid, signal.SIGHUP)
        until(lambda: "there is no such file" in server.log)
        exhausted(lambda: client.write("t", "four"))
        read_anew("", "the quotas are read anew")
        client.write("t", ["four", "five"])


def test_a_wrong_quota_in_the_file_is_named(tmp_path, monkeypatch) -> None:
    file = tmp_path / "memsvc.toml"
    file.write_text("[quotas.tenant]\nstreams = -1\n")
    monkeypatch.setenv("MEMSVC_CONFIG", str(file))
    with pytest.raises(ValidationError, match=r"quotas\.tenant\.streams"):
        Settings()


def test_quotas_are_read_anew_from_a_file_that_flags_complete(tmp_path, monkeypatch) -> None:
    file = tmp_path / "memsvc.toml"
    alone = (
        'host = "0.0.0.0"\nhttp_hosts = ["a"]\nauth = true\n[recall]\nlexical = 0.5\n[quotas.tenant]\nentries = {}\n'
    )
    file.write_text(alone.format(7))
    monkeypatch.setenv("MEMSVC_CONFIG", str(file))
    settings = Settings(tls_cert=tmp_path / "cert", tls_key=tmp_path / "key")
    file.write_text(alone.format(9))
    assert (settings.quotas.tenant.entries, settings.quotas_now().tenant.entries) == (7, 9)
    file.write_text(alone.format(-1))
    with pytest.raises(ValidationError, match=r"quotas\.tenant\.entries"):
        settings.quotas_now()
