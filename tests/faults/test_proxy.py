"""The fault proxy: what arrives, what comes back, and what its counts say."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from memsvc_bench.proxy import FaultProxy, Kind, NetworkFault, ProxyProcess, random_fault

SILENCE_S = 0.1


class Upstream:
    """Takes lines, remembers them, and answers each with itself."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.arrived = asyncio.Condition()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                async with self.arrived:
                    self.lines.append(line.decode().strip())
                    self.arrived.notify_all()
                writer.write(line)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def has(self, *lines: str) -> None:
        async with self.arrived:
            await self.arrived.wait_for(lambda: self.lines == list(lines))


class Client:
    """A connection through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, line: str) -> None:
        self._writer.write(f"{line}\n".encode())

    async def answer(self) -> str:
        """Return the next answer, or `reset`."""
        try:
            return (await self._reader.readline()).decode().strip() or "end"
        except ConnectionResetError:
            return "reset"

    async def ask(self, line: str) -> str:
        self.send(line)
        return await self.answer()

    async def hears_nothing(self) -> bool:
        """Whether nothing comes for a moment."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SILENCE_S):
                await self.answer()
                return False
        return True


class Setup:
    """An upstream, a proxy before it, and clients."""

    def __init__(self) -> None:
        self.upstream = Upstream()
        self.proxy: FaultProxy
        self.port = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return Client(reader, writer)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Setup"]:
        server = await asyncio.start_server(self.upstream.serve, "127.0.0.1", 0)
        self.proxy = FaultProxy("127.0.0.1", server.sockets[0].getsockname()[1])
        self.port = await self.proxy.start()
        yield self
        await self.proxy.close()
        for writer in self.writers:
            writer.close()
        server.close()


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    async with Setup().running() as setup:
        yield setup


async def test_it_passes(setup) -> None:
    one, other = await setup.connect(), await setup.connect()
    assert [await one.ask("a"), await other.ask("b"), await one.ask("c")] == ["a", "b", "c"]
    assert not setup.proxy.counts.total()


async def test_what_is_late_arrives_in_order(setup) -> None:
    client = await setup.connect()
    setup.proxy.set(NetworkFault(kind=Kind.DELAY, delay_ms=20))
    for line in "abc":
        client.send(line)
    assert [await client.answer() for _ in range(3)] == ["a", "b", "c"]
    assert setup.proxy.counts["delay"] >= 2, "there and back"


async def test_it_resets_what_is_open_and_what_comes(setup) -> None:
    client = await setup.connect()
    assert await client.ask("a") == "a"
    setup.proxy.set(NetworkFault(kind=Kind.RESET))
    assert await client.answer() == "reset"
    assert await (await setup.connect()).answer() == "reset"
    assert setup.proxy.counts["reset"] == 2
    setup.proxy.set(NetworkFault())
    assert await (await setup.connect()).ask("b") == "b"


async def test_out_of_a_black_hole_all_arrives_in_the_end(setup) -> None:
    client = await setup.connect()
    setup.proxy.set(NetworkFault(kind=Kind.BLACK_HOLE))
    late = await setup.connect()
    client.send("a")
    late.send("b")
    assert await client.hears_nothing()
    assert await late.hears_nothing()
    assert setup.upstream.lines == []
    setup.proxy.set(NetworkFault())
    assert [await client.answer(), await late.answer()] == ["a", "b"]
    assert setup.proxy.counts["black-hole"] == 1


async def test_a_half_open_connection_swallows_what_it_is_sent(setup) -> None:
    client = await setup.connect()
    assert await client.ask("a") == "a"
    setup.proxy.set(NetworkFault(kind=Kind.HALF_OPEN))
    client.send("b")
    assert await client.hears_nothing()
    assert await (await setup.connect()).ask("c") == "c"
    assert setup.upstream.lines == ["a", "c"]
    setup.proxy.set(NetworkFault())
    assert await client.answer() == "reset", "at last it is told"


@pytest.mark.parametrize("hang", [False, True])
async def test_a_command_arrives_and_its_reply_is_lost(setup, hang) -> None:
    client = await setup.connect()
    setup.proxy.set(NetworkFault(kind=Kind.DROP_REPLY, hang=hang, containing="append", times=1))
    assert await client.ask("read 1") == "read 1"
    client.send("append 2")
    assert await (client.hears_nothing() if hang else client.answer()) in (True, "reset")
    await setup.upstream.has("read 1", "append 2")
    assert setup.proxy.counts["drop-reply"] == 1
    other = await setup.connect()
    assert await other.ask("append 3") == "append 3", "one only"
    if hang:
        client.send("read 4")
        assert await client.hears_nothing()
        setup.proxy.set(NetworkFault())
        assert await client.answer() == "reset"


async def test_a_connection_that_cannot_go_on_is_reset(setup) -> None:
    async with Setup().running() as other:
        port = other.proxy._port
    setup.proxy._port = port
    assert await (await setup.connect()).answer() == "reset"


def test_a_seed_draws_the_same_faults_again() -> None:
    def drawn(seed: int) -> list[NetworkFault]:
        rng = random.Random(seed)
        return [random_fault(rng) for _ in range(50)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert {fault.kind for fault in drawn(1)} == set(Kind) - {Kind.PASS}


async def test_as_a_process_it_takes_faults_by_the_line() -> None:
    setup = Setup()
    async with setup.running():
        with ProxyProcess(f"127.0.0.1:{setup.port}") as process:
            setup.port = int(process.address.rpartition(":")[2])
            client = await setup.connect()
            assert await client.ask("a") == "a"
            assert process.set(NetworkFault(kind=Kind.RESET)) == {"reset": 1}
            assert await client.answer() == "reset"
            assert process.set(NetworkFault()) == {"reset": 1}
            assert await (await setup.connect()).ask("b") == "b"
