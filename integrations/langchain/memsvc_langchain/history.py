"""A session as LangChain's chat message history, for older code."""

import json
from collections.abc import Sequence

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage, message_to_dict, messages_from_dict
from memsvc_client import Entry, MemoryClient, StoredEntry
from typing_extensions import deprecated

from memsvc_langchain._calls import Calls, Work
from memsvc_langchain._memory import Memory

_ROLES = {"human": "user", "ai": "assistant"}


@deprecated(
    "for older code alone, as langchain-core's interface is since 1.6.4; use MemsvcMiddleware and a checkpointer"
)
class MemsvcChatMessageHistory(BaseChatMessageHistory):
    """The messages of a session, in order.

    Deprecated, as its interface is (langchain-core 1.6.4): new code gives an agent `MemsvcMiddleware`, and a
    checkpointer for the messages of a thread.

    Args:
        session: which conversation.
        target: the server's address, or several; not with `client`.
        client: a client that its maker closes.
        tenant: whose memory.
        create: whether the tenant is created when it is not there.
    """

    def __init__(
        self,
        session: str,
        target: str | None = None,
        *,
        tenant: str,
        client: MemoryClient | None = None,
        create: bool = True,
    ) -> None:
        self._memory = Memory(target, client, create=create)
        self._session, self._tenant = session, tenant

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # the base declares an attribute, and documents this
        """The messages so far. What others wrote into the session is no message."""
        return self._memory.run(self._read)

    async def aget_messages(self) -> list[BaseMessage]:
        """Return the messages so far."""
        return await self._memory.arun(self._read)

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Write messages, as one record.

        Raises:
            InvalidArgumentError: one has no text, or too much beside it; nothing is written.
        """
        self._memory.run(self._writing(messages))

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Write messages, as `add_messages` does."""
        await self._memory.arun(self._writing(messages))

    def clear(self) -> None:
        """Erase the session from the memory. It is hidden at once, and destroyed behind this call."""
        self._memory.run(self._clear)

    async def aclear(self) -> None:
        """Erase the session, as `clear` does."""
        await self._memory.arun(self._clear)

    async def _read(self, calls: Calls) -> list[BaseMessage]:
        stored = await calls.listed(self._tenant, session=self._session)
        return messages_from_dict([_as_dict(entry) for entry in stored if "message" in entry.metadata])

    def _writing(self, messages: Sequence[BaseMessage]) -> Work[None]:
        entries = [self._entry(each) for each in messages]

        async def work(calls: Calls) -> None:
            if entries:
                await calls.call("write", self._tenant, entries)

        return work

    async def _clear(self, calls: Calls) -> None:
        if await self._read(calls):
            await calls.call("forget", self._tenant, session=self._session, wait=False)

    def _entry(self, message: BaseMessage) -> Entry:
        kept = message_to_dict(message)
        text = str(message.text)
        if message.content == text:
            del kept["data"]["content"]  # it is the entry's text
        role = _ROLES.get(message.type, message.type)
        return Entry(text, session=self._session, role=role, metadata={"message": json.dumps(kept)})


def _as_dict(entry: StoredEntry) -> dict[str, object]:
    kept: dict[str, dict[str, object]] = json.loads(entry.metadata["message"])
    kept["data"].setdefault("content", entry.text)
    return dict(kept)
