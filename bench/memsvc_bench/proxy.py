"""A proxy that does to the connections between memsvc and Redis what networks and dying machines do.

    pass         nothing
    delay        every piece of data arrives late, both ways
    reset        connections are reset, and so is each new one
    black-hole   nothing arrives any more, either way, and nobody is told; what was sent arrives when it is over
    half-open    Redis's end of every connection is gone and memsvc's is not told; new connections pass
    drop-reply   commands arrive and take effect, their replies are lost; then the connection is reset, or stays silent

On an event loop it is an object, `FaultProxy`. As a process of its own, `python -m memsvc_bench.proxy HOST:PORT`, it
says where it listens, then takes a fault as one JSON object a line and answers each with its counts; it ends with its
standard input. `ProxyProcess` speaks that.
"""

import asyncio
import json
import random
import socket
import struct
import subprocess
import sys
from asyncio import StreamReader, StreamWriter
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from types import TracebackType
from typing import Self

READ_BYTES = 1 << 16
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no time: closing sends a reset, not an end."""


class Kind(StrEnum):
    """What is wrong."""

    PASS = "pass"  # noqa: S105 - no password
    DELAY = "delay"
    RESET = "reset"
    BLACK_HOLE = "black-hole"
    HALF_OPEN = "half-open"
    DROP_REPLY = "drop-reply"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFault:
    """One way in which a proxy misbehaves."""

    kind: Kind = Kind.PASS
    delay_ms: int = 0
    """How late everything is, of a delay."""
    hang: bool = False
    """Whether a connection whose reply was lost stays, silent, until the next fault; otherwise it is reset."""
    containing: str = ""
    """Only replies to commands with this text are lost."""
    times: int | None = None
    """So many replies are lost, then all passes; None for every one."""


def random_fault(rng: random.Random) -> NetworkFault:
    """Draw a fault that is one."""
    kind = rng.choice([kind for kind in Kind if kind is not Kind.PASS])
    return NetworkFault(kind=kind, delay_ms=rng.randint(1, 300), hang=rng.random() < 0.5)


class _Pair:
    """One connection and its way on. A silent one swallows what it is sent."""

    def __init__(self, client: StreamWriter, upstream: StreamWriter) -> None:
        self.client, self.upstream = client, upstream
        self.silent = False
        self.awaited = False
        """Whether a command was sent on whose reply may be lost."""


class FaultProxy:
    """Forwards connections to one address, as faithfully as it is told to. Lives on one event loop.

    Args:
        host: where Redis is.
        port: likewise.

    Attributes:
        counts: what was done, by kind of fault: pieces delayed or held, connections reset or cut, replies lost.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._fault = NetworkFault()
        self._left: int | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._pairs: set[_Pair] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.counts: Counter[str] = Counter()

    async def start(self) -> int:
        """Listen on a free port of the loopback address and return it."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Reset every connection and listen no more."""
        if self._server is not None:
            self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def set(self, fault: NetworkFault) -> None:
        """Misbehave in this way from now on. Connections that an earlier fault left silent are reset."""
        self._fault, self._left = fault, fault.times
        for pair in list(self._pairs):
            if fault.kind is Kind.RESET or pair.silent:
                self._count(fault.kind is Kind.RESET)
                _reset(pair.client, pair.upstream)
            elif fault.kind is Kind.HALF_OPEN:
                self._count()
                pair.silent = True
                _reset(pair.upstream)
        if fault.kind is Kind.BLACK_HOLE:
            self._flowing.clear()
        else:
            self._flowing.set()

    def _count(self, really: bool = True) -> None:
        self.counts[self._fault.kind] += really

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self._fault.kind is Kind.RESET:
            self._count()
            _reset(writer)
            return
        try:
            await self._flowing.wait()
            up_reader, up_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            _reset(writer)
            return
        except asyncio.CancelledError:
            _reset(writer)
            raise
        pair = _Pair(writer, up_writer)
        self._pairs.add(pair)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._commands(pair, reader))
                tasks.create_task(self._replies(pair, up_reader))
        finally:
            self._pairs.discard(pair)
            _reset(writer, up_writer)

    async def _commands(self, pair: _Pair, reader: StreamReader) -> None:
        with suppress(OSError):
            while data := await reader.read(READ_BYTES):
                await self._late()
                pair.awaited |= self._fault.containing.encode() in data
                if not pair.silent:
                    pair.upstream.write(data)
                    await pair.upstream.drain()
        _reset(pair.client, pair.upstream)

    async def _replies(self, pair: _Pair, reader: StreamReader) -> None:
        with suppress(OSError):
            while data := await reader.read(READ_BYTES):
                await self._late()
                if self._fault.kind is Kind.DROP_REPLY and pair.awaited and self._left != 0:
                    self._count()
                    self._left = None if self._left is None else self._left - 1
                    if not self._fault.hang:
                        _reset(pair.client, pair.upstream)
                    pair.silent = True
                pair.awaited = False
                if not pair.silent:
                    pair.client.write(data)
                    await pair.client.drain()
        if not pair.silent:
            _reset(pair.client, pair.upstream)

    async def _late(self) -> None:
        """Return when what was read may go on."""
        if self._fault.kind is Kind.DELAY:
            self._count()
            await asyncio.sleep(self._fault.delay_ms / 1000)
        if not self._flowing.is_set():
            self._count()
            await self._flowing.wait()


def _reset(*writers: StreamWriter) -> None:
    """End connections with a reset, and whoever reads from them here."""
    for writer in writers:
        if (found := writer.get_extra_info("socket")) is not None:
            with suppress(OSError):  # it is closed already
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()


class ProxyProcess:
    """A proxy in a process of its own. As a context manager it is started, and ended on the way out.

    Args:
        upstream: `host:port` of Redis.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._process: subprocess.Popen[str]
        self.address = ""
        """Where it listens, `host:port`."""

    def start(self) -> None:
        """Start it; returns once it listens."""
        command = [sys.executable, "-m", "memsvc_bench.proxy", self._upstream]
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.address = self._line()

    def set(self, fault: NetworkFault) -> Counter[str]:
        """Misbehave in this way from now on; return what was done so far, by kind of fault."""
        if self._process.stdin is None:
            raise RuntimeError("the proxy was not started")
        self._process.stdin.write(json.dumps(asdict(fault)) + "\n")
        self._process.stdin.flush()
        return Counter(json.loads(self._line()))

    def close(self) -> None:
        """End it."""
        self._process.communicate()

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.close()

    def _line(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError("the proxy ended")
        return line.strip()


async def _main(upstream: str) -> None:
    host, _, port = upstream.rpartition(":")
    proxy = FaultProxy(host, int(port))
    print(f"127.0.0.1:{await proxy.start()}", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        fields = json.loads(line)
        proxy.set(NetworkFault(**{**fields, "kind": Kind(fields["kind"])}))
        print(json.dumps(proxy.counts), flush=True)
    await proxy.close()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
