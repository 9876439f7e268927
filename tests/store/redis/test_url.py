"""Connections: every way to reach a Redis, what is sent again and what is not, and what does not serve."""

import asyncio

import pytest
from redis.exceptions import AuthenticationError, ConnectionError, RedisError, TimeoutError

from memsvc.store.redis.url import connect, parse
from tests.redis_server import LOOPBACK, RedisCluster, RedisServer, RedisTls, RedisUser, Sentinel, free_port
from tests.store.redis.proxy import Proxy


async def serves(url: str, purpose="log") -> bool:
    """Whether a value that is written can be read."""
    connection = connect(parse(url), purpose)
    try:
        await connection.set("{1}:key", b"\xff\x00")
        return await connection.get("{1}:key") == b"\xff\x00"
    finally:
        await connection.aclose()


@pytest.mark.parametrize("purpose", ["log", "reads", "bulk"])
async def test_a_server_is_reached(server, purpose) -> None:
    assert await serves(server.url, purpose)
    assert await serves(f"{server.url}/1", purpose)


async def test_databases_are_apart(server) -> None:
    assert await serves(f"{server.url}/1")
    connection = connect(parse(server.url), "reads")
    assert await connection.get("{1}:key") is None
    await connection.aclose()


async def test_a_unix_socket_is_reached(tmp_path) -> None:
    with RedisServer(tmp_path / "redis", unixsocket=tmp_path / "socket"):
        assert await serves(f"unix://{tmp_path / 'socket'}?db=1")


async def test_a_cluster_is_reached(tmp_path) -> None:
    with RedisCluster(tmp_path / "redis") as server:
        assert await serves(server.url)


async def test_the_primary_is_found_through_sentinels(server, tmp_path) -> None:
    with Sentinel(server, tmp_path / "sentinel") as sentinel:
        dead = f"{LOOPBACK}:{free_port()}"
        assert await serves(sentinel.url)
        assert await serves(sentinel.url.replace("://", f"://{dead},"), "reads")


async def test_a_user_is_let_in_by_password_or_by_its_file(tmp_path) -> None:
    with RedisUser(tmp_path / "redis") as server:
        assert await serves(server.url)
        (tmp_path / "secret").write_text(server.PASSWORD)
        plain = f"redis://{LOOPBACK}:{server.port}"
        assert await serves(f"{plain}?username={server.NAME}&password_file={tmp_path / 'secret'}")
        for wrong in (plain, f"redis://{server.NAME}:hunter2@{LOOPBACK}:{server.port}"):
            with pytest.raises((AuthenticationError, RedisError)) as caught:
                await serves(wrong)
            assert "hunter2" not in str(caught.value)


async def test_tls_holds_with_the_right_authority_alone(tmp_path) -> None:
    with RedisTls(tmp_path / "redis") as server:
        assert await serves(server.url)
        made = server.certificates
        assert await serves(f"{server.url}&certfile={made / 'server.crt'}&keyfile={made / 'server.key'}")
        with pytest.raises(ConnectionError, match="certificate verify failed"):
            await serves(server.url.partition("?")[0])
        with pytest.raises(ConnectionError, match="certificate is not valid for 'localhost'"):
            await serves(server.url.replace(LOOPBACK, "localhost"))


@pytest.fixture
async def log(server):
    connection = connect(parse(server.url), "log")
    await connection.ping()
    yield connection
    await connection.aclose()


async def test_what_is_written_is_sent_once(server) -> None:
    async with Proxy(server.port) as proxy:
        for purpose, times in (("log", 1), ("bulk", 1), ("reads", 4)):
            connection = connect(parse(proxy.url), purpose)
            await connection.ping()
            proxy.lose = b"INCR"
            with pytest.raises((ConnectionError, TimeoutError)):
                await connection.incr(purpose)
            proxy.lose = None
            assert int(await connection.get(purpose)) == times, "a read may be sent again, nothing else"
            await connection.aclose()


async def test_the_log_has_one_connection_that_its_users_share(server, log) -> None:
    await asyncio.gather(*(log.incr("count") for _ in range(50)))
    assert await log.get("count") == b"50"
    clients = [client for client in await log.client_list() if client["cmd"] != "sentinel"]
    assert len(clients) == 1


async def test_a_connection_that_the_server_closed_is_made_anew(server, log) -> None:
    server.kill()
    with pytest.raises(ConnectionError):
        await log.ping()
    server.start()
    assert await log.ping()
