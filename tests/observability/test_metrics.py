"""What an operator reads off a running server."""

import re
import socket
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from memsvc_client import Entry, NotFoundError

from memsvc.observability.watched_store import OPERATIONS
from memsvc.v1.memory_pb2 import RecallRequest, WriteStreamOpen, WriteStreamRequest
from tests.observability.eventually import eventually
from tests.observability.scrape import Scrape, page, url_of
from tests.serving import Server, Stubs

SECRET = "xylophone"
API = Path(__file__).parents[2] / "protos" / "memsvc" / "v1" / "types.proto"
NOTICED = {"snapshot", "restored"}
"""Events that are no part of a fold; they have counters of their own, or none."""


def test_calls_are_counted_by_method_and_code(server) -> None:
    before = Scrape(server)
    with server.client() as client, Stubs(server.target) as stubs:
        client.create_tenant("calls")
        client.write("calls", [Entry("the first thing")], wait="applied")
        client.recall("calls", "thing")
        with pytest.raises(NotFoundError):
            client.get_entry("calls", "none")
        list(stubs.memory.WriteStream(iter([WriteStreamRequest(open=WriteStreamOpen(tenant="calls"))])))
    after = Scrape(server)
    for method, code in (
        ("TenantService/CreateTenant", "OK"),
        ("MemoryService/Write", "OK"),
        ("MemoryService/Recall", "OK"),
        ("MemoryService/GetEntry", "NOT_FOUND"),
        ("MemoryService/WriteStream", "OK"),
    ):
        count = ("memsvc_rpc_seconds_count", {"method": method, "code": code})
        assert after.value(count[0], **count[1]) == before.value(count[0], **count[1]) + 1, method
        assert after.value("memsvc_rpc_in_flight", method=method) == 0
    assert after.value("memsvc_rpc_refusals_total", reason="ENTRY_NOT_FOUND") == 1


def test_a_call_under_way_is_in_flight_and_one_that_is_given_up_is_cancelled(server) -> None:
    with Stubs(server.target) as stubs, server.client() as client:
        client.create_tenant("flight")
        before = Scrape(server).value("memsvc_rpc_seconds_count", method="TenantService/WatchTenant", code="CANCELLED")
        from memsvc.v1.tenants_pb2 import WatchTenantRequest

        watch = stubs.tenants.WatchTenant(WatchTenantRequest(tenant="flight"))
        eventually(lambda: Scrape(server).value("memsvc_rpc_in_flight", method="TenantService/WatchTenant") == 1)
        watch.cancel()
        eventually(lambda: Scrape(server).value("memsvc_rpc_in_flight", method="TenantService/WatchTenant") == 0)
        after = Scrape(server).value("memsvc_rpc_seconds_count", method="TenantService/WatchTenant", code="CANCELLED")
        assert after == before + 1


def test_what_is_written_shows_as_entries_tokens_surprise_and_lag(server) -> None:
    before = Scrape(server)
    with server.client() as client:
        client.create_tenant("tokens")
        client.write("tokens", [Entry("ACGT" * 500, id=str(i)) for i in range(4)], wait="applied")
        stats = client.stats("tokens")
    after = Scrape(server)
    grown = {name: after.total(name) - before.total(name) for name in after.names}
    assert grown["memsvc_entries_total"] == 4
    assert grown["memsvc_tokens_total"] == stats.tokens
    stepped = stats.tokens - stats.tail_tokens
    assert grown["memsvc_stepped_tokens_total"] == stepped > 0
    assert grown["memsvc_gate_passed_tokens_total"] == pytest.approx(stats.gate_share * stepped)
    assert grown["memsvc_surprise_total"] / stepped == pytest.approx(stats.surprise_mean, rel=1e-3)
    assert grown["memsvc_recallable_seconds_count"] == 1
    for phase in ("queue", "encode", "step"):
        name = "memsvc_write_seconds_count"
        assert after.value(name, phase=phase) == before.value(name, phase=phase) + 1
    lag = grown["memsvc_recallable_seconds_sum"]
    assert lag == pytest.approx(grown["memsvc_write_seconds_sum"], rel=1e-3)
    assert grown["memsvc_engine_busy_seconds_total"] > 0
    assert after.value("memsvc_store_seconds_count", operation="append") > before.value(
        "memsvc_store_seconds_count", operation="append"
    )


