"""The interceptor that asks for credentials, around services that note what reaches them."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace

import grpc
import pytest
from structlog.testing import capture_logs

from memsvc.auth.authenticator import Authenticator
from memsvc.auth.grants import Grant, Right
from memsvc.auth.keyring import KeyRing
from memsvc.observability.telemetry import Telemetry
from memsvc.server.audit import REFUSED_PER_S, Audit
from memsvc.server.authentication import AuthInterceptor
from memsvc.server.interceptors import CallInterceptor
from memsvc.v1 import tenants_pb2, tenants_pb2_grpc
from tests.double.store import Data, MemoryStore

RULED, UNRULED, FOREIGN = (
    "/memsvc.v1.TenantService/GetTenant",
    "/memsvc.v1.TenantService/Unruled",
    "/other.Service/Call",
)
SHAPE_OF = {"/memsvc.v1.TenantService/ImportTenant": "stream_unary"}
SHAPES = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


class Services(grpc.GenericRpcHandler):
    """Serves every method in every shape; notes what is parsed and what is called."""

    def __init__(self) -> None:
        self.parsed: list[bytes] = []
        self.called: list[str] = []

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        shape = details.method.partition("#")[2] or SHAPE_OF.get(details.method, "unary_unary")

        async def once(request, context):
            self.called.append(details.method)
            return b""

        async def many(request, context):
            self.called.append(details.method)
            yield b""

        def parse(data: bytes) -> tenants_pb2.GetTenantRequest:
            self.parsed.append(data)
            return tenants_pb2.GetTenantRequest.FromString(data)

        make = getattr(grpc, f"{shape}_rpc_method_handler")
        return make(many if shape.endswith("stream") else once, request_deserializer=parse)


@pytest.fixture
async def place() -> AsyncIterator[SimpleNamespace]:
    """A server that is not open yet, and a channel to it."""
    ring = KeyRing(MemoryStore(Data(), lambda: 1))
    _, secret = await ring.create("key", (Grant("*", frozenset(Right)),), None)
    calls, auth = CallInterceptor(Telemetry()), AuthInterceptor(Audit())
    calls.ready = True
    services = Services()
    server = grpc.aio.server(interceptors=[calls, auth])
    server.add_generic_rpc_handlers((services,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield SimpleNamespace(
            auth=auth,
            authenticator=Authenticator(ring),
            ring=ring,
            services=services,
            channel=channel,
            key=[("authorization", f"Bearer {secret}")],
        )
    await server.stop(None)


async def code_of(place, method: str, shape: str = "unary_unary", metadata=(), request: bytes = b"") -> str:
    """Call a method in one of the shapes, and say how it ends."""
    call = getattr(place.channel, shape)(method)
    sent = request if shape.startswith("unary") else iter([request])
    answer = call(sent, metadata=metadata)
    try:
        if shape.endswith("stream"):
            async for _ in answer:
                pass
        else:
            await answer
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def test_nobody_is_let_in_before_it_is_said_who_may(place):
    for metadata in ((), place.key):
        assert await code_of(place, RULED, metadata=metadata) == "UNAVAILABLE"
    assert not place.services.called


@pytest.mark.parametrize("asks", [True, False])
async def test_a_method_without_a_rule_is_refused(place, asks):
    place.auth.open(place.authenticator if asks else None)
    for shape in SHAPES:
        assert await code_of(place, f"{UNRULED}#{shape}", shape, place.key) == "PERMISSION_DENIED"
    assert await code_of(place, RULED, metadata=place.key) == "OK"
    assert place.services.called == [RULED]


async def test_what_is_not_ours_is_refused_where_credentials_are_asked_for(place):
    place.auth.open(place.authenticator)
    assert await code_of(place, FOREIGN, metadata=place.key) == "PERMISSION_DENIED"
    assert await code_of(place, "/grpc.health.v1.Health/Check") == "OK"
    place.auth.open(None)
    assert await code_of(place, FOREIGN) == "OK"


async def test_the_request_of_a_stranger_is_not_read(place):
    place.auth.open(place.authenticator)
    large = tenants_pb2.GetTenantRequest(tenant="x" * 1_000_000).SerializeToString()
    assert await code_of(place, RULED, request=large) == "UNAUTHENTICATED"
    assert not place.services.parsed
    assert await code_of(place, RULED, metadata=place.key, request=large) == "OK"
    assert place.services.parsed == [large]


async def test_a_stranger_hears_how_the_call_is_named(place):
    place.auth.open(place.authenticator)
    call = place.channel.unary_unary(RULED)(b"", metadata=[("x-request-id", "mine")])
    assert await call.code() is grpc.StatusCode.UNAUTHENTICATED
    assert ("x-request-id", "mine") in [tuple(pair) for pair in await call.trailing_metadata()]


async def test_a_stream_that_says_nothing_needs_the_rights_too(place):
    place.auth.open(place.authenticator)
    _, secret = await place.ring.create("reader", (Grant("foo", frozenset({Right.READ})),), None)
    reader = [("authorization", f"Bearer {secret}")]
    method = "/memsvc.v1.TenantService/ImportTenant"
    for metadata, code in ((reader, grpc.StatusCode.PERMISSION_DENIED), (place.key, grpc.StatusCode.OK)):
        call = place.channel.stream_unary(method)(iter(()), metadata=metadata)
        assert await call.code() is code
    assert place.services.called == [method]


async def test_a_refusal_is_in_the_audit_log_whatever_the_level(place):
    place.auth.open(place.authenticator)
    with capture_logs() as lines:
        await code_of(place, RULED)
        await code_of(place, UNRULED, metadata=place.key)
    audit = [line for line in lines if line["event"] == "audit"]
    assert [(line["principal"], line["outcome"], line["reason"]) for line in audit] == [
        ("nobody", "UNAUTHENTICATED", "CREDENTIAL_MISSING"),
        ("nobody", "PERMISSION_DENIED", "NO_RULE"),
    ]
    assert all(line["peer"].startswith("ipv4:127.0.0.1:") for line in audit)


def test_strangers_lines_are_few_and_what_is_left_out_is_counted():
    now = [100.0]
    audit = Audit(lambda: now[0])
    with capture_logs() as lines:
        for _ in range(3 * REFUSED_PER_S):
            audit.unknown(RULED, "UNAUTHENTICATED", "CREDENTIAL_MISSING", "peer")
        audit.called("key:1", RULED, "PERMISSION_DENIED", tenant="foo")
        now[0] += 1
        audit.unknown(RULED, "UNAUTHENTICATED", "CREDENTIAL_MISSING", "peer")
    assert len(lines) == REFUSED_PER_S + 2
    assert lines[-2]["tenant"] == "foo", "those of callers that are known are never left out"
    assert lines[-1]["left_out"] == 2 * REFUSED_PER_S


class Slow(tenants_pb2_grpc.TenantServiceServicer):
    """Exports without end."""

    async def ExportTenant(self, request, context):  # noqa: N802
        while True:
            yield tenants_pb2.ExportTenantResponse(data=b"x")
            await asyncio.sleep(0)

    async def DeleteTenant(self, request, context):  # noqa: N802
        raise RuntimeError("a fault of ours")


async def test_how_a_call_ended_is_written_down():
    calls, auth = CallInterceptor(Telemetry()), AuthInterceptor(Audit())
    calls.ready = True
    auth.open(None)
    server = grpc.aio.server(interceptors=[calls, auth])
    tenants_pb2_grpc.add_TenantServiceServicer_to_server(Slow(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with capture_logs() as lines:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = tenants_pb2_grpc.TenantServiceStub(channel)
            export = stub.ExportTenant(tenants_pb2.ExportTenantRequest(tenant="foo"))
            await anext(aiter(export))
            export.cancel()
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.DeleteTenant(tenants_pb2.DeleteTenantRequest(tenant="foo", request_id="r"))
        await server.stop(None)
    ended = {line["method"].rpartition("/")[2]: line for line in lines if line["event"] == "audit"}
    assert ended["ExportTenant"]["outcome"] == "CANCELLED"
    assert ended["DeleteTenant"]["outcome"] == "INTERNAL"
    assert {line["principal"] for line in ended.values()} == {"anyone"}
