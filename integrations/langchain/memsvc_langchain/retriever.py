"""Recall as LangChain's retriever."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from memsvc_client import Recall

from memsvc_langchain._calls import Calls, Work
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
        return self._memory.run(self._finding(query, k))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        return await self._memory.arun(self._finding(query, k))

    def _finding(self, query: str, k: int | None) -> Work[list[Document]]:
        tenant = self._tenant()

        async def work(calls: Calls) -> list[Document]:
            recall: Recall = await calls.call(
                "recall",
                tenant,
                query,
                k=self.k if k is None else k,
                session=self.session,
                role=self.role,
                metadata=self.filter,
                as_of=self.as_of,
            )
            return [document(hit) for hit in recall]

        return work
