"""Clients that wait ask now and then whether the server is still there. The server does not take it for abuse."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from memsvc_client import _channel

from memsvc.server.app import OPTIONS

FASTER = 10
"""Times that both run faster than they do elsewhere. gRPC pings once in a second at most."""
PINGS = 5


class Quiet(grpc.GenericRpcHandler):
    """One method, which says nothing for many pings."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        async def wait(_: bytes, context: Any) -> AsyncIterator[bytes]:
            yield b"begin"
            await asyncio.sleep(PINGS * _channel.KEEPALIVE_MS / 1000)
            yield b"end"

        return grpc.unary_stream_rpc_method_handler(wait)


async def test_a_call_that_waits_is_not_cut_off_for_its_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_channel, "KEEPALIVE_MS", _channel.KEEPALIVE_MS // FASTER)
    interval = "grpc.http2.min_ping_interval_without_data_ms"
    server = grpc.aio.server(
        options=[(name, value // FASTER if name == interval else value) for name, value in OPTIONS]
    )
    server.add_generic_rpc_handlers([Quiet()])
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    async with _channel.open_aio_channel(target, None) as channel:
        assert [part async for part in channel.unary_stream("/quiet/Wait")(b"")] == [b"begin", b"end"]
    await server.stop(None)
