"""From a caller's arguments to a request for an answer. Limits are the server's to check."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from memsvc.v1 import generate_pb2, types_pb2
from memsvc_client import _values
from memsvc_client.types import Message

_ROLES: Mapping[str, generate_pb2.Role.ValueType] = MappingProxyType(
    {
        "user": generate_pb2.ROLE_USER,
        "assistant": generate_pb2.ROLE_ASSISTANT,
        "system": generate_pb2.ROLE_SYSTEM,
    }
)

Prompt = str | Sequence[Message | tuple[str, str]]
"""A question, or a conversation whose last message is the user's: pairs of role and text."""


def generate(
    tenant: str,
    prompt: Prompt,
    *,
    max_tokens: int,
    temperature: float,
    top_p: float,
    stop: str | Iterable[str],
    seed: int | None,
    remember: bool,
    session: str | None,
    k: int,
    max_context_tokens: int | None,
    query: str | None,
    min_seq: int | None,
    entry_filter: types_pb2.Filter | None,
) -> generate_pb2.GenerateRequest:
    """Return the request for an answer; with `k` 0 nothing is recalled for it."""
    stops = [stop] if isinstance(stop, str) else list(stop)
    recall = generate_pb2.GenerateRecall(
        query=_values.string("query", query or ""),
        k=_values.integer("k", k, 0, _values.MAX_INT32),
        max_tokens=_values.integer("max_context_tokens", max_context_tokens or 0, 0, _values.MAX_INT32),
        filter=entry_filter,
        off=k == 0,
    )
    return generate_pb2.GenerateRequest(
        tenant=_values.string("tenant", tenant),
        messages=_messages(prompt),
        max_tokens=_values.integer("max_tokens", max_tokens, 1, _values.MAX_INT32),
        temperature=_values.number("temperature", temperature),
        top_p=_values.number("top_p", top_p),
        stop=[_values.string(f"stop[{i}]", each) for i, each in enumerate(stops)],
        seed=None if seed is None else _values.integer("seed", seed, -_values.MAX_INT64 - 1, _values.MAX_INT64),
        remember=_values.boolean("remember", remember),
        recall=recall,
        session=_values.string("session", session or ""),
        min_seq=None if min_seq is None else _values.integer("min_seq", min_seq, 0, _values.MAX_INT64),
    )


def _messages(prompt: Prompt) -> list[generate_pb2.Message]:
    if isinstance(prompt, str):
        return [generate_pb2.Message(role=generate_pb2.ROLE_USER, text=_values.string("prompt", prompt))]
    if not isinstance(prompt, Sequence) or isinstance(prompt, bytes):
        raise _values.wrong("prompt", f"must be a str or messages, not {type(prompt).__name__}")
    return [_message(f"prompt[{i}]", each) for i, each in enumerate(prompt)]


def _message(path: str, value: object) -> generate_pb2.Message:
    if not isinstance(value, tuple) or len(value) != 2:
        raise _values.wrong(path, "must be a Message, or a pair of role and text")
    role, text = value
    if role not in _ROLES:
        raise _values.wrong(f"{path}.role", f"must be one of {', '.join(_ROLES)}")
    return generate_pb2.Message(role=_ROLES[role], text=_values.string(f"{path}.text", text))
