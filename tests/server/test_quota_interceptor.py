"""Calls of every shape are counted for who makes them and whom they are about, and streams until they are over.

In this process, so that the clock is the test's and the callers are who they say.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import pytest
from memsvc_client._status import to_error
from memsvc_client.errors import MemsvcError

from memsvc.observability.telemetry import Telemetry
from memsvc.server import validate
from memsvc.server.interceptors import CallInterceptor
from memsvc.server.principal import Principal, become
from memsvc.server.quota_config import QuotaConfig
from memsvc.server.quota_interceptor import QuotaInterceptor
from memsvc.server.quotas import Quotas
from memsvc.v1 import memory_pb2, memory_pb2_grpc, tenants_pb2, tenants_pb2_grpc, types_pb2

PATIENCE_S = 60


class BelievesAll(grpc.aio.ServerInterceptor):
    """Takes callers for who they say they are."""

    async def intercept_service(self, continuation, handler_call_details):
        for name, value in handler_call_details.invocation_metadata:
            if name == "who":
                become(Principal(name=value, grants=()))
        return await continuation(handler_call_details)


class Tenants(tenants_pb2_grpc.TenantServiceServicer):
    async def GetTenant(self, request, context):  # noqa: N802
        return types_pb2.Tenant(tenant=validate.name("tenant", request.tenant))

    async def CreateTenant(self, request, context):  # noqa: N802
        return request.tenant

    async def ListTenants(self, request, context):  # noqa: N802
        return tenants_pb2.ListTenantsResponse()

    async def WatchTenant(self, request, context):  # noqa: N802
        if request.tenant == "fails":
            raise ValueError("on purpose")
        while True:
            yield types_pb2.Event(kind="x" * 1000)
            await asyncio.sleep(0 if request.tenant == "floods" else PATIENCE_S)

    async def ImportTenant(self, requests, context):  # noqa: N802
        size = 0
        async for request in requests:
            size += len(request.data)
        return tenants_pb2.ImportTenantResponse(head_seq=size)


class Memory(memory_pb2_grpc.MemoryServiceServicer):
    async def Recall(self, request, context):  # noqa: N802
        return memory_pb2.RecallResponse()

    async def ListEntries(self, request, context):  # noqa: N802
        return memory_pb2.ListEntriesResponse()

    async def WriteStream(self, requests, context):  # noqa: N802
        async for request in requests:
            yield memory_pb2.WriteStreamResponse(window=request.ByteSize())


class Counted(Quotas):
    """Its clock stands still until the test moves it."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(QuotaConfig(), clock=lambda: self.now)

    def have(self, **config) -> None:
        self.change(QuotaConfig.model_validate({"burst_s": 1, **config}))


