"""A stream of messages as server-sent events."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc.aio
from google.protobuf.message import Message
from memsvc_client import MemsvcError
from starlette.types import Send

from memsvc.gateway.calls import Call
from memsvc.gateway.conversion import Converter
from memsvc.gateway.problems import Problem
from memsvc.gateway.transcode import to_json

FIRST_S = 1.0
"""How long the headers wait for the first event: an error that comes sooner is the answer's status."""
BEAT_S = 15.0
"""Between comments that say nothing but that the stream lives."""
HEADERS = ((b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no"))


async def send_events(call: Call, request_id: str, converter: Converter, send: Send) -> None:
    """Send what a call answers, event by event.

    Raises:
        MemsvcError: it failed before anything was sent.
    """
    reading = asyncio.ensure_future(call.read())
    await asyncio.wait({reading}, timeout=FIRST_S)
    if reading.done() and not reading.cancelled() and (failure := reading.exception()) is not None:
        raise failure
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    async with aclosing(_chunks(call, reading, request_id, converter)) as chunks:
        async for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _chunks(
    call: Call, reading: "asyncio.Future[Any]", request_id: str, converter: Converter
) -> AsyncGenerator[bytes, None]:
    try:
        while True:
            while not (await asyncio.wait({reading}, timeout=BEAT_S))[0]:
                yield b":\n\n"
            message = reading.result()
            if message is grpc.aio.EOF:
                return
            yield _event(_name(message), await converter.run(message.ByteSize(), to_json, message))
            reading = asyncio.ensure_future(call.read())
    except MemsvcError as error:
        problem = Problem.of(error)
        yield _event("error", json.dumps(problem.members(request_id)).encode())
    finally:
        reading.cancel()


def _name(message: Message) -> str:
    """Return which of an answer's events it is."""
    has = "event" in message.DESCRIPTOR.oneofs_by_name
    return (message.WhichOneof("event") if has else None) or message.DESCRIPTOR.name.lower()


def _event(name: str, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
