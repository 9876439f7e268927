"""A tenant that is damaged."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from memsvc.store.redis.store import RedisOptions, RedisStore
from memsvc.store.redis.url import parse
from tests.conformance.stores import payload, write


@asynccontextmanager
async def opened(server) -> AsyncIterator[RedisStore]:
    store = await RedisStore.open(parse(server.url), RedisOptions(shards=1))
    try:
        yield store
    finally:
        await store.close()


async def test_it_can_be_deleted_and_keeps_no_other_from_it(server, connection) -> None:
    async with opened(server) as store:
        damaged = await store.create_tenant("damaged", b"", b"", "")
        other = await store.create_tenant("other", b"", b"", "")
        for tenant in (damaged, other):
            await write(store, tenant.uid, payload("a"), payload("b"))
        log = store._lease(damaged.uid).keys.tenant(damaged.uid).log
        ids = [id for id, _ in await connection.xrange(log)]
        await connection.delete(log)
        for id in ids:
            await connection.xadd(log, {b"r": b"damaged"}, id)
        for tenant in (damaged, other):
            await store.delete_tenant(tenant.uid, f"delete {tenant.tenant}")
        left = [key for key in await connection.keys() if damaged.uid.encode() in key or other.uid.encode() in key]
        assert not left
