"""What must go on once it has begun, though whoever asked for it may leave."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def heard(task: "asyncio.Future[Any]") -> None:
    """Keep its error from being logged as one that nobody heard, if whoever was to await it has left."""
    task.add_done_callback(lambda done: done.cancelled() or done.exception())


def shielded(operation: Coroutine[Any, Any, T]) -> "asyncio.Future[T]":
    """Begin an operation and return what awaits it; cancelling that leaves it alone."""
    task = asyncio.ensure_future(operation)
    heard(task)
    return asyncio.shield(task)