def test_what_a_context_memory_takes_in_shows(server) -> None:
    before = Scrape(server)
    with server.client() as client:
        client.create_tenant("streams", context_memory="text")
        client.write("streams", [Entry("the access code of Tamoru is 48213, by the way. " * 30)], wait="applied")
        client.state_hash("streams")
    after = Scrape(server)
    grown = {name: after.total(name) - before.total(name) for name in after.names}
    taken, written = grown["memsvc_context_tokens_total"], grown["memsvc_context_written_tokens_total"]
    assert 0 < written < taken
    assert taken % 64 == 0, "in whole chunks"
    assert grown["memsvc_context_tenants"] == 1
    assert after.value("memsvc_context_queue_records") == 0


def test_a_recall_shows_its_phases(server) -> None:
    with server.client() as client:
        client.create_tenant("phases")
        client.write("phases", [Entry("a thing to find")], wait="applied")
        before = Scrape(server)
        client.recall("phases", "thing", max_tokens=100)
    after = Scrape(server)
    for phase in ("wait", "encode", "rank", "context"):
        name = "memsvc_recall_seconds_count"
        assert after.value(name, phase=phase) == before.value(name, phase=phase) + 1, phase
    assert after.value("memsvc_engine_wait_seconds_count") >= before.value("memsvc_engine_wait_seconds_count") + 2
    assert after.value("memsvc_store_seconds_count", operation="entries") > 0


def test_restarts_and_what_waits_to_be_saved_show(server) -> None:
    with server.client() as client:
        client.create_tenant("saved")
        client.hot_restart("saved")
        client.write("saved", [Entry("ACGTACGT" * 500, id="a")], wait="applied")
        assert Scrape(server).value("memsvc_events_total", kind="restart") == 1
        before = Scrape(server).value("memsvc_snapshots_total")
        client.write("saved", [Entry("ACGTACGA" * 500, id="b")], wait="applied")
        eventually(lambda: client.stats("saved").snapshot_seq == client.stats("saved").head_seq)
        after = eventually(lambda: (seen := Scrape(server)).value("memsvc_snapshots_total") > before and seen)
        assert after.value("memsvc_snapshot_failures_total") == 0
        assert after.value("memsvc_replay_bytes") < 4000, "what is saved need not be replayed"


def test_what_has_not_happened_yet_shows_as_none(tmp_path) -> None:
    """Prometheus sees no growth in a series that begins with 1: the first quarantine would wake nobody."""
    with Server(tmp_path / "data", metrics_port=0) as server:
        seen = Scrape(server)
    events = {dict(labels)["kind"]: value for (name, labels), value in seen.samples.items() if "events_total" in name}
    told = re.findall(r"// Something that happened.*?string kind", API.read_text(), re.DOTALL)[0]
    assert events == dict.fromkeys(set(re.findall(r"`(\w+)`", told)) - NOTICED, 0)
    failures = {dict(labels)["operation"] for name, labels in seen.samples if name == "memsvc_store_failures_total"}
    assert failures == OPERATIONS


