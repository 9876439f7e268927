"""How background work is ended."""

import asyncio
from typing import Any

AGAIN_S = 1.0
"""Longer than a task takes to tidy up after a cancellation."""


async def end(*tasks: "asyncio.Task[Any] | None") -> None:
    """Cancel tasks until they are over. What one of them raises is asyncio's to report.

    A cancellation can be lost: `asyncio.wait_for` of Python 3.11, with which redis-py sends, drops one that comes as
    what it waits for is done. A loop then goes on, and whoever waits for its end waits for ever.
    """
    going = {task for task in tasks if task is not None and not task.done()}
    while going:
        for task in going:
            task.cancel()
        _, going = await asyncio.wait(going, timeout=AGAIN_S)
