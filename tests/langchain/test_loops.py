"""Adapters with a target in event loops: they wait there and in no thread, whichever loop it is."""

import asyncio
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.messages import HumanMessage
from memsvc_langchain import (
    ChatMemsvc,
    MemsvcChatMessageHistory,
    MemsvcMiddleware,
    MemsvcRetriever,
    MemsvcStore,
    RecallMemory,
    SaveMemory,
)
from memsvc_langchain import _memory as memory

from tests.langchain.conftest import SAID
from tests.langchain.scripted import agent_of
from tests.langchain.test_chat_model import ended, never_ends


@pytest.fixture
def no_threads(monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a coroutine waits in a thread")

    monkeypatch.setattr(memory, "run_in_executor", refuse)


@pytest.fixture
def where(server, tenant) -> dict[str, str]:
    return {"target": server.target, "tenant": tenant}


@pytest.mark.usefixtures("no_threads")
class TestWithATarget:
    async def test_tools_and_retriever(self, where):
        assert await SaveMemory(**where).ainvoke({"text": "The key is under the mat."}) == "Saved."
        assert "under the mat" in await RecallMemory(**where).ainvoke({"query": "the key?"})
        (found,) = await MemsvcRetriever(**where).ainvoke("where is the key?")
        assert found.page_content == "The key is under the mat."

    async def test_a_wrong_text_is_told_to_the_model(self, where):
        assert "not saved" in await SaveMemory(**where).ainvoke({"text": ""})
        assert "not looked up" in await RecallMemory(**where).ainvoke({"query": ""})

    async def test_the_store(self, where):
        store = MemsvcStore(**where)
        await store.aput(("a",), "k", {"x": 1})
        assert (await store.aget(("a",), "k")).value == {"x": 1}
        assert [item.key for item in await store.asearch((), query="x")] == ["k"]
        assert await store.alist_namespaces() == [("a",)]
        await store.adelete(("a",), "k")
        assert await store.aget(("a",), "k") is None

    async def test_the_history(self, where):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            history = MemsvcChatMessageHistory("monday", **where)
        await history.aadd_messages([HumanMessage("Where is the key?")])
        assert [message.text for message in await history.aget_messages()] == ["Where is the key?"]
        await history.aclear()
        assert await history.aget_messages() == []

    async def test_the_middleware(self, where, client):
        agent = agent_of(["Noted.", "Under the mat."], middleware=[MemsvcMiddleware(where["target"])])
        for text in ("The key is under the mat.", "Where is the key?"):
            state = await agent.ainvoke({"messages": [("user", text)]}, context={"user_id": where["tenant"]})
        assert {each["text"] for each in state["recalled"]} == {"The key is under the mat.", "Noted."}
        assert len(list(client.list_entries(where["tenant"]))) == 4

    async def test_the_chat_model(self, where):
        model = ChatMemsvc(**where)
        assert (await model.ainvoke("Where is the key?")).text == "".join(SAID)
        assert [part.text async for part in model.astream("Where is the key?") if part.text] == list(SAID)

    async def test_an_answer_that_nobody_waits_for_ends(self, where, client, language_model):
        language_model.left.clear()
        language_model.behaviours.insert(0, never_ends)
        answer = ChatMemsvc(**where, remember=True).astream("where is the key?")
        while not (await anext(answer)).text:
            pass
        await answer.aclose()
        assert await asyncio.to_thread(ended, language_model)
        assert list(client.list_entries(where["tenant"])) == []


def test_one_adapter_serves_loops_one_after_the_other_and_threads_between(where):
    store = MemsvcStore(**where)
    for i in range(3):
        asyncio.run(store.aput(("a",), f"{i}", {"x": i}))
        assert store.get(("a",), f"{i}").value == {"x": i}
    assert len(store._memory._by_loop) == 1  # those that ended are let go


def test_and_loops_at_the_same_time(where):
    store = MemsvcStore(**where)
    store.put(("b",), "k", {})  # the tenant is there

    async def put(i: int) -> None:
        for j in range(10):
            await store.aput(("a",), f"{i} {j}", {})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: asyncio.run(put(i)), range(4)))
    assert len(store.search(("a",), limit=100)) == 40
