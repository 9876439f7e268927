"""A client's calls as coroutines, with tenants that are made when they are first used: blocking, or of an event loop.

What is made of several calls is written once, as a coroutine over one of both.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Sequence
from functools import partial
from typing import Any, TypeAlias, TypeVar

from memsvc_client import AsyncMemoryClient, MemoryClient, Message, NotFoundError, StoredEntry, Token

_Value = TypeVar("_Value")


class Calls(ABC):
    """Makes them.

    Args:
        create: whether a tenant that is not there is created.
    """

    def __init__(self, *, create: bool) -> None:
        self._create = create

    async def call(self, method: str, tenant: str, *arguments: Any, **options: Any) -> Any:
        """Return what a method of the client's says of a tenant, which is created if it has to be.

        Raises:
            MemsvcError: as the method says.
        """
        return await self._with(tenant, partial(self._call, method, tenant, *arguments, **options))

    async def listed(self, tenant: str, **conditions: Any) -> list[StoredEntry]:
        """Return a tenant's entries that match, in seq order; the conditions are those of `list_entries`."""
        return await self._with(tenant, partial(self._list, tenant, **conditions))

    async def _with(self, tenant: str, work: Callable[[], Awaitable[_Value]]) -> _Value:
        try:
            return await work()
        except NotFoundError as error:
            if not self._create or error.reason != "TENANT_NOT_FOUND":
                raise
        await self._call("create_tenant", tenant, exist_ok=True)
        return await work()

    @abstractmethod
    async def _call(self, method: str, tenant: str, *arguments: Any, **options: Any) -> Any: ...

    @abstractmethod
    async def _list(self, tenant: str, **conditions: Any) -> list[StoredEntry]: ...


class Blocking(Calls):
    """Those of a blocking client. They wait inside, never for an event loop: `finish` runs them without one."""

    def __init__(self, client: MemoryClient, *, create: bool) -> None:
        super().__init__(create=create)
        self._client = client

    async def _call(self, method: str, tenant: str, *arguments: Any, **options: Any) -> Any:
        return getattr(self._client, method)(tenant, *arguments, **options)

    async def _list(self, tenant: str, **conditions: Any) -> list[StoredEntry]:
        return list(self._client.list_entries(tenant, **conditions))

    async def begun(
        self, tenant: str, prompt: Sequence[Message], **options: Any
    ) -> tuple[Token, Generator[Token, None, None]]:
        """Return an answer's first event, with which it is known that there is such a tenant, and the others."""

        async def begin() -> tuple[Token, Generator[Token, None, None]]:
            tokens = self._client.generate(tenant, prompt, **options)
            return next(tokens), tokens

        return await self._with(tenant, begin)


class InLoop(Calls):
    """Those of an asyncio client, in its event loop."""

    def __init__(self, client: AsyncMemoryClient, *, create: bool) -> None:
        super().__init__(create=create)
        self._client = client

    async def _call(self, method: str, tenant: str, *arguments: Any, **options: Any) -> Any:
        return await getattr(self._client, method)(tenant, *arguments, **options)

    async def _list(self, tenant: str, **conditions: Any) -> list[StoredEntry]:
        return [entry async for entry in self._client.list_entries(tenant, **conditions)]

    async def begun(
        self, tenant: str, prompt: Sequence[Message], **options: Any
    ) -> tuple[Token, AsyncGenerator[Token, None]]:
        """Return an answer's first event and the others, as `Blocking` does."""

        async def begin() -> tuple[Token, AsyncGenerator[Token, None]]:
            tokens = self._client.generate(tenant, prompt, **options)
            return await anext(tokens), tokens

        return await self._with(tenant, begin)


Work: TypeAlias = Callable[[Calls], Coroutine[Any, Any, _Value]]
"""What is made of some calls."""


def finish(coroutine: Coroutine[Any, Any, _Value]) -> _Value:
    """Return what a coroutine comes to that never waits for an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        value: _Value = done.value
        return value
    coroutine.close()
    raise AssertionError("a blocking call waits for an event loop")
