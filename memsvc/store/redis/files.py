"""Redis's own files, written anew: what was deleted is in memory no more, but still in the append only file.

A rewrite starts from what Redis holds then. So it counts for what was deleted before it started, and callers share one:
who comes while one runs waits for the next.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from redis.exceptions import RedisError

from memsvc.failpoints import hit
from memsvc.store.redis.faults import TROUBLE
from memsvc.store.redis.nodes import Node, primaries
from memsvc.store.redis.url import Connection
from memsvc.tasks import end

log = logging.getLogger(__name__)

PATIENCE_S = 600.0
"""How long one rewrite may take, the wait for another that is under way included."""
LOOK_S = 0.05


class _Kind(NamedTuple):
    """How one kind of file is written, and the fields of INFO that tell of it."""

    command: str
    started: str
    """Counts those that were started since the server was."""
    under_way: tuple[str, ...]
    status: str


_APPEND_ONLY = _Kind(
    "BGREWRITEAOF", "aof_rewrites", ("aof_rewrite_in_progress", "aof_rewrite_scheduled"), "aof_last_bgrewrite_status"
)
_DUMP = _Kind("BGSAVE", "rdb_saves", ("rdb_bgsave_in_progress",), "rdb_last_bgsave_status")


class Files:
    """Has Redis write its files anew.

    Args:
        connection: to Redis; it repeats nothing by itself.
        patience_s: how long one rewrite may take.
    """

    def __init__(self, connection: Connection, patience_s: float = PATIENCE_S) -> None:
        self._connection, self._patience_s = connection, patience_s
        self._running: asyncio.Task[bool] | None = None
        self._next: asyncio.Task[bool] | None = None

    async def rewrite(self) -> bool:
        """Return once what was deleted before is in no file of Redis's; False where Redis would not, or could not.

        A caller that is cancelled leaves the rewrite to the others. Replicas and copies of the files are out of reach;
        so are files that Redis does not write any more: of an append only file that was switched off, of dumps of
        before the last start.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running))
        return await asyncio.shield(self._next)

    async def close(self) -> None:
        """Wait for nothing any more."""
        await end(self._running, self._next)

    async def _after(self, running: asyncio.Task[bool] | None) -> bool:
        if running is not None:
            await asyncio.wait([running])
        self._running, self._next = self._next, None  # who comes from now on comes too late for this one
        hit("erase.files")
        try:
            async with asyncio.timeout(self._patience_s):
                nodes = await primaries(self._connection)
                return all(await asyncio.gather(*(_rewrite(node) for node in nodes)))
        except (*TROUBLE, OSError) as error:
            log.warning("Redis's files are not written anew: %s", error or "it takes too long")
        except KeyError as error:
            log.warning("whether Redis's files are written anew is not to be known: it does not tell %s", error)
        return False


async def _rewrite(node: Node) -> bool:
    """Have one server write its files anew; return whether it did.

    Raises:
        RedisError: it refused, or did not answer.
    """
    facts = await node.info("persistence", "replication")
    if facts["aof_enabled"] and not await _write(node, _APPEND_ONLY):
        return False
    return not await _has_dump(node, facts) or await _write(node, _DUMP)


async def _has_dump(node: Node, facts: Mapping[str, Any]) -> bool:
    """Whether there may be a dump: one was written since the server started, or will be, or was for a replica."""
    if facts["rdb_saves"] or facts["connected_slaves"]:
        return True
    try:
        settings = await node.call("CONFIG GET", "save")
    except RedisError:  # not for this user: who knows
        return True
    return any(value for value in settings.values())


async def _write(node: Node, kind: _Kind) -> bool:
    """Have a server write a file, from a start that is after this call; return whether it did."""
    before = await _idle(node, kind)
    while not await _is_accepted(node, kind):
        before = await _idle(node, kind)
    after = await _idle(node, kind)
    if after["run_id"] != before["run_id"]:
        log.warning("%s: the server was started anew meanwhile", kind.command)
        return False
    if after[kind.status] != "ok" or after[kind.started] <= before[kind.started]:
        log.warning("%s failed; Redis's own log says why", kind.command)
        return False
    return True


async def _idle(node: Node, kind: _Kind) -> dict[str, Any]:
    """Wait until no such file is being written, nor is to be; return the facts of then."""
    while True:
        facts = await node.info("persistence", "server")
        if not any(facts[field] for field in kind.under_way):
            return facts
        await asyncio.sleep(LOOK_S)


async def _is_accepted(node: Node, kind: _Kind) -> bool:
    """Give the command; return False where it must be given again, for the server was just writing."""
    try:
        await node.call(kind.command)
    except RedisError as error:
        # "already in progress": another one was quicker. "Another child process is active": the other kind of file.
        if "in progress" in str(error) or "child process" in str(error):
            await asyncio.sleep(LOOK_S)
            return False
        raise
    return True
