"""A connection that is kept for scripts, for a shard's log: each commit is one call, and a call must cost little.

redis-py's own way takes a connection from its pool for each call, puts it back, packs arguments in Python, and starts a
task to send them. That is most of what a call costs this process: 85 us where it is 25 (a commit of two records, CPU).
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import hiredis
from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError
from redis.exceptions import TimeoutError as NoAnswerError

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
        self._answer_s: float | None = None

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
                # One time for all of a call in place of one for each part.
                self._answer_s, self._kept.socket_timeout = self._kept.socket_timeout, None
            command = ("EVALSHA", called.sha, len(keys), *keys, *arguments)
            try:
                return await self._ask(command)
            except NoScriptError:
                await self._ask(("SCRIPT", "LOAD", called.script))
                return await self._ask(command)

    async def aclose(self) -> None:
        """Disconnect."""
        await self._connection.aclose()  # and the one that is kept

    async def _ask(self, command: tuple[Any, ...]) -> Any:
        # Whatever goes wrong in the middle, redis-py closes the connection: no answer is taken for another's.
        try:
            async with asyncio.timeout(self._answer_s):
                if not self._kept.is_connected:
                    await self._kept.connect()  # it would do so by itself, but not ask the sentinels where to
                await self._kept.send_packed_command(hiredis.pack_command(command))
                return await self._kept.read_response()
        except TimeoutError as error:
            raise NoAnswerError(f"no answer within {self._answer_s} s") from error
