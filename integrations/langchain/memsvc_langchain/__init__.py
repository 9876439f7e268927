"""memsvc for LangChain and LangGraph: a middleware, a store, a retriever, tools, a chat model."""

from memsvc_langchain._items import namespace_label
from memsvc_langchain.chat_model import ChatMemsvc
from memsvc_langchain.history import MemsvcChatMessageHistory
from memsvc_langchain.middleware import MemsvcMiddleware, Recalled, RecallState, thread_session
from memsvc_langchain.retriever import MemsvcRetriever
from memsvc_langchain.store import MemsvcStore
from memsvc_langchain.tools import RecallMemory, SaveMemory

__all__ = [
    "ChatMemsvc",
    "MemsvcChatMessageHistory",
    "MemsvcMiddleware",
    "MemsvcRetriever",
    "MemsvcStore",
    "RecallMemory",
    "RecallState",
    "Recalled",
    "SaveMemory",
    "namespace_label",
    "thread_session",
]
