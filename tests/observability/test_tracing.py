"""One trace from a client's call to the engine's thread and the store, and nothing in it that a tenant wrote."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator

import grpc
import pytest
from memsvc_client import AsyncMemoryClient, Entry, NotFoundError
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from memsvc.v1.memory_pb2 import RecallRequest
from memsvc.v1.tenants_pb2 import ListTenantsRequest
from tests.observability.collector import Collector, Seen
from tests.observability.eventually import eventually
from tests.serving import Server, Stubs

TEXT = "xylophones are played with mallets"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def traced(collector, tmp_path_factory) -> Iterator[Server]:
    """A server that exports its spans at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        data = tmp_path_factory.mktemp("tracing") / "data"
        server = Server(data, otlp_endpoint=collector.endpoint, trace_share=1, log_level="debug", log_json=True).start()
    with server.client() as client:
        client.create_tenant("t")
    with Stopping(server):
        yield server


class Stopping:
    """Kills a server that runs."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        if self._server.process.poll() is None:
            self._server.kill()


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter) -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


def one(exporter: InMemorySpanExporter, name: str) -> tuple[str, str]:
    """Trace and id of the client's one span of a name."""
    (span,) = (span for span in exporter.get_finished_spans() if span.name == name)
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def spans_of(collector: Collector, trace: str, wanted: set[str]) -> dict[str, Seen]:
    """A trace's spans in the server by their names, once those that are wanted are there."""

    def found() -> dict[str, Seen] | None:
        spans = {span.name: span for span in collector.spans if span.trace == trace}
        return spans if wanted <= spans.keys() else None

    return eventually(found)


WRITE = {"MemoryService/Write", "store.append", "write.queue", "write.encode", "write.step", "write.recallable"}
RECALL = {
    "MemoryService/Recall",
    "recall.wait",
    "engine.wait",
    "recall.encode",
    "recall.rank",
    "store.entries",
    "recall.context",
}


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_one_trace_goes_from_the_client_to_the_engine(collector, traced, provider, exporter, kind) -> None:
    if kind == "sync":
        with traced.client(tracing=provider) as client:
            client.write("t", [Entry(f"{TEXT} {i}", id=f"{kind}-{i}") for i in range(3)])
            client.recall("t", TEXT, max_tokens=100)
    else:

        async def run() -> None:
            async with AsyncMemoryClient(traced.target, tracing=provider) as client:
                await client.write("t", [Entry(f"{TEXT} {i}", id=f"{kind}-{i}") for i in range(3)])
                await client.recall("t", TEXT, max_tokens=100)
                await asyncio.sleep(0)  # a call's code is awaited before its span ends

        asyncio.run(run())
    for method, wanted in (("Write", WRITE), ("Recall", RECALL)):
        trace, span = one(exporter, f"MemoryService/{method}")
        seen = spans_of(collector, trace, wanted)
        call = seen.pop(f"MemoryService/{method}")
        assert call.parent == span
        assert call.attributes["memsvc.tenant"] == "t"
        assert call.attributes["rpc.response.status_code"] == "OK"
        assert {each.parent for each in seen.values()} == {call.id}
        assert all(each.began <= each.ended for each in seen.values())
        assert all(abs(each.began - time.time_ns()) < 60e9 for each in seen.values()), "the clock is the world's"
    trace, _ = one(exporter, "MemoryService/Write")
    seen = spans_of(collector, trace, WRITE)
    queue, encode, step = (seen[f"write.{phase}"] for phase in ("queue", "encode", "step"))
    assert seen["store.append"].began <= queue.began <= encode.began <= step.began
    assert step.attributes["entries"] == 3


def test_a_stream_and_a_refusal_are_traced_too(collector, traced, provider, exporter) -> None:
    with traced.client(tracing=provider) as client:
        assert len(list(client.write_stream("t", [Entry(TEXT, id=f"stream-{i}") for i in range(3)]))) == 1
        with pytest.raises(NotFoundError):
            client.get_entry("t", "none")
    trace, _ = one(exporter, "MemoryService/WriteStream")
    spans_of(collector, trace, {"MemoryService/WriteStream", "store.append", "write.recallable"})
    trace, _ = one(exporter, "MemoryService/GetEntry")
    refused = spans_of(collector, trace, {"MemoryService/GetEntry"})["MemoryService/GetEntry"]
    assert refused.attributes["rpc.response.status_code"] == "NOT_FOUND"
    assert refused.attributes["error.type"] == "ENTRY_NOT_FOUND"


