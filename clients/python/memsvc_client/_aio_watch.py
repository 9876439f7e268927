"""The asyncio watch: the twin of `_watch`."""

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeAlias

import grpc
import grpc.aio

from memsvc.v1 import tenants_pb2, types_pb2
from memsvc_client._aio_stream import failing_when_closed
from memsvc_client._peers import AioPeers
from memsvc_client._watching import Watching
from memsvc_client.types import Event

_Call: TypeAlias = "grpc.aio.UnaryStreamCall[tenants_pb2.WatchTenantRequest, types_pb2.Event]"


async def watch(peers: AioPeers, watching: Watching) -> AsyncGenerator[Event, None]:
    """Yield events without end, reconnecting where the stream breaks. Closing the generator cancels the call."""
    while True:
        failure = None
        address, request = watching.restart()
        async with peers.at(address) as peer:
            call = peer.tenants.WatchTenant(request)
            try:
                while isinstance(message := await _read(call), types_pb2.Event):
                    if event := watching.receive(message):
                        yield event
            except grpc.RpcError as error:
                failure = error
            finally:
                call.cancel()
        await asyncio.sleep(watching.pause(failure))


async def _read(call: _Call) -> object:
    """Return the next message, or the end of the stream."""
    with failing_when_closed():
        return await call.read()
