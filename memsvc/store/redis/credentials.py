"""The table of credentials in Redis: no shard's, so any process changes it, and whoever reaches the Redis."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

from memsvc.store import refusals
from memsvc.store.credentials import CredentialTable
from memsvc.store.redis.faults import TROUBLE, translate
from memsvc.store.redis.keys import Keys
from memsvc.store.redis.scripts import script
from memsvc.store.redis.url import Address, Connection, connect

VERSION = b"version"


class RedisCredentials:
    """Implements `memsvc.store.credentials.Credentials`.

    Args:
        reads: what asks.
        log: what changes; it repeats nothing by itself.
        keys: of the deployment.
    """

    def __init__(self, reads: Connection, log: Connection, keys: Keys) -> None:
        self._reads, self._key = reads, keys.credentials
        self._change = script(log, "credentials")

    async def credentials(self) -> CredentialTable:
        """See `Credentials.credentials`."""
        try:
            found: Any = await self._reads.hgetall(self._key)
        except TROUBLE as error:
            raise translate(error) from error
        version = int(found.pop(VERSION, 0))
        return CredentialTable(version, {id.decode(): body for id, body in found.items()})

    async def credentials_version(self) -> int:
        """See `Credentials.credentials_version`."""
        try:
            found: Any = await self._reads.hget(self._key, VERSION.decode())
        except TROUBLE as error:
            raise translate(error) from error
        return int(found or 0)

    async def change_credentials(self, version: int, put: Mapping[str, bytes], drop: Collection[str] = ()) -> int:
        """See `Credentials.change_credentials`."""
        pairs = [value for pair in put.items() for value in pair]
        try:
            made = int(await self._change([self._key], [version, len(put), *pairs, *drop]))
        except TROUBLE as error:
            raise translate(error) from error
        if made < 0:
            raise refusals.credentials_changed()
        return made


@asynccontextmanager
async def credentials_at(address: Address) -> AsyncIterator[RedisCredentials]:
    """Open a deployment's credentials alone: no shard is taken, and no server need run."""
    reads, log = connect(address, "reads"), connect(address, "log")
    try:
        yield RedisCredentials(reads, log, Keys(address.prefix))
    finally:
        await reads.aclose()
        await log.aclose()
