"""Recall as LangChain's retriever."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import run_in_executor

from memsvc_langchain._connected import Connected
from memsvc_langchain._documents import document


class MemsvcRetriever(Connected, BaseRetriever):
    """Returns a tenant's entries that a query asks for, best first.

    retriever = MemsvcRetriever(target="127.0.0.1:50051", tenant="manual")
    retriever.invoke("how is a crash survived?", k=3)
    """

    k: int = 10
    """How many documents at most; `invoke` takes its own."""
    session: str | None = None
    """Only entries of this session."""
    role: str | None = None
    """Only entries of this role."""
    filter: Mapping[str, Any] | None = None
    """Only entries whose metadata match, for example `{"page": {"$gte": 3}}`."""
    as_of: int | datetime | None = None
    """The memory as it was then, at a record's seq or a time."""

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        recall = self._memory.call(
            self._memory.client.recall,
            self._tenant(),
            query,
            k=self.k if k is None else k,
            session=self.session,
            role=self.role,
            metadata=self.filter,
            as_of=self.as_of,
        )
        return [document(hit) for hit in recall]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        read = partial(self._get_relevant_documents, query, run_manager=run_manager.get_sync(), k=k)
        return await run_in_executor(None, read)
