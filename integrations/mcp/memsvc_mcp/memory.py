"""One tenant's memory, as the tools use it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar

from memsvc_client import (
    AsyncMemoryClient,
    Entry,
    ForgetReceipt,
    NotFoundError,
    Recall,
    StoredEntry,
    TenantStats,
)

_T = TypeVar("_T")


class Memory:
    """Connects at its first use, and makes the tenant where there is none.

    Args:
        connect: opens the client.
        tenant: whose memory.
    """

    def __init__(self, connect: Callable[[], Awaitable[AsyncMemoryClient]], tenant: str) -> None:
        self.tenant = tenant
        self._connect = connect
        self._connecting = asyncio.Lock()
        self._client: AsyncMemoryClient | None = None

    async def close(self) -> None:
        """Leave the server. One that was started for us ends, unless others use it."""
        if self._client is not None:
            await self._client.close()

    async def remember(self, text: str, session: str | None, role: str | None) -> str:
        """Write a text; return its id once it is durable."""
        entry = Entry(text, session=session, role=role)
        return (await self._with(lambda client: client.write(self.tenant, entry))).ids[0]

    async def recall(self, query: str, k: int, max_tokens: int, session: str | None) -> Recall:
        """Return what a query asks for, with a context of so many tokens."""
        return await self._with(
            lambda client: client.recall(self.tenant, query, k, session=session, max_tokens=max_tokens)
        )

    async def entries(
        self,
        limit: int,
        session: str | None = None,
        after: datetime | None = None,
        *,
        skip: int = 0,
    ) -> Sequence[StoredEntry]:
        """Return the first entries after so many, in the order in which they were written."""

        async def list_some(client: AsyncMemoryClient) -> list[StoredEntry]:
            found: list[StoredEntry] = []
            left = skip
            async for entry in client.list_entries(self.tenant, session=session, after=after):
                if left:
                    left -= 1
                    continue
                found.append(entry)
                if len(found) == limit:
                    break
            return found

        return await self._with(list_some)

    async def entry(self, id: str) -> StoredEntry:
        """Return one entry."""
        return await self._with(lambda client: client.get_entry(self.tenant, id))

    async def forget(self, ids: Sequence[str]) -> ForgetReceipt:
        """Erase entries: hidden when this returns, and destroyed soon after."""
        return await self._with(lambda client: client.forget(self.tenant, ids, wait=False))

    async def stats(self) -> TenantStats:
        """Return the tenant's figures."""
        return await self._with(lambda client: client.stats(self.tenant))

    async def _with(self, call: Callable[[AsyncMemoryClient], Awaitable[_T]]) -> _T:
        async with self._connecting:
            if self._client is None:
                self._client = await self._connect()
        try:
            return await call(self._client)
        except NotFoundError as error:
            if error.reason != "TENANT_NOT_FOUND":
                raise
        await self._client.create_tenant(self.tenant, exist_ok=True)
        return await call(self._client)
