"""What must go on once it has begun, though whoever asked for it may leave."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def shielded(operation: Coroutine[Any, Any, T]) -> "asyncio.Future[T]":
    """Begin an operation and return what awaits it; cancelling that leaves it alone.

    `asyncio.shield` would have its error logged as one that nobody heard, once whoever awaited it has left.
    """
    task = asyncio.ensure_future(operation)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return asyncio.shield(task)