def test_the_log_names_the_trace_and_the_request(traced, provider, exporter) -> None:
    with traced.client(tracing=provider) as client:
        client.recall("t", TEXT)
    trace, _ = one(exporter, "MemoryService/Recall")
    (line,) = (line for line in traced.log.splitlines() if trace in line and '"event": "call"' in line)
    assert '"tenant": "t"' in line


def test_spans_hold_no_text_and_no_state_of_a_caller(collector, traced, provider) -> None:
    with traced.client(tracing=provider) as client:
        client.write("t", [Entry(TEXT, id="plain", session=TEXT, role="xylophonist", metadata={"k": TEXT})])
        client.recall("t", TEXT)
    with Stubs(traced.target) as stubs, pytest.raises(grpc.RpcError):
        stubs.memory.Recall(
            RecallRequest(tenant="t", query=TEXT, k=-1),
            metadata=[("traceparent", f"00-{'ab' * 16}-{'cd' * 8}-01"), ("tracestate", "v=xylophone")],
        )
    spans_of(collector, "ab" * 16, {"MemoryService/Recall"})
    spans = collector.spans
    assert len(spans) > 10
    assert all(b"xylophon" not in span.raw for span in spans)
    assert "xylophon" not in collector.resources


def test_what_its_caller_does_not_sample_is_not_kept(collector, traced) -> None:
    with Stubs(traced.target) as stubs:
        for flags, trace in (("00", "1" * 32), ("01", "2" * 32)):
            metadata = [("traceparent", f"00-{trace}-{'3' * 16}-{flags}")]
            stubs.memory.Recall(RecallRequest(tenant="t", query="anything"), metadata=metadata)
    spans_of(collector, "2" * 32, {"MemoryService/Recall"})
    assert not [span for span in collector.spans if span.trace == "1" * 32]


@pytest.mark.parametrize("parent", ["", "nonsense", f"00-{'0' * 32}-{'3' * 16}-01"])
def test_who_names_no_trace_that_can_be_gets_one_of_his_own(collector, traced, parent) -> None:
    before = len([span for span in collector.spans if span.name == "TenantService/ListTenants"])
    with Stubs(traced.target) as stubs:
        stubs.tenants.ListTenants(ListTenantsRequest(), metadata=[("traceparent", parent)])
    made = eventually(lambda: [span for span in collector.spans if span.name == "TenantService/ListTenants"][before:])
    assert [span.parent for span in made] == [""]


def test_of_traces_that_begin_here_a_share_is_kept_and_the_rest_costs_nothing(collector, tmp_path) -> None:
    with (
        Server(tmp_path / "data", otlp_endpoint=collector.endpoint, trace_share=0, log_level="debug") as server,
        server.client() as client,
    ):
        client.create_tenant("unseen")
        client.write("unseen", [Entry(TEXT)], wait="applied")
        assert server.stop() == 0
    assert not [span for span in collector.spans if span.attributes.get("memsvc.tenant") == "unseen"]
    assert "trace_id" not in server.log


def test_a_server_serves_and_stops_though_its_collector_is_gone(tmp_path) -> None:
    with Collector() as gone:
        pass
    with Server(tmp_path / "data", otlp_endpoint=gone.endpoint) as server:
        with server.client() as client:
            client.create_tenant("t")
            client.write("t", [Entry(TEXT)], wait="applied")
            assert client.recall("t", TEXT)
        assert server.stop() == 0


IMPORTS = """
import sys
import memsvc.server.app, memsvc.cli.serve, memsvc_client
from memsvc.server.config import Settings
from memsvc.server.watch import Watch
Watch(Settings(metrics_port=0))
memsvc_client.MemoryClient("127.0.0.1:1").close()
print(*sorted(name for name in sys.modules if name.split(".")[0] == "opentelemetry"))
"""


def test_nothing_of_it_is_imported_unless_it_is_asked_for() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


WITHOUT = """
import sys
sys.modules["opentelemetry"] = None
import memsvc_client
from memsvc.errors import MemsvcError
from memsvc.server.config import Settings
from memsvc.server.watch import Watch
for make in (lambda: Watch(Settings(otlp_endpoint="http://127.0.0.1:4317")),
             lambda: memsvc_client.MemoryClient("127.0.0.1:1", tracing=True)):
    try:
        make()
    except (MemsvcError, memsvc_client.MemsvcError) as error:
        print(error)
"""


def test_without_the_packages_whoever_asks_for_traces_is_told_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    server, client = done.stdout.splitlines()
    assert "otlp_endpoint" in server
    assert "tracing" in client
    assert all("memsvc[otel]" in told for told in (server, client))
