"""A chat model that says what it is told to, and notes what it was shown."""

from collections.abc import Callable, Iterable
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field


class Scripted(BaseChatModel):
    """Says the next of its answers, or what a function makes of what it is shown."""

    answers: Any
    shown: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **options: Any) -> "Scripted":
        return self

    def _generate(self, messages, stop=None, run_manager=None, **options) -> ChatResult:
        self.shown.append(list(messages))
        answer = self.answers(messages) if callable(self.answers) else next(self.answers)
        message = AIMessage(answer) if isinstance(answer, str) else answer
        return ChatResult(generations=[ChatGeneration(message=message)])


def scripted(answers: Iterable[str | AIMessage] | Callable[[list[BaseMessage]], str]) -> Scripted:
    return Scripted(answers=answers if callable(answers) else iter(answers))


def agent_of(answers: Any, **options: Any) -> Any:
    model = answers if isinstance(answers, Scripted) else scripted(answers)
    return create_agent(model, **{"context_schema": dict, **options})


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "args": arguments, "id": "1", "type": "tool_call"}
