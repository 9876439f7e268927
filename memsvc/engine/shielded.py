"""What must go on once it has begun, though whoever asked for it may leave."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
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


@asynccontextmanager
async def holding(lock: asyncio.Lock) -> AsyncIterator[Callable[[Coroutine[Any, Any, T]], "asyncio.Future[T]"]]:
    """Hold a lock; yields what begins an operation, as `shielded`, that has the lock to its end, whoever leaves.

    One operation is begun after another.
    """
    await lock.acquire()
    task: asyncio.Future[Any] | None = None

    def begin(operation: Coroutine[Any, Any, T]) -> "asyncio.Future[T]":
        nonlocal task
        task = asyncio.ensure_future(operation)
        heard(task)
        return asyncio.shield(task)

    try:
        yield begin
    finally:
        if task is None or task.done():
            lock.release()
        else:
            task.add_done_callback(lambda _: lock.release())
