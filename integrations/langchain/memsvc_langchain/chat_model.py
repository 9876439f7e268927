"""Answers from a tenant's memory as LangChain's chat model: the server recalls, and its language model answers."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from types import MappingProxyType
from typing import Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.language_models.chat_models import agenerate_from_stream, generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from memsvc_client import Message, Token, Usage

from memsvc_langchain._connected import Connected

MODEL_NAME = "memsvc"
"""The server does not say which model it has."""

_Role = Literal["system", "user", "assistant"]
_ROLES: Mapping[type[BaseMessage], _Role] = MappingProxyType(
    {SystemMessage: "system", HumanMessage: "user", AIMessage: "assistant"}
)
_OPTIONS = ("max_tokens", "temperature", "top_p", "seed", "remember", "session", "k", "max_context_tokens", "timeout")


class ChatMemsvc(Connected, BaseChatModel):
    """A server's language model, which answers from a tenant's memory.

    model = ChatMemsvc(target="127.0.0.1:50051", tenant="manual")
    for chunk in model.stream("how is a crash survived?"):
        print(chunk.text, end="")

    The server must have a model (`memsvc serve --backbone …`). It calls no tools, and takes text alone. What was
    recalled is in the answer's `response_metadata`. Each call may have its own of the settings below.
    """

    max_tokens: int = 256
    """At most so many are generated."""
    temperature: float = 0.0
    """0 takes the likeliest token every time."""
    top_p: float = 1.0
    """Tokens are drawn from the likeliest that make up so much."""
    stop: list[str] | None = None
    """The answer ends before the first of these."""
    seed: int | None = None
    """The same prompt and seed give the same answer, as far as the model can promise that."""
    remember: bool = False
    """Whether the last message and the answer become entries."""
    session: str | None = None
    """Of what is remembered."""
    k: int = 10
    """At most so many entries are recalled; 0 recalls nothing."""
    max_context_tokens: int | None = None
    """What they may take of the prompt; what suits the model when None."""
    timeout: float | None = None
    """Seconds for the whole answer; ten minutes when None."""

    @property
    def _llm_type(self) -> str:
        return MODEL_NAME

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(
            ls_provider=MODEL_NAME,
            ls_model_name=kwargs.get("model", MODEL_NAME),
            ls_model_type="chat",
            ls_temperature=kwargs.get("temperature", self.temperature),
            ls_max_tokens=kwargs.get("max_tokens", self.max_tokens),
            ls_stop=stop or self.stop or [],
        )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for token in self._memory.answer(self._tenant(), **self._asked(messages, stop, kwargs)):
            chunk = ChatGenerationChunk(message=_chunk(token))
            if run_manager is not None and token.text:
                run_manager.on_llm_new_token(token.text, chunk=chunk)
            yield chunk

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, run_manager, **kwargs))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        if not self._memory.in_loop:
            async for chunk in super()._astream(messages, stop, run_manager, **kwargs):  # in a thread
                yield chunk
            return
        answer = self._memory.aanswer(self._tenant(), **self._asked(messages, stop, kwargs))
        async with aclosing(answer):
            async for token in answer:
                chunk = ChatGenerationChunk(message=_chunk(token))
                if run_manager is not None and token.text:
                    await run_manager.on_llm_new_token(token.text, chunk=chunk)
                yield chunk

    def _asked(
        self, messages: Sequence[BaseMessage], stop: list[str] | None, kwargs: Mapping[str, Any]
    ) -> dict[str, Any]:
        if "model" in kwargs:
            raise ValueError("model: the server has one model, and takes no other for a call")
        options = {name: kwargs.get(name, getattr(self, name)) for name in _OPTIONS}
        return {"prompt": _prompt(messages), "stop": stop or self.stop or (), **options}


def _prompt(messages: Sequence[BaseMessage]) -> list[Message]:
    """Return the conversation.

    Raises:
        ValueError: a message is of another kind than the system's, the user's and the assistant's, or has no text.
    """
    return [_message(i, message) for i, message in enumerate(messages)]


def _message(i: int, message: BaseMessage) -> Message:
    role = next((role for kind, role in _ROLES.items() if isinstance(message, kind)), None)
    if role is None or getattr(message, "tool_calls", None):
        raise ValueError(f"messages[{i}]: must be a system, human or AI message without tool calls")
    blocks = [] if isinstance(message.content, str) else message.content
    if any(isinstance(block, dict) and block.get("type") != "text" for block in blocks):
        raise ValueError(f"messages[{i}].content: must be text alone")
    return Message(role, str(message.text))


def _chunk(token: Token) -> AIMessageChunk:
    """Return a part of the answer: first what was recalled, then text, last what it came to."""
    if token.recalled is not None:
        return AIMessageChunk(content="", response_metadata={"recalled": [hit.id for hit in token.recalled]})
    if token.usage is None:
        return AIMessageChunk(content=token.text)
    return AIMessageChunk(
        content=token.text,
        usage_metadata=_usage(token.usage),
        response_metadata={"model_name": MODEL_NAME, "finish_reason": token.usage.finish},
        chunk_position="last",
    )


def _usage(usage: Usage) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        input_token_details=InputTokenDetails(cache_read=usage.cached_tokens),
    )
