"""The chat model: LangChain's standard tests, and what they leave out."""

import time

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests
from memsvc_client import Entry, InvalidArgumentError, NotFoundError
from memsvc_langchain import ChatMemsvc

from tests.backbone.stub_openai import Exchange
from tests.langchain.conftest import SAID


class _Standard:
    @pytest.fixture(autouse=True)
    def _connect(self, server, tenant):
        self.params = {"target": server.target, "tenant": tenant}

    @property
    def chat_model_class(self):
        return ChatMemsvc

    @property
    def chat_model_params(self):
        return self.params

    @property
    def has_tool_calling(self):
        return False

    @property
    def has_structured_output(self):
        return False

    @property
    def supports_model_override(self):
        return False


class TestUnit(_Standard, ChatModelUnitTests):
    pass


class TestStandard(_Standard, ChatModelIntegrationTests):
    pass


@pytest.fixture
def model(client, tenant):
    return ChatMemsvc(client=client, tenant=tenant)


def test_an_answer_comes_in_parts_and_says_what_it_is_made_of(model, client, tenant, language_model):
    client.create_tenant(tenant)
    client.write(tenant, Entry("the key is under the mat", id="key"))
    parts = list(model.stream([SystemMessage("Be brief."), HumanMessage("where is the key?")], k=1))
    assert [part.text for part in parts if part.text] == list(SAID)
    whole = sum(parts[1:], parts[0])
    assert whole.response_metadata["recalled"] == ["key"]
    assert whole.response_metadata["finish_reason"] == "stop"
    assert whole.usage_metadata["input_tokens"] == 7
    assert whole.usage_metadata["output_tokens"] == 3
    system, question = language_model.requests[-1].body["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert "the key is under the mat" in question["content"]


async def test_the_same_from_a_running_loop(model):
    assert (await model.ainvoke("where is the key?")).text == "".join(SAID)
    assert [part.text async for part in model.astream("where?") if part.text] == list(SAID)


def test_settings_are_the_models_or_the_calls(client, tenant, language_model):
    model = ChatMemsvc(client=client, tenant=tenant, max_tokens=11, temperature=0.5, stop=["x"])
    model.invoke("where?")
    asked = language_model.requests[-1].body
    assert (asked["max_tokens"], asked["temperature"], asked["stop"]) == (11, 0.5, ["x"])
    model.invoke("where?", max_tokens=12, temperature=0.25, stop=["y"])
    asked = language_model.requests[-1].body
    assert (asked["max_tokens"], asked["temperature"], asked["stop"]) == (12, 0.25, ["y"])


def test_it_remembers_where_it_is_told_to(client, tenant):
    model = ChatMemsvc(client=client, tenant=tenant, remember=True, session="monday")
    model.invoke("where is the key?")
    written = [(entry.role, entry.text, entry.session) for entry in client.list_entries(tenant)]
    assert written == [("user", "where is the key?", "monday"), ("assistant", "".join(SAID), "monday")]


async def never_ends(to: Exchange) -> None:
    await to.stream()
    await to.text("It is")
    await to.hang()


def ended(language_model) -> bool:
    """Whether the model's work ends, within a minute, because nobody waits for it."""
    deadline = time.monotonic() + 60
    while not language_model.left.is_set() and time.monotonic() < deadline:
        time.sleep(0.01)
    return language_model.left.is_set()


def test_an_answer_that_nobody_waits_for_ends_and_is_not_remembered(client, tenant, language_model):
    language_model.left.clear()
    language_model.behaviours.insert(0, never_ends)
    answer = ChatMemsvc(client=client, tenant=tenant, remember=True).stream("where is the key?")
    next(part for part in answer if part.text)
    answer.close()
    assert ended(language_model)
    assert list(client.list_entries(tenant)) == []


async def test_nor_is_one_that_nobody_waits_for_on_a_loop(client, tenant, language_model):
    language_model.left.clear()
    language_model.behaviours.insert(0, never_ends)
    answer = ChatMemsvc(client=client, tenant=tenant, remember=True).astream("where is the key?")
    while not (await anext(answer)).text:
        pass
    await answer.aclose()
    assert ended(language_model)
    assert list(client.list_entries(tenant)) == []


@pytest.mark.parametrize(
    "message",
    [
        ToolMessage("x", tool_call_id="1"),
        AIMessage("x", tool_calls=[{"name": "f", "args": {}, "id": "1"}]),
        HumanMessage([{"type": "text", "text": "x"}, {"type": "image", "url": "https://example.org/a.png"}]),
    ],
)
def test_what_it_cannot_send_is_refused(model, language_model, message):
    before = len(language_model.requests)
    with pytest.raises(ValueError, match=r"messages\[1\]"):
        model.invoke([HumanMessage("x"), message, HumanMessage("y")])
    assert len(language_model.requests) == before


def test_the_server_has_one_model(model):
    with pytest.raises(ValueError, match="model"):
        model.invoke("x", model="another")


def test_what_the_server_refuses(model):
    with pytest.raises(InvalidArgumentError, match="must be the user's"):
        model.invoke([HumanMessage("x"), AIMessage("y")])


def test_a_tenant_is_made_only_where_that_is_wanted(client, tenant):
    with pytest.raises(NotFoundError):
        ChatMemsvc(client=client, tenant=tenant, create=False).invoke("x")
    assert ChatMemsvc(client=client, tenant=tenant).invoke("x").text == "".join(SAID)
