"""What only the store knows, asked for now and then: a scrape must not wait for it."""

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass

from memsvc.errors import MemsvcError
from memsvc.store.base import Store

log = logging.getLogger(__name__)

EVERY_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Of the tenants that this process serves."""

    at: float = 0.0
    """When, in seconds since the epoch; 0 for not yet."""
    tenants: int = 0
    erasures: int = 0
    """Those that are not done."""


class Surveyor:
    """Keeps a survey new.

    Args:
        store: whom to ask.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._task: asyncio.Task[None] | None = None
        self.latest = Survey()

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._rounds())

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _rounds(self) -> None:
        while True:
            try:
                heads, erasures = await self._store.heads(), await self._store.unfinished_erasures()
                self.latest = Survey(at=time.time(), tenants=len(heads), erasures=len(erasures))
            except MemsvcError as error:
                log.warning("the store could not be asked for its tenants: %s", error)
            await asyncio.sleep(EVERY_S)
