"""The connection that is kept for a shard's commits: it comes back by itself, and no answer is taken for another's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace

import pytest
from redis.exceptions import ConnectionError, TimeoutError  # Redis's own

from memsvc.store.redis import url
from memsvc.store.redis.url import connect, parse
from memsvc.store.redis.wire import Wire
from tests.redis_server import RedisCluster, RedisServer, RedisUser, Sentinel
from tests.store.redis.proxy import Proxy

KEYS = ("{s}epoch", "{s}commit")


async def commit(wire: Wire, number: int) -> bytes:
    """Commit nothing, as one of a row."""
    arguments = (5, f"{number}", f"{number - 1}", b"\x92\x90\x90")
    answer: bytes = await wire.call("commit", KEYS, arguments)
    return answer


@pytest.fixture
async def wire(server, connection) -> AsyncIterator[Wire]:
    await connection.mset({KEYS[0]: "5", KEYS[1]: "0"})
    wire = Wire(connect(parse(server.url), "log"))
    yield wire
    await wire.aclose()


async def test_a_script_that_redis_forgot_is_loaded_again(wire, connection) -> None:
    assert await commit(wire, 1) == b"OK"
    await connection.script_flush()
    assert await commit(wire, 2) == b"OK"


async def test_it_connects_again_after_the_server_was_gone(wire, server, connection) -> None:
    assert await commit(wire, 1) == b"OK"
    server.kill()
    with pytest.raises(ConnectionError):
        await commit(wire, 2)
    server.start()
    assert await commit(wire, 2) == b"OK"


async def test_calls_take_turns(wire, connection) -> None:
    answers = await asyncio.gather(*(commit(wire, number) for number in range(1, 20)))
    assert set(answers) == {b"OK"}
    assert await connection.get(KEYS[1]) == b"19"


async def test_a_caller_who_leaves_takes_no_answer_from_the_next(server, connection) -> None:
    await connection.mset({KEYS[0]: "5", KEYS[1]: "0"})
    async with Proxy(server.port) as proxy:
        wire = Wire(connect(parse(proxy.url), "log"))
        assert await commit(wire, 1) == b"OK"
        for number in range(2, 8):
            sent = asyncio.Event()

            async def tell(sent: asyncio.Event = sent) -> None:
                sent.set()

            proxy.before(b"EVALSHA", tell)
            gone = asyncio.create_task(commit(wire, number))
            await sent.wait()
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone
            assert await wire.call("commit", KEYS, (4, "x", "y", b"\x92\x90\x90")) == b"FENCED"
            await connection.set(KEYS[1], f"{number}")
        await wire.aclose()


async def test_a_server_that_is_frozen_is_not_waited_for(server, connection, monkeypatch) -> None:
    await connection.mset({KEYS[0]: "5", KEYS[1]: "0"})
    monkeypatch.setitem(url._MANNERS, "log", replace(url._MANNERS["log"], timeout_s=0.2))
    wire = Wire(connect(parse(server.url), "log"))
    assert await commit(wire, 1) == b"OK"
    server.pause()
    for _ in range(2):  # on the connection that is kept, and on a new one
        with pytest.raises(TimeoutError):
            await commit(wire, 2)
    server.resume()
    assert await commit(wire, 2) in {b"OK", b"DONE"}  # it was sent, and Redis may see that before it sees us gone
    await wire.aclose()


@pytest.mark.parametrize("kind", [RedisCluster, RedisUser])
async def test_it_reaches_every_kind_of_redis(tmp_path, kind: type[RedisServer]) -> None:
    with kind(tmp_path / "redis") as server:
        await reached(server.url, server.url)


async def test_it_reaches_a_primary_that_sentinels_name(server, tmp_path) -> None:
    with Sentinel(server, tmp_path / "sentinel") as sentinel:
        await reached(sentinel.url, server.url)


async def reached(at: str, server: str) -> None:
    redis = connect(parse(server), "bulk")
    for key, value in zip(KEYS, ("5", "0"), strict=True):
        await redis.set(key, value)
    wire = Wire(connect(parse(at), "log"))
    assert await commit(wire, 1) == b"OK"
    await wire.aclose()
    await redis.aclose()
