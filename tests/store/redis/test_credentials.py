"""Credentials in a Redis that several processes share."""

import asyncio

import pytest

from memsvc.auth.grants import Grant, Right
from memsvc.auth.keyring import KeyRing
from memsvc.errors import UnauthenticatedError, UnavailableError
from memsvc.store.redis.credentials import credentials_at
from memsvc.store.redis.url import parse
from tests.redis_server import RedisCluster
from tests.store.redis.owners import owner, until

GRANTS = (Grant("*", frozenset(Right)),)


def stands(principal) -> bool:
    try:
        principal.check_standing()
    except UnauthenticatedError:
        return False
    return True


async def test_two_processes_see_each_others_revocations(server) -> None:
    async with owner(server.url, "a:1") as one, owner(server.url, "b:1") as two:
        rings = [KeyRing(each.store) for each in (one, two)]
        for ring in rings:
            await ring.refresh()
        following = [asyncio.create_task(ring.follow()) for ring in rings]
        try:
            key, token = await rings[0].create("test", GRANTS, None)
            await until(lambda: rings[1].get(key.id) is not None)
            principal = rings[1].principal(token)
            assert stands(principal)
            await rings[0].revoke(key.id)
            with pytest.raises(UnauthenticatedError):
                rings[0].principal(token)
            await until(lambda: not stands(principal))
            with pytest.raises(UnauthenticatedError) as caught:
                rings[1].principal(token)
            assert caught.value.reason == "CREDENTIAL_REVOKED"
        finally:
            for task in following:
                task.cancel()


async def test_a_key_is_made_beside_the_servers(server) -> None:
    """As `memsvc keys create --store` does: it takes no shard."""
    async with owner(server.url, "a:1", shards=2) as one:
        ring = KeyRing(one.store)
        await ring.refresh()
        await until(lambda: len(one.owned) == 2)
        async with credentials_at(parse(server.url)) as credentials:
            key, token = await KeyRing(credentials).create("test", GRANTS, None)
        await ring.refresh()
        assert ring.principal(token).name == f"key:{key.id}"
        assert len(one.owned) == 2


async def test_prefixes_are_deployments_of_their_own(server) -> None:
    async with credentials_at(parse(f"{server.url}?prefix=one")) as one:
        await KeyRing(one).create("test", GRANTS, None)
        async with credentials_at(parse(f"{server.url}?prefix=two")) as two:
            assert (await two.credentials()).bodies == {}


async def test_a_redis_that_is_gone_is_said_so(server) -> None:
    async with credentials_at(parse(server.url)) as credentials:
        await credentials.change_credentials(0, {"a": b"one"})
        server.kill()
        for call in (
            credentials.credentials(),
            credentials.credentials_version(),
            credentials.change_credentials(1, {"b": b""}),
        ):
            with pytest.raises(UnavailableError):
                await call
        server.start()
        assert (await credentials.credentials()).bodies == {"a": b"one"}


async def test_a_cluster_keeps_them_too(tmp_path) -> None:
    with RedisCluster(tmp_path / "cluster") as cluster:
        async with credentials_at(parse(cluster.url)) as credentials:
            key, token = await KeyRing(credentials).create("test", GRANTS, None)
            ring = KeyRing(credentials)
            await ring.refresh()
            assert ring.principal(token).name == f"key:{key.id}"
