"""The asyncio answer: the twin of `_generate`."""

import asyncio
from collections.abc import AsyncGenerator

import grpc
import grpc.aio

from memsvc.v1.generate_pb2 import GenerateRequest, GenerateResponse
from memsvc_client import _replies
from memsvc_client._aio_stream import failing_when_closed
from memsvc_client._peers import AioPeers
from memsvc_client._status import to_error
from memsvc_client._trip import Trip
from memsvc_client.types import Token


async def generate(peers: AioPeers, trip: Trip, request: GenerateRequest) -> AsyncGenerator[Token, None]:
    """Yield the answer's events. Closing the generator ends the call, and with it the model's work."""
    while True:
        address, begun = trip.begin(), False
        async with peers.at(address) as peer:
            call = peer.generate.Generate(request, timeout=trip.remaining)
            try:
                while True:
                    with failing_when_closed():
                        message = await call.read()
                    if not isinstance(message, GenerateResponse):  # the end of the stream
                        return
                    begun = True
                    yield _replies.token(message)
            except grpc.RpcError as error:
                if begun:
                    raise to_error(error, address) from error
                failure = error
            finally:
                call.cancel()
        await asyncio.sleep(trip.pause(failure))
