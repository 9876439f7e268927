"""What callers write, and how they prove who they are, is in no log, error, metric or trace, whatever they ask for."""

import json
from itertools import islice

import grpc
import pytest

from memsvc.v1.memory_pb2 import ERASURE_STATE_DONE, ForgetRequest, GetErasureRequest, WriteRequest
from memsvc.v1.tenants_pb2 import CreateTenantRequest, ExportTenantRequest
from memsvc.v1.types_pb2 import Entry, Tenant
from tests.observability.collector import Collector
from tests.observability.eventually import eventually
from tests.observability.rpcs import METHODS, requests
from tests.observability.scrape import page
from tests.serving import Server, Stubs

PLANTED = "xylophone7f3a"
CREDENTIAL = "msk-4b1dc0ffee"
METADATA = [("authorization", f"Bearer {CREDENTIAL}"), ("x-api-key", CREDENTIAL), ("x-request-id", f"{PLANTED} ")]


def test_every_method_has_a_request() -> None:
    named = requests(PLANTED, "t", "o", [b""])
    assert {method.partition("/")[2] for method in METHODS} == named.keys()


def call(channel: grpc.Channel, name: str, request) -> str:
    """Call a method; return all that an error says, nothing where there is none."""
    method = METHODS[name]
    kind = f"{'stream' if isinstance(request, list) else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    stub = getattr(channel, kind)(
        f"/{name}", type(request[0] if isinstance(request, list) else request).SerializeToString
    )
    try:
        answer = stub(iter(request) if isinstance(request, list) else request, timeout=20, metadata=METADATA)
        if method.server_streaming:
            list(islice(answer, 2))
            answer.cancel()
    except grpc.RpcError as error:
        return f"{error.details()} {error.trailing_metadata()}"
    return ""


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict[str, str]:
    """All that a server told of a run of every method, by where it told it."""
    data = tmp_path_factory.mktemp("secrets") / "data"
    errors = []
    with Collector() as collector, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        # Failures that are logged with their traces.
        patch.setenv("MEMSVC_FAILPOINTS", "snapshot.swap.before=raise")
        server = Server(
            data,
            log_level="debug",
            log_json=True,
            metrics_port=0,
            otlp_endpoint=collector.endpoint,
            trace_share=1,
            snapshot_min_tokens=1,
            snapshot_idle_s=0.1,
        )
        with server, Stubs(server.target) as stubs:
            for tenant in ("t", "saved"):
                stubs.tenants.CreateTenant(CreateTenantRequest(tenant=Tenant(tenant=tenant), request_id=tenant))
                stubs.memory.Write(WriteRequest(tenant=tenant, entries=[Entry(id="gone", text=PLANTED)]))
            erasure = stubs.memory.Forget(ForgetRequest(tenant="t", ids=["gone"], request_id="2"))
            progress = GetErasureRequest(operation=erasure.operation)
            eventually(lambda: stubs.memory.GetErasure(progress).state == ERASURE_STATE_DONE)
            export = [part.data for part in stubs.tenants.ExportTenant(ExportTenantRequest(tenant="t"))]
            names = {name.partition("/")[2]: name for name in METHODS}
            served = set()
            for method, messages in requests(PLANTED, "t", erasure.operation, export).items():
                for request in messages:
                    error = call(stubs.channel, names[method], request)
                    errors.append(error)
                    served |= set() if error else {method}
            assert served == names.keys(), errors
            broken = stubs.channel.unary_unary(f"/{names['Recall']}")
            with pytest.raises(grpc.RpcError) as refused:
                broken(b"\xff" + PLANTED.encode(), metadata=METADATA)
            errors.append(f"{refused.value.details()} {refused.value.trailing_metadata()}")
            eventually(lambda: "snapshot.swap.before was hit" in server.log)
            metrics = page(server)
            eventually(lambda: any(span.name == "TenantService/DeleteTenant" for span in collector.spans))
            server.stop()
        spans = b" ".join(span.raw for span in collector.spans)
        return {
            "log": server.log,
            "errors": "\n".join(errors),
            "metrics": metrics,
            "traces": f"{spans.decode(errors='replace')} {collector.resources}",
        }


@pytest.mark.parametrize("where", ["log", "errors", "metrics", "traces"])
@pytest.mark.parametrize("secret", [PLANTED, CREDENTIAL])
def test_nothing_planted_comes_to_light(told, where, secret) -> None:
    found = [line for line in told[where].splitlines() if secret in line]
    assert not found


def test_every_line_is_an_object_and_every_call_has_one(told) -> None:
    lines = [json.loads(line) for line in told["log"].splitlines()]
    calls = [line for line in lines if line["event"] == "call"]
    assert {call["method"] for call in calls} == {method.removeprefix("memsvc.v1.") for method in METHODS}
    assert all({"request_id", "code", "ms", "trace_id", "level", "timestamp"} <= call.keys() for call in calls)
    assert any("exception" in line for line in lines), "a failure with its trace was there to be looked at"
    tenant = {call["method"] for call in calls if call.get("tenant") == "t"}
    assert {"MemoryService/Write", "MemoryService/WriteStream", "TenantService/DeleteTenant"} <= tenant