@asynccontextmanager
async def serving(quotas: Counted) -> AsyncIterator[str]:
    calls = CallInterceptor(Telemetry())
    calls.ready = True
    server = grpc.aio.server(interceptors=[calls, BelievesAll(), QuotaInterceptor(quotas)])
    tenants_pb2_grpc.add_TenantServiceServicer_to_server(Tenants(), server)
    memory_pb2_grpc.add_MemoryServiceServicer_to_server(Memory(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


class As:
    """Somebody's calls."""

    def __init__(self, channel: grpc.aio.Channel, who: str) -> None:
        self._tenants = tenants_pb2_grpc.TenantServiceStub(channel)
        self._memory = memory_pb2_grpc.MemoryServiceStub(channel)
        self._who = (("who", who),) if who else ()

    def get(self, tenant: str):
        return self._tenants.GetTenant(tenants_pb2.GetTenantRequest(tenant=tenant), metadata=self._who)

    def create(self, tenant: str):
        request = tenants_pb2.CreateTenantRequest(tenant=types_pb2.Tenant(tenant=tenant))
        return self._tenants.CreateTenant(request, metadata=self._who)

    def list(self):
        return self._tenants.ListTenants(tenants_pb2.ListTenantsRequest(), metadata=self._who)

    def watch(self, tenant: str):
        return self._tenants.WatchTenant(tenants_pb2.WatchTenantRequest(tenant=tenant), metadata=self._who)

    def import_(self, tenant: str, *sizes: int):
        requests = [tenants_pb2.ImportTenantRequest(as_tenant=tenant, data=b"x" * size) for size in sizes]
        return self._tenants.ImportTenant(iter(requests), metadata=self._who)

    def recall(self, tenant: str, **asked):
        return self._memory.Recall(memory_pb2.RecallRequest(tenant=tenant, **asked), metadata=self._who)

    def entries(self, tenant: str, page_size: int):
        request = memory_pb2.ListEntriesRequest(tenant=tenant, page_size=page_size)
        return self._memory.ListEntries(request, metadata=self._who)

    def write(self):
        return self._memory.WriteStream(metadata=self._who)


@pytest.fixture
async def quotas() -> Counted:
    return Counted()


@pytest.fixture
async def caller(quotas) -> AsyncIterator[Callable[[str], As]]:
    async with serving(quotas) as target, grpc.aio.insecure_channel(target) as channel:
        yield lambda who: As(channel, who)


async def refused(call: Awaitable[object]) -> MemsvcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    return to_error(caught.value, "")


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110  # it is seen by asking
            await asyncio.sleep(0.01)


def message(tenant: str = "", size: int = 0) -> memory_pb2.WriteStreamRequest:
    if tenant:
        return memory_pb2.WriteStreamRequest(open=memory_pb2.WriteStreamOpen(tenant=tenant))
    entry = types_pb2.Entry(text="x" * size)
    return memory_pb2.WriteStreamRequest(batch=memory_pb2.WriteStreamBatch(entries=[entry]))


async def test_each_tenant_and_each_principal_has_its_own(quotas, caller) -> None:
    quotas.have(tenant={"requests_per_s": 2}, principal={"requests_per_s": 3})
    ada, bob, nobody = caller("ada"), caller("bob"), caller("")
    await ada.get("t")
    await bob.create("t")
    error = await refused(ada.get("t"))
    assert error.metadata == {"quota": "requests_per_s", "scope": "tenant", "limit": "2"}
    assert error.reason == "QUOTA_EXCEEDED"
    assert error.retry_after == pytest.approx(0.5)
    assert (await refused(nobody.get("t"))).metadata["scope"] == "tenant"
    await ada.get("another")
    await ada.list()
    assert (await refused(ada.list())).metadata["scope"] == "principal"
    await bob.list()
    for _ in range(10):
        await nobody.list()
    quotas.now += 0.5
    await ada.get("t")


async def test_an_answer_of_many_entries_counts_as_many_requests(quotas, caller) -> None:
    quotas.have(tenant={"requests_per_s": 40})
    ada = caller("ada")
    await ada.recall("t", k=1000)
    await ada.recall("t", k=100, neighbours=10)
    for _ in range(8):
        await ada.recall("t")
    await ada.entries("t", 100)
    assert (await refused(ada.get("t"))).metadata["quota"] == "requests_per_s"
    # What nobody may ask for is paid like the most that one may, not for years.
    quotas.now += 1
    await ada.recall("t", k=2**31 - 1)
    quotas.now += 1
    await ada.recall("t", k=-5, neighbours=-5)


async def test_what_is_no_name_is_counted_for_its_caller_alone_and_not_kept(quotas, caller) -> None:
    quotas.have(tenant={"requests_per_s": 1}, principal={"requests_per_s": 3})
    ada = caller("ada")
    for unfit in ("x" * 257, "y" * (1 << 20), "a\nb"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ada.get(unfit)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert to_error(caught.value, "").field == "tenant"
    assert [list(quotas._subjects[scope]) for scope in ("tenant", "principal")] == [[], ["ada"]]
    assert (await refused(ada.list())).metadata["scope"] == "principal"


async def test_a_stream_that_is_too_fast_waits_and_none_of_it_is_lost(quotas, caller) -> None:
    quotas.have(tenant={"bytes_per_s": 10_000})
    stream = caller("ada").write()
    answered = 0

    async def read() -> None:
        nonlocal answered
        async for _ in stream:
            answered += 1

    reading = asyncio.create_task(read())
    await stream.write(message("t"))
    for _ in range(5):
        await stream.write(message(size=9_000))
    await stream.done_writing()
    await until(lambda: answered == 2)
    await caller("bob").get("another")
    assert answered == 2, "the clock stands still: it fits in once"
    while not reading.done():
        quotas.now += 0.1
        await asyncio.sleep(0.01)
    await reading
    assert answered == 6


async def test_a_request_too_large_to_fit_in_passes_once_and_is_paid_for(quotas, caller) -> None:
    quotas.have(tenant={"bytes_per_s": 1_000})
    stream = caller("").import_("t", 50_000)
    assert (await stream).head_seq == 50_000
    assert (await refused(caller("").get("t"))).retry_after == pytest.approx(49, abs=1)


async def read_and_cancelled(ada: As) -> None:
    watch = ada.watch("t")
    await watch.read()
    watch.cancel()


async def cancelled_at_once(ada: As) -> None:
    ada.watch("t").cancel()
    ada.write().cancel()


async def cancelled_while_it_floods(ada: As) -> None:
    watch = ada.watch("floods")
    await watch.read()
    watch.cancel()


async def failed(ada: As) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await ada.watch("fails").read()


async def written_and_over(ada: As) -> None:
    stream = ada.write()
    await stream.write(message("t"))
    await stream.read()
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF


async def written_and_cancelled(ada: As) -> None:
    stream = ada.write()
    await stream.write(message("t"))
    stream.cancel()


async def imported(ada: As) -> None:
    await ada.import_("t", 10)


@pytest.mark.parametrize(
    "end",
    [
        read_and_cancelled,
        cancelled_at_once,
        cancelled_while_it_floods,
        failed,
        written_and_over,
        written_and_cancelled,
        imported,
    ],
)
async def test_a_stream_counts_until_it_is_over_however_it_ends(quotas, caller, end) -> None:
    quotas.have(tenant={"streams": 3}, principal={"streams": 3})
    for _ in range(10):
        await end(caller("ada"))
        await until(lambda: not any(quotas._streams.values()))
    held = [caller("ada").watch("t") for _ in range(3)]
    for watch in held:
        await watch.read()
    error = await refused(caller("ada").watch("another").read())
    assert error.metadata == {"quota": "streams", "scope": "principal", "limit": "3"}
    assert error.retry_after
    error = await refused(caller("bob").watch("t").read())
    assert error.metadata == {"quota": "streams", "scope": "tenant", "limit": "3"}
    stream = caller("bob").write()
    await stream.write(message("t"))
    assert (await refused(stream.read())).metadata["scope"] == "tenant"
    held[0].cancel()
    await until(lambda: sum(quotas._streams["tenant"].values()) == 2)
    await caller("bob").watch("t").read()
