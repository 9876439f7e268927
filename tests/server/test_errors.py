"""How a call ends that is refused."""

import asyncio
import gc
import weakref

import grpc
import pytest

from memsvc.errors import InvalidArgumentError
from memsvc.observability.telemetry import Telemetry
from memsvc.server.interceptors import CallInterceptor


class _Found:
    """What a handler found, a thousand hits, say."""


@pytest.fixture
async def refusing():
    """Yield where a server listens whose every call finds something and is refused, and what was found."""
    held = list[weakref.ref[_Found]]()

    def refuse() -> bytes:
        found = _Found()
        held.append(weakref.ref(found))
        raise InvalidArgumentError("k", "ask for fewer")

    async def once(request, context):
        return refuse()

    async def many(request, context):
        yield refuse()

    handlers = {
        "Once": grpc.unary_unary_rpc_method_handler(once, bytes, bytes),
        "Many": grpc.unary_stream_rpc_method_handler(many, bytes, bytes),
    }
    calls = CallInterceptor(Telemetry())
    calls.ready = True
    server = grpc.aio.server(interceptors=[calls])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("memsvc.v1.Test", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}", held
    await server.stop(None)


async def test_nothing_that_the_handler_held_waits_for_the_collector(refusing) -> None:
    target, held = refusing
    gc.disable()
    try:
        async with grpc.aio.insecure_channel(target) as channel:
            with pytest.raises(grpc.aio.AioRpcError, match="ask for fewer"):
                await channel.unary_unary("/memsvc.v1.Test/Once")(b"")
            with pytest.raises(grpc.aio.AioRpcError, match="ask for fewer"):
                [_ async for _ in channel.unary_stream("/memsvc.v1.Test/Many")(b"")]
        # The caller may hear of it before the handler's last lines are through.
        for _ in range(1000):
            if [found() for found in held] == [None, None]:
                break
            await asyncio.sleep(0.01)
        assert [found() for found in held] == [None, None]
    finally:
        gc.enable()
