"""A chat model for the examples: it needs no network, and answers with what it was shown of the memory."""

import json
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import SimpleChatModel
from langchain_core.messages import BaseMessage


class OfflineModel(SimpleChatModel):
    """Put your own in its place, for example `init_chat_model("openai:gpt-5")`."""

    @property
    def _llm_type(self) -> str:
        return "offline"

    def _call(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> str:
        lines = [line for message in messages for line in message.text.split("\n")]
        memories = [json.loads(line) for line in lines if line.startswith('{"time"')]
        told = [f"You told me: {entry['text']}" for entry in memories if entry.get("role") == "user"]
        read = [f"I read in {line.removeprefix('> ')}" for line in lines if line.startswith("> ")]
        return next(iter(told + read), "I know nothing of that yet.")
