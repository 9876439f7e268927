"""Both clients behind one blocking interface, and a server for them."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fake_server import FakeServer
from memsvc_client import AsyncMemoryClient, MemoryClient, RetryPolicy

FAST = RetryPolicy(attempts=4, first=0.001, most=0.004)


class _Steps:
    """An asynchronous iterator, one step at a time."""

    def __init__(self, runner: asyncio.Runner, steps: Any) -> None:
        self._runner, self._steps = runner, steps

    def __iter__(self) -> "_Steps":
        return self

    def __next__(self) -> Any:
        async def step() -> Any:
            return await anext(self._steps)

        try:
            return self._runner.run(step())
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        async def close() -> None:
            await self._steps.aclose()

        self._runner.run(close())


class Blocking:
    """The asyncio client, called as the blocking one is."""

    def __init__(self, target: str, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncMemoryClient(target, **options)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            if not inspect.isawaitable(result):
                return _Steps(self._runner, result)

            async def wait() -> Any:
                return await result

            return self._runner.run(wait())

        return call

    def __repr__(self) -> str:
        return repr(self._client)

    def close(self) -> None:
        async def close() -> None:
            await self._client.close()

        self._runner.run(close())
        self._runner.close()


@pytest.fixture(params=[MemoryClient, Blocking], ids=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Make clients of either kind."""
    clients = []

    def make(target: str, **options: Any) -> Any:
        clients.append(request.param(target, **{"timeout": 20.0, "retry": FAST, **options}))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    """A server with one tenant, `ada`."""
    server = FakeServer(tenants={"ada": {}})
    server.target = server.start()
    yield server
    server.stop()


@pytest.fixture
def client(connect: Callable[..., Any], fake: FakeServer) -> Any:
    """A client of either kind, connected to the fake."""
    return connect(fake.target)
