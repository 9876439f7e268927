"""Emptying the write-ahead logs after what was destroyed by the way, without its caller waiting for it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from memsvc.errors import MemsvcError
from memsvc.tasks import end

EMPTY_S = 10.0
"""How long what is destroyed may stay there: an emptying holds up the commits beside it."""

_logger = logging.getLogger(__name__)


class Emptier:
    """Has the logs emptied once for all that was destroyed in a while. A start of the store empties them, too.

    Args:
        empty: does it, waiting for whoever reads.
    """

    def __init__(self, empty: Callable[[], Awaitable[None]]) -> None:
        self._empty = empty
        self._wanted = self._stopped = False
        self._task: asyncio.Task[None] | None = None

    def soon(self) -> None:
        """Something was destroyed."""
        self._wanted = True
        if self._task is None and not self._stopped:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End, for good: a store that is closed takes its logs away, and may tell of what it destroyed only then."""
        self._stopped = True
        await end(self._task)

    async def _run(self) -> None:
        try:
            while self._wanted:
                await asyncio.sleep(EMPTY_S)
                self._wanted = False
                await self._try()
        finally:
            self._task = None

    async def _try(self) -> None:
        try:
            await self._empty()
        except MemsvcError as error:
            _logger.warning("destroyed text stays in the write-ahead logs for now; it is tried again: %s", error)
            self._wanted = True
