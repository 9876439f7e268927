"""A server that knows clients by their certificates: what gRPC really tells of them."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from memsvc.auth.authenticator import Authenticator
from memsvc.auth.certificates import Client, KnownCertificates, Naming
from memsvc.auth.grants import Grant, Right
from memsvc.auth.keyring import KeyRing
from memsvc.observability.telemetry import Telemetry
from memsvc.server.audit import Audit
from memsvc.server.authentication import AuthInterceptor
from memsvc.server.interceptors import CallInterceptor
from memsvc.server.principal import current
from memsvc.v1 import tenants_pb2, tenants_pb2_grpc, types_pb2
from tests.certificates import Authority
from tests.double.store import Data, MemoryStore

GRANTS = (Grant("foo", frozenset({Right.READ})),)
KNOWN = [
    Client(Naming.URI, "spiffe://acme/ingest", GRANTS),
    Client(Naming.SUBJECT, "CN=named", GRANTS),
    Client(Naming.DNS, "client.acme", GRANTS),
]


class Service(tenants_pb2_grpc.TenantServiceServicer):
    """Answers who asks."""

    async def GetTenant(self, request, context):  # noqa: N802
        return types_pb2.Tenant(tenant=current().name)

    async def WatchTenant(self, request, context):  # noqa: N802
        yield types_pb2.Event(kind=current().name)


@pytest.fixture
async def calls(tmp_path) -> AsyncIterator:
    """Make stubs of clients that show a certificate of one of these names, or none."""
    authority = Authority(tmp_path)
    ca = authority.ca.read_bytes()
    names = {"uri": "spiffe://acme/ingest", "dns": "client.acme", "named": "x", "stranger": "ingest"}
    shown = {subject: authority.issue(subject, (name,)) for subject, name in names.items()}
    store = MemoryStore(Data(), lambda: 1)
    ring = KeyRing(store)
    _, secret = await ring.create("key", (Grant("*", frozenset(Right)),), None)
    interceptors = [CallInterceptor(Telemetry()), AuthInterceptor(Audit())]
    interceptors[0].ready = True
    interceptors[1].open(Authenticator(ring, certificates=KnownCertificates(KNOWN)))
    server = grpc.aio.server(interceptors=interceptors)
    tenants_pb2_grpc.add_TenantServiceServicer_to_server(Service(), server)
    own = authority.issue("server")
    pairs = [(own.key.read_bytes(), own.cert.read_bytes())]
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(pairs, ca, require_client_auth=True))
    plain = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channels = []

    def make(subject: str) -> tenants_pb2_grpc.TenantServiceStub:
        if subject:
            pair = shown[subject]
            credentials = grpc.ssl_channel_credentials(ca, pair.key.read_bytes(), pair.cert.read_bytes())
            channels.append(grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials))
        else:
            channels.append(grpc.aio.insecure_channel(f"127.0.0.1:{plain}"))
        return tenants_pb2_grpc.TenantServiceStub(channels[-1])

    make.secret = secret
    yield make
    for channel in channels:
        await channel.close()
    await server.stop(None)


async def refused(call) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details()


@pytest.mark.parametrize(
    ("subject", "name"), [("uri", "spiffe://acme/ingest"), ("dns", "client.acme"), ("named", "CN=named")]
)
async def test_a_client_is_known_by_its_certificate(calls, subject, name):
    stub = calls(subject)
    request = tenants_pb2.GetTenantRequest(tenant="foo")
    assert (await stub.GetTenant(request)).tenant == f"certificate:{name}"
    (event,) = [event async for event in stub.WatchTenant(tenants_pb2.WatchTenantRequest(tenant="foo"))]
    assert event.kind == f"certificate:{name}"
    request.tenant = "foobar"
    assert (await refused(stub.GetTenant(request)))[0] is grpc.StatusCode.PERMISSION_DENIED


async def test_a_credential_in_the_metadata_goes_before_the_certificate(calls):
    metadata = [("authorization", f"Bearer {calls.secret}")]
    answer = await calls("uri").GetTenant(tenants_pb2.GetTenantRequest(tenant="bar"), metadata=metadata)
    assert answer.tenant.startswith("key:")
    wrong = [("authorization", f"Bearer {calls.secret[:-1]}")]
    code, _ = await refused(calls("uri").GetTenant(tenants_pb2.GetTenantRequest(tenant="foo"), metadata=wrong))
    assert code is grpc.StatusCode.UNAUTHENTICATED


async def test_a_stranger_and_a_connection_without_a_certificate_are_nobody(calls):
    request = tenants_pb2.GetTenantRequest(tenant="foo")
    code, words = await refused(calls("stranger").GetTenant(request))
    assert (code, words) == (grpc.StatusCode.UNAUTHENTICATED, "the certificate is no client's that is known")
    code, words = await refused(calls("").GetTenant(request))
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert "asks for a credential" in words


async def test_each_call_has_a_principal_of_its_own(calls):
    """Calls of several callers run in one loop at once."""
    stubs = {"spiffe://acme/ingest": calls("uri"), "client.acme": calls("dns"), "CN=named": calls("named")}
    asked = [(name, stub) for name, stub in stubs.items() for _ in range(20)]
    answers = await asyncio.gather(*(s.GetTenant(tenants_pb2.GetTenantRequest(tenant="foo")) for _, s in asked))
    assert [answer.tenant for answer in answers] == [f"certificate:{name}" for name, _ in asked]
    assert current().name == "anyone"
