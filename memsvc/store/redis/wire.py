"""A connection that is kept for scripts, for a shard's log: each commit is one call, and a call must cost little.

redis-py's own way takes a connection from its pool for each call, puts it back, and packs arguments in Python. That is
more than half of what a call costs this process: 75 us where it is 30 (a commit of two records, CPU time).
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import hiredis
from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError

from memsvc.store.redis.scripts import script
from memsvc.store.redis.url import Connection

Argument = bytes | str | int


class Wire:
    """Calls scripts, one after the other. Nothing is sent twice.

    Args:
        connection: for the log; nobody else uses it. A cluster's is asked for each call, for it knows where slots move.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pool: Any = connection.connection_pool if isinstance(connection, Redis) else None  # Any: it has no types
        self._scripts: dict[str, AsyncScript] = {}
        self._turn = asyncio.Lock()
        self._kept: Any = None

    async def call(self, name: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """Call a script of ours and return its answer.

        Raises:
            RedisError: Redis refused, or did not answer: then it may have been done.
        """
        if (called := self._scripts.get(name)) is None:
            called = self._scripts[name] = script(self._connection, name)
        if self._pool is None:
            return await called(keys, arguments)
        async with self._turn:
            if self._kept is None:
                self._kept = await self._pool.get_connection()
            command = ("EVALSHA", called.sha, len(keys), *keys, *arguments)
            try:
                return await _ask(self._kept, command)
            except NoScriptError:
                await _ask(self._kept, ("SCRIPT", "LOAD", called.script))
                return await _ask(self._kept, command)

    async def aclose(self) -> None:
        """Disconnect."""
        await self._connection.aclose()  # the one that is kept too


async def _ask(kept: Any, command: tuple[Any, ...]) -> Any:
    if not kept.is_connected:
        await kept.connect()  # it would do so by itself, but not ask the sentinels where to
    await kept.send_packed_command(hiredis.pack_command(command))
    return await kept.read_response()
