"""What an OpenAI-compatible server is asked."""

from memsvc.backbone.base import Prompt
from memsvc.backbone.load import TokensField
from memsvc.backbone.quoted import with_context

MAX_STOPS = 4
"""Of a request: servers refuse more. We look for all of them in the answer ourselves."""


def make_request(prompt: Prompt, model: str, tokens_field: TokensField) -> dict[str, object]:
    """Return the body of a request."""
    request: dict[str, object] = {
        "model": model,
        "messages": [{"role": role, "content": text} for role, text in with_context(prompt)],
        tokens_field: prompt.max_tokens,
        "temperature": prompt.temperature,
        "top_p": prompt.top_p,
        "stream_options": {"include_usage": True},
    }
    if prompt.stop:
        request["stop"] = list(prompt.stop[:MAX_STOPS])
    if prompt.seed is not None:
        request["seed"] = prompt.seed
    return request
