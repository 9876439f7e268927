"""The chat history on the deprecated interface."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from memsvc_client import Entry, InvalidArgumentError
from memsvc_langchain import MemsvcChatMessageHistory

MESSAGES = [
    SystemMessage("Be brief."),
    HumanMessage("Where is the key?", id="1", name="ada"),
    AIMessage("Let me see.", tool_calls=[{"name": "look", "args": {"at": ["mat"]}, "id": "1", "type": "tool_call"}]),
    ToolMessage("Under the mat.", tool_call_id="1"),
    HumanMessage([{"type": "text", "text": "Which mat?"}, {"type": "image", "url": "https://example.org/a.png"}]),
]


@pytest.fixture
def history(client, tenant):
    def of(session: str) -> MemsvcChatMessageHistory:
        with pytest.warns(DeprecationWarning, match="MemsvcMiddleware"):
            return MemsvcChatMessageHistory(session, client=client, tenant=tenant)

    return of


def test_messages_come_back_as_they_were_and_in_order(history):
    history("monday").add_messages(MESSAGES[:2])
    history("monday").add_messages(MESSAGES[2:])
    assert history("monday").messages == MESSAGES
    assert history("tuesday").messages == []


def test_messages_are_entries_that_recall_finds(history, client, tenant):
    history("monday").add_messages(MESSAGES)
    entries = list(client.list_entries(tenant, session="monday"))
    assert [entry.role for entry in entries] == ["system", "user", "assistant", "tool", "user"]
    assert client.recall(tenant, "under the mat", k=1)[0].text == "Under the mat."


def test_what_others_wrote_into_the_session_is_no_message(history, client, tenant):
    history("monday").add_user_message("hello")
    client.write(tenant, Entry("a note", session="monday"))
    assert history("monday").messages == [HumanMessage("hello")]


def test_clear_erases_one_session(history, client, tenant):
    for session in ("monday", "tuesday"):
        history(session).add_messages(MESSAGES)
    history("monday").clear()
    history("monday").clear()
    assert history("monday").messages == []
    assert history("tuesday").messages == MESSAGES
    history("monday").add_user_message("anew")
    assert history("monday").messages == [HumanMessage("anew")]


def test_nothing_is_written_of_a_batch_with_a_message_without_text(history, client, tenant):
    history("monday").add_user_message("hello")
    with pytest.raises(InvalidArgumentError):
        history("monday").add_messages([HumanMessage("x"), AIMessage("")])
    assert history("monday").messages == [HumanMessage("hello")]


async def test_the_same_from_a_running_loop(history):
    of = history("monday")
    await of.aadd_messages(MESSAGES)
    assert await of.aget_messages() == MESSAGES
    await of.aclear()
    assert await of.aget_messages() == []
