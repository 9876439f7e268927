"""The servers behind a connection that take writes: the one, or each primary of a cluster."""

from collections.abc import Awaitable
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode

from memsvc.store.redis.url import Connection


class Node:
    """One server, to be asked about itself.

    Args:
        connection: to the deployment.
        at: which node of a cluster; None for the one server.
    """

    def __init__(self, connection: Connection, at: ClusterNode | None = None) -> None:
        self._connection, self._at = connection, at
        self.name = "" if at is None else str(at.name)
        """HOST:PORT in a cluster; empty for the one server."""

    async def call(self, *command: str) -> Any:
        """Send it a command and return the answer.

        Raises:
            RedisError: it refused, or did not answer.
        """
        execute: Any = self._connection.execute_command
        answer: Awaitable[Any] = execute(*command) if self._at is None else execute(*command, target_nodes=self._at)
        return await answer

    async def info(self, *sections: str) -> dict[str, Any]:
        """Return what it tells of itself, by name; numbers are numbers.

        Raises:
            RedisError: it refused, or did not answer.
        """
        told: dict[str, Any] = {}
        for section in sections:  # one by one: several at once are for Redis 7
            told |= await self.call("INFO", section)
        return told


async def primaries(connection: Connection) -> list[Node]:
    """Return every server that takes writes.

    Raises:
        RedisError: the cluster did not answer.
    """
    if isinstance(connection, Redis):
        return [Node(connection)]
    await connection.initialize()
    return [Node(connection, node) for node in connection.get_primaries()]
