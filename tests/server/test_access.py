"""One line a call, with the ids by which it is found."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import grpc
import pytest
import structlog
from grpc._cython import cygrpc

from memsvc.observability.telemetry import Telemetry
from memsvc.server.interceptors import CallInterceptor
from memsvc.v1 import tenants_pb2_grpc
from memsvc.v1.memory_pb2 import GetEntryRequest, RecallRequest, WriteStreamOpen, WriteStreamRequest
from memsvc.v1.tenants_pb2 import CreateTenantRequest, ImportTenantRequest, WatchTenantRequest
from memsvc.v1.types_pb2 import Tenant
from tests.observability.eventually import eventually
from tests.serving import Server, Stubs


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("access") / "data", log_level="debug", log_json=True) as server:
        with Stubs(server.target) as stubs:
            stubs.tenants.CreateTenant(CreateTenantRequest(tenant=Tenant(tenant="ada"), request_id="c"))
        yield server


def call_named(server: Server, id: str) -> dict[str, Any]:
    """The one line of the call of that id, once it is there."""

    def found() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in server.log.splitlines() if f'"{id}"' in line]
        return [line for line in lines if line["event"] == "call"]

    (line,) = eventually(found)
    return line


def test_a_call_is_found_by_the_id_that_its_caller_gave_it(server, stubs) -> None:
    stubs.memory.Recall(RecallRequest(tenant="ada", query="q"), metadata=[("x-request-id", "order-17/a")])
    line = call_named(server, "order-17/a")
    assert (line["method"], line["tenant"], line["code"], line["level"]) == (
        "MemoryService/Recall",
        "ada",
        "OK",
        "debug",
    )
    assert line["ms"] > 0


def test_a_refusal_tells_its_id_and_is_logged_at_info(server, stubs) -> None:
    for metadata in ([], [("x-request-id", "mine")], [("x-request-id", "has a space")], [("x-request-id", "x" * 129)]):
        with pytest.raises(grpc.RpcError) as refused:
            stubs.memory.GetEntry(GetEntryRequest(tenant="ada", id="none"), metadata=metadata)
        (id,) = (value for key, value in refused.value.trailing_metadata() if key == "x-request-id")
        line = call_named(server, id)
        assert (line["code"], line["reason"], line["level"]) == ("NOT_FOUND", "ENTRY_NOT_FOUND", "info")
        given = dict(metadata).get("x-request-id", "")
        assert (id == given) == (given == "mine")


def test_streams_have_a_line_at_their_end(server, stubs) -> None:
    opened = WriteStreamRequest(open=WriteStreamOpen(tenant="ada"))
    list(stubs.memory.WriteStream(iter([opened]), metadata=[("x-request-id", "stream")]))
    assert call_named(server, "stream")["tenant"] == "ada"
    watch = stubs.tenants.WatchTenant(WatchTenantRequest(tenant="ada"), metadata=[("x-request-id", "watch")])
    stubs.memory.Recall(RecallRequest(tenant="ada", query="q"))
    watch.cancel()
    assert call_named(server, "watch")["code"] == "CANCELLED"


def test_a_name_that_is_no_tenants_is_not_logged(server, stubs) -> None:
    with pytest.raises(grpc.RpcError):
        stubs.memory.Recall(RecallRequest(tenant="a\nb", query="q"), metadata=[("x-request-id", "forged")])
    assert "tenant" not in call_named(server, "forged")


@pytest.fixture
def stubs(server) -> Iterator[Stubs]:
    with Stubs(server.target) as stubs:
        yield stubs


@pytest.mark.parametrize(
    ("error", "faults"), [(cygrpc._ServerStoppedError("on purpose"), 0), (ValueError("on purpose"), 1)]
)
async def test_a_call_that_the_servers_end_cut_off_is_no_fault_of_ours(error, faults) -> None:
    calls = CallInterceptor(Telemetry())
    calls.ready = True

    class Tenants(tenants_pb2_grpc.TenantServiceServicer):
        async def ImportTenant(self, requests, context):  # noqa: N802
            raise error

    server = grpc.aio.server(interceptors=[calls])
    tenants_pb2_grpc.add_TenantServiceServicer_to_server(Tenants(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with structlog.testing.capture_logs() as logged:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            with suppress(grpc.RpcError):
                await tenants_pb2_grpc.TenantServiceStub(channel).ImportTenant(iter([ImportTenantRequest()]), timeout=5)
        await server.stop(None)
    assert sum(line["log_level"] == "error" for line in logged) == faults
