"""An OpenAI-compatible server that does what it is told to, well or badly: a real socket, HTTP/1.1 by hand."""

import asyncio
import itertools
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

HOST = "127.0.0.1"


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class GoneError(Exception):
    """Whoever asked has left."""


@dataclass
class Exchange:
    """One request, and the connection to answer it on."""

    request: Request
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    chunked: bool = True
    """Whether the end of the body is told; otherwise the connection's end is the body's."""
    sizes: Sequence[int] = ()
    """Bytes that are sent at a time, over and over; empty for all at once."""
    keep: bool = True
    """Whether the connection serves on."""
    _sizes: Iterator[int] = field(init=False)

    def __post_init__(self) -> None:
        self._sizes = itertools.cycle(self.sizes or (1 << 30,))

    async def head(self, status: int = 200, **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} so", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
        if "content_length" not in headers:
            lines.append("transfer-encoding: chunked" if self.chunked else "connection: close")
        await self._send("".join(f"{line}\r\n" for line in (*lines, "")).encode())

    async def stream(self) -> None:
        await self.head(content_type="text/event-stream; charset=utf-8")

    async def event(self, value: object) -> None:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        await self.raw(f"data: {text}\n\n".encode())

    async def text(self, text: str, **choice: object) -> None:
        await self.event({"choices": [{"index": 0, "delta": {"content": text}, **choice}]})

    async def raw(self, data: bytes) -> None:
        while data:
            size = next(self._sizes)
            part, data = data[:size], data[size:]
            await self._send(b"%x\r\n%b\r\n" % (len(part), part) if self.chunked else part)

    async def end(self) -> None:
        if self.chunked:
            await self._send(b"0\r\n\r\n")
        else:
            self.keep = False

    async def hang(self) -> None:
        """Do nothing until whoever asked has left."""
        await self.reader.read()
        raise GoneError

    def cut(self) -> None:
        """End in the middle."""
        self.keep = False

    def reset(self) -> None:
        """End in the middle, with a RST."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        self.keep = False

    async def _send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(0)  # so that each part is read alone, mostly


Behaviour = Callable[[Exchange], Awaitable[None]]


class Stub:
    """Answers each request by the next of its behaviours, and all further ones by the last."""

    def __init__(self, *behaviours: Behaviour) -> None:
        self.behaviours = list(behaviours)
        self.requests: list[Request] = []
        self.left = asyncio.Event()
        """Set when somebody leaves while we have more to say."""
        self.asked = asyncio.Event()
        """Set by the first request."""
        self.open = self.most_open = 0
        """Requests being answered, now and at most."""
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/v1"

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["Stub"]:
        tasks = set[asyncio.Task[None]]()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                await self._connection(reader, writer)
            except (GoneError, ConnectionError):
                self.left.set()
            except asyncio.CancelledError:
                pass  # at our own end
            finally:
                tasks.discard(task)
                writer.close()

        server = await asyncio.start_server(connected, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.wait_closed()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        keep = True
        while keep and (request := await _read(reader)) is not None:
            self.requests.append(request)
            self.asked.set()
            behaviour = self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]
            exchange = Exchange(request, reader, writer)
            self.open += 1
            self.most_open = max(self.most_open, self.open)
            try:
                await behaviour(exchange)
            finally:
                self.open -= 1
            keep = exchange.keep


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    method, path, _ = first.split(" ")
    return Request(method, path, headers, json.loads(body) if body else {})


def answers(
    *parts: str,
    finish: str | None = "stop",
    usage: dict[str, Any] | None = None,
    done: bool = True,
    chunked: bool = True,
    sizes: Sequence[int] = (),
    pause_s: float = 0,
) -> Behaviour:
    """Return what answers well, or nearly."""

    async def answer(to: Exchange) -> None:
        to.chunked, to.sizes = chunked, sizes
        to.__post_init__()
        await to.stream()
        await to.event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        for part in parts:
            await asyncio.sleep(pause_s)
            await to.text(part)
        if finish is not None:
            await to.text("", finish_reason=finish)
        if usage is not None:
            await to.event({"choices": [], "usage": usage})
        if done:
            await to.event("[DONE]")
        await to.end()

    return answer


def refuses(status: int, body: object = None, **headers: str) -> Behaviour:
    """Return what answers with a status, and a body of JSON or of text."""
    text = body if isinstance(body, str) else json.dumps({"error": body})

    async def refuse(to: Exchange) -> None:
        await to.head(status, content_length=str(len(text.encode())), content_type="application/json", **headers)
        to.writer.write(text.encode())
        await to.writer.drain()

    return refuse


def lists(*models: str) -> Behaviour:
    """Return what has models."""
    return refuses(200, json.dumps({"object": "list", "data": [{"id": name, "object": "model"} for name in models]}))


async def hang(to: Exchange) -> None:
    await to.hang()


async def cut(to: Exchange) -> None:
    to.cut()


async def reset(to: Exchange) -> None:
    to.reset()
