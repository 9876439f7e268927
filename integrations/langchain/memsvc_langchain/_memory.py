"""What every adapter is built on: the calls of one server, with a client for threads and one for each event loop."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, closing
from threading import Lock
from typing import Any, TypeVar

from langchain_core.runnables import run_in_executor
from memsvc_client import AsyncMemoryClient, MemoryClient, Message, Token

from memsvc_langchain._calls import Blocking, InLoop, Work, finish

_Value = TypeVar("_Value")


class Memory:
    """Threads and event loops may share it.

    Args:
        target: the server's address, or several; not with `client`.
        client: a client that its maker closes. It is a blocking one, which coroutines call in a thread.
        create: whether a tenant that is not there is created.

    Raises:
        ValueError: neither a target nor a client is given, or both are.

    Attributes:
        in_loop: whether coroutines have clients of their own.
    """

    def __init__(self, target: str | None, client: MemoryClient | None, *, create: bool = True) -> None:
        if (target is None) == (client is None):
            raise ValueError('give either target, for example "127.0.0.1:50051", or client')
        self.in_loop = client is None
        self._target, self._create = target or "", create
        self._blocking = Blocking(client or MemoryClient(self._target), create=create)
        self._by_loop: dict[asyncio.AbstractEventLoop, InLoop] = {}
        self._lock = Lock()

    def run(self, work: Work[_Value]) -> _Value:
        """Return what work comes to, in this thread.

        Raises:
            MemsvcError: as its calls say.
        """
        return finish(work(self._blocking))

    async def arun(self, work: Work[_Value]) -> _Value:
        """Return what work comes to, in the running event loop, or in a thread where there is but a blocking client.

        Raises:
            MemsvcError: as its calls say.
        """
        if self.in_loop:
            return await work(self._here())
        return await run_in_executor(None, self.run, work)

    def answer(self, tenant: str, prompt: Sequence[Message], **options: Any) -> Iterator[Token]:
        """Yield an answer of the server's language model, as `generate` does. Closing it ends the model's work."""
        first, rest = finish(self._blocking.begun(tenant, prompt, **options))
        with closing(rest):
            yield first
            yield from rest

    async def aanswer(self, tenant: str, prompt: Sequence[Message], **options: Any) -> AsyncGenerator[Token, None]:
        """Yield an answer in the running event loop, as `answer` does; not where there is but a blocking client."""
        first, rest = await self._here().begun(tenant, prompt, **options)
        async with aclosing(rest):
            yield first
            async for token in rest:
                yield token

    def _here(self) -> InLoop:
        """Return the calls of the running event loop: an asyncio client belongs to one."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if loop not in self._by_loop:
                self._by_loop = {each: calls for each, calls in self._by_loop.items() if not each.is_closed()}
                self._by_loop[loop] = InLoop(AsyncMemoryClient(self._target), create=self._create)
            return self._by_loop[loop]
