"""The stub of an OpenAI-compatible server on a loop of its own, for tests that block."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from tests.backbone.stub_openai import Behaviour, Stub


@contextmanager
def serving(*behaviours: Behaviour) -> Iterator[Stub]:
    """Serve while the block runs."""
    stub, loop, started, ended = Stub(*behaviours), asyncio.new_event_loop(), Event(), asyncio.Event()

    async def serve() -> None:
        async with stub.serve():
            started.set()
            await ended.wait()

    thread = Thread(target=loop.run_until_complete, args=[serve()])
    thread.start()
    started.wait()
    try:
        yield stub
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()
