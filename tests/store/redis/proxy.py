"""Between a client and a server: loses the answer to a command, or lets something happen just before one."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tests.redis_server import LOOPBACK


class Proxy:
    """Listens on a loopback port. While `lose` is set, answers to what holds it are lost, and the connection too."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.lose: bytes | None = None
        self.lost = 0
        self._before: dict[bytes, Callable[[], Awaitable[object]]] = {}
        self._serving: set[asyncio.Task[None]] = set()

    def before(self, command: bytes, happens: Callable[[], Awaitable[object]]) -> None:
        """Let something happen, once, before the next command that holds this goes on."""
        self._before[command] = happens

    @property
    def url(self) -> str:
        """For the store."""
        return f"redis://{LOOPBACK}:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._begin, LOOPBACK, 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()
        await asyncio.gather(*self._serving, return_exceptions=True)  # until whoever is connected is gone

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(LOOPBACK, self._to)
        while command := await _read(reader):
            for held in [held for held in self._before if held in command]:
                await self._before.pop(held)()
            up_writer.write(command)
            answer = await _read(up_reader)
            if self.lose is not None and self.lose in command:
                self.lost += 1
                break
            writer.write(answer)
        for each in (writer, up_writer):
            each.close()
        for each in (writer, up_writer):
            with suppress(ConnectionError):  # who left in a hurry is gone already
                await each.wait_closed()


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Read what is there; nothing of a connection that is lost."""
    try:
        return await reader.read(1 << 16)
    except ConnectionError:
        return b""
