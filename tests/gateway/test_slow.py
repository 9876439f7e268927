"""Clients that are slow, large or odd: each has its share, and no more. The gateway runs here, its service nowhere."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from memsvc.errors import UnavailableError
from memsvc.gateway import bodies, connection, gateway
from memsvc.gateway.gateway import Gateway, GatewayConfig
from memsvc.gateway.owners import Owners

HEAD = b"POST /v1/tenants/t/recall HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
LARGE = 8 << 20
PATIENCE_S = 20


async def anybody(_: object) -> bool:
    return True


@asynccontextmanager
async def connection_to(host: str, port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 16)
    try:
        yield reader, writer
    finally:
        writer.close()


def gateway_on(port: int) -> Gateway:
    """Return a gateway whose service is nowhere."""
    config = GatewayConfig(host="127.0.0.1", port=port)
    return Gateway(config, "unix:/nowhere/at/all", anybody, Owners(None, plaintext=False))


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Hold a connection to a gateway, whose service is nowhere."""
    async with gateway_on(0) as served:
        host, _, port = served.url.removeprefix("http://").partition(":")
        async with asyncio.timeout(PATIENCE_S):
            async with connection_to(host, int(port)) as streams:
                yield streams


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the connection ends, however it does."""
    found = b""
    try:
        while part := await reader.read(1 << 16):
            found += part
    except ConnectionResetError:
        pass
    return found


@pytest.mark.parametrize("sent", [b"", b"GET /v1/ten", HEAD])
async def test_a_head_that_does_not_come_ends_the_connection(monkeypatch, sent) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.2)
    async with connected() as (reader, writer):
        writer.write(sent)
        assert await rest(reader) == b""


async def test_so_does_the_second_one_of_a_connection(monkeypatch) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.5)
    async with connected() as (reader, writer):
        writer.write(b"GET /v1/openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
        writer.write(b"GET /v1")
        assert await rest(reader) == b""


async def test_a_body_that_does_not_come_is_answered(monkeypatch) -> None:
    monkeypatch.setattr(bodies, "BODY_S", 0.2)
    async with connected() as (reader, writer):
        writer.write(HEAD + b"content-length: 100\r\n\r\n{")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"BODY_TOO_SLOW" in answer


async def test_a_body_without_a_length_is_counted() -> None:
    async with connected() as (reader, writer):
        writer.write(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        for _ in range(5):
            writer.write(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 413 ")


async def test_bodies_share_what_they_may_take_and_small_ones_always_pass(monkeypatch) -> None:
    monkeypatch.setattr(bodies, "MOST_HELD_BYTES", 250_000)
    async with connected() as (reader, writer):
        host, port = writer.get_extra_info("peername")
        writer.write(HEAD + b"content-length: 300000\r\n\r\n" + b" " * 200_000)  # held, as it is not whole
        for size in (50_000, 200_000):
            async with connection_to(host, port) as (other, sends):
                sends.write(HEAD + b"content-length: %d\r\n\r\n" % size + b"{}".ljust(size))
                answer = await other.readuntil(b"}")
                assert answer.startswith(b"HTTP/1.1 503 ")  # there is no service anyway
                assert (b"TOO_MANY_BODIES" in answer) == (size == 200_000), answer
        writer.write(b" " * 100_000)
        assert b"TOO_MANY_BODIES" not in await reader.readuntil(b"}")


ODD = [
    b"\x00\xff\x16\x03\x01",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /v1/tenants HTTP/1.1\r\n\r\n",
    b"GET /v1/tenants HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n",
    b"GET /v1/tenants HTTP/1.0\r\n\r\n",
    b"GET http://localhost/v1/tenants HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    b"GET /v1/tenants/%zz%ff HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    b"GET /v1/tenants?%ff=%ff HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    b"GET /v1/tenants?" + b"a=b&" * 100 + b" HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    b"GET /v1/tenants HTTP/1.1\r\nhost: localhost\r\nx: " + b"x" * 1_000_000 + b"\r\n\r\n",
    b"GET /v1/tenants/\xc3\xb6 HTTP/1.1\r\nhost: localhost\r\n\r\n",
    HEAD + b"content-length: -1\r\n\r\n",
    HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}\r\n",
    HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
]


@pytest.mark.parametrize("sent", ODD, ids=range(len(ODD)))
async def test_what_is_no_request_is_refused_and_nothing_breaks(caplog, sent) -> None:
    async with connected() as (reader, writer):
        writer.write(sent)
        assert (answer := await rest(reader)).startswith(b"HTTP/1.1 4") or not answer  # cut off before it was read
        host, port = writer.get_extra_info("peername")
        async with connection_to(host, port) as (again, sends):
            sends.write(b"GET /v1/openapi.json HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            assert (await rest(again)).startswith(b"HTTP/1.1 200")
    assert not [record for record in caplog.records if record.exc_info]


async def at_once(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(bytes(LARGE))(scope, receive, send)


async def in_parts(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(LARGE >> 16):
        await send({"type": "http.response.body", "body": bytes(1 << 16), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


class Unpaused(connection.BoundedConnection):
    """Whose answers are always sent as far as the server can tell, as small ones are."""

    def connection_made(self, transport) -> None:
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=2 * LARGE)


@pytest.mark.parametrize("kind", [connection.BoundedConnection, Unpaused])
@pytest.mark.parametrize("app", [at_once, in_parts])
async def test_an_answer_that_nobody_reads_ends_the_connection(monkeypatch, app, kind) -> None:
    monkeypatch.setattr(gateway, "BoundedConnection", kind)
    monkeypatch.setattr(connection, "STALL_S", 0.2)
    monkeypatch.setattr(gateway, "make_app", lambda *_, **__: app)
    async with connected() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(1)  # the reader is full, and takes no more
        assert len(await rest(reader)) < LARGE


async def test_a_service_that_is_not_there_is_said_to_be() -> None:
    async with connected() as (reader, writer):
        writer.write(HEAD + b"content-length: 2\r\n\r\n{}")
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 503 ")


async def test_a_port_that_is_taken_is_named() -> None:
    async with gateway_on(0) as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(UnavailableError, match=f"http_port {port}"):
            gateway_on(port)
    gateway_on(port).close()


async def test_one_that_cannot_begin_to_serve_lets_its_port_go(monkeypatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no application")

    monkeypatch.setattr(gateway, "make_app", broken)
    begun = gateway_on(0)
    port = int(begun.url.rpartition(":")[2])
    with pytest.raises(RuntimeError, match="no application"):
        await begun.__aenter__()
    gateway_on(port).close()
