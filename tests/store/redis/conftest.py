"""A Redis server for each test, and a client of it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from memsvc.store.redis.url import Connection, connect, parse
from tests.redis_server import RedisServer


@pytest.fixture
def server(tmp_path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
async def connection(server) -> AsyncIterator[Connection]:
    connection = connect(parse(server.url), "bulk")
    yield connection
    await connection.aclose()