def test_what_a_server_is_and_holds_shows(server) -> None:
    with server.client() as client:
        client.create_tenant("here")
        client.write("here", [Entry("here I am")], wait="applied")
        fingerprint = client.stats("here").fingerprint
    seen = Scrape(server)
    assert seen.total("memsvc_build_info", numerics=fingerprint, encoder="kmer") == 1
    assert seen.value("memsvc_ready") == 1
    assert seen.value("memsvc_shards") == 1
    assert seen.total("memsvc_slots") >= 32
    assert seen.value("memsvc_slots", state="dirty") + seen.value("memsvc_slots", state="empty") > 0
    assert seen.value("memsvc_tenants", residency="hot") + seen.value("memsvc_tenants", residency="warm") >= 1
    assert 0 < seen.total("memsvc_memory_bytes") < seen.value("memsvc_memory_limit_bytes")
    assert seen.value("memsvc_memory_bytes", part="views") > 0
    assert seen.value("memsvc_queue_records") == seen.value("memsvc_queue_bytes") == 0
    assert seen.value("process_resident_memory_bytes") > 1e6
    assert seen.value("memsvc_survey_timestamp_seconds") > 1e9


def test_no_label_says_who_the_tenants_are_and_their_number_adds_no_series(server) -> None:
    def write(client, i: int) -> None:
        tenant = f"{SECRET}-{i}"
        client.create_tenant(tenant)
        client.write(tenant, [Entry(f"{SECRET} {i}", id=f"{SECRET}{i}", session=SECRET, role=SECRET)], wait="applied")
        client.recall(tenant, SECRET)
        with pytest.raises(NotFoundError):
            client.recall(f"no-{tenant}", SECRET)

    with server.client() as client:
        write(client, 0)
        before = Scrape(server)
        for i in range(1, 20):
            write(client, i)
        after = Scrape(server)
    assert after.samples.keys() == before.samples.keys()
    assert SECRET not in after.text


def test_a_page_is_there_while_the_engine_is_busy(tmp_path) -> None:
    with Server(tmp_path / "data", encoder="minilm", metrics_port=0) as server, server.client() as client:
        client.create_tenant("busy")
        client.write("busy", [Entry("word " * 1000, id=str(i)) for i in range(30)])
        seen = Scrape(server)
        assert seen.value("memsvc_queue_records") == 1
        assert seen.value("memsvc_queue_bytes") > 30 * 5000
        assert seen.value("memsvc_entries_total") == 0, "nothing of it was applied meanwhile"


def test_there_is_no_page_unless_it_is_asked_for(tmp_path) -> None:
    with Server(tmp_path / "data") as server:
        assert "/metrics" not in server.log


def test_a_port_that_is_taken_is_refused_by_name(server, tmp_path) -> None:
    port = url_of(server).removesuffix("/metrics").rpartition(":")[2]
    second = Server(tmp_path / "data", metrics_port=port)
    process = second.spawn()
    assert process.wait(timeout=60) != 0
    process.stdout.close()
    assert "metrics_port" in second.log
    assert "Traceback" not in second.log


def test_requests_that_are_no_messages_are_counted_too(server) -> None:
    with Stubs(server.target) as stubs:
        call = stubs.channel.unary_unary("/memsvc.v1.MemoryService/Recall")
        with pytest.raises(grpc.RpcError):
            call(b"\xff" + RecallRequest(tenant="x", query="y").SerializeToString())
    seen = Scrape(server)
    assert seen.value("memsvc_rpc_seconds_count", method="MemoryService/Recall", code="INVALID_ARGUMENT") == 1


def test_readers_that_stall_hold_no_more_than_a_few_threads_and_not_for_long(server) -> None:
    def threads() -> int:
        (line,) = re.findall(r"^Threads:\s+(\d+)$", Path(f"/proc/{server.process.pid}/status").read_text(), re.M)
        return int(line)

    host, _, port = url_of(server).removeprefix("http://").removesuffix("/metrics").partition(":")
    before = threads()
    with ExitStack() as stack:
        for _ in range(60):
            stalled = stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
            stalled.sendall(b"GET /metrics")
        # Eight, those that are just ending, and what the server begins by itself meanwhile: never one for each reader.
        assert threads() <= before + 30

        def read() -> bool:
            try:
                return "memsvc_ready" in page(server)
            except OSError:
                return False

        eventually(read)
