"""From a request for an answer to what is asked, or an error that names the field."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from memsvc import limits
from memsvc.backbone.base import Message, Prompt, Role
from memsvc.errors import InvalidArgumentError
from memsvc.recall.filter import Filter
from memsvc.server import validate
from memsvc.v1 import generate_pb2

ROLES: Mapping[int, Role] = MappingProxyType(
    {
        generate_pb2.ROLE_UNSPECIFIED: "user",
        generate_pb2.ROLE_USER: "user",
        generate_pb2.ROLE_ASSISTANT: "assistant",
        generate_pb2.ROLE_SYSTEM: "system",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request asks for."""

    tenant: str
    prompt: Prompt
    """Still without what is recalled."""
    query: str
    """What to recall."""
    k: int
    """How many entries; 0 recalls nothing."""
    context_tokens: int
    """That they may take of the prompt; what suits the model when 0."""
    filter: Filter | None
    min_seq: int | None
    """The record that what is read of the tenant must know; the log's head when None."""
    remember: bool
    session: str
    """Of what is remembered."""


def parse(request: generate_pb2.GenerateRequest) -> Asked:
    """Check a request.

    Raises:
        InvalidArgumentError: something is wrong; names the field.
    """
    tenant = validate.name("tenant", request.tenant)
    messages = _messages(request.messages)
    recall = request.recall
    query = recall.query or messages[-1].text.encode()[-limits.MAX_TEXT_BYTES :].decode(errors="ignore")
    return Asked(
        tenant=tenant,
        prompt=Prompt(
            messages=messages,
            max_tokens=validate.between("max_tokens", request.max_tokens, 1, limits.MAX_GENERATED_TOKENS, default=256),
            temperature=_within("temperature", request.temperature, limits.MAX_TEMPERATURE),
            top_p=_within("top_p", request.top_p, 1.0) or 1.0,
            stop=_stops(request.stop),
            seed=request.seed if request.HasField("seed") else None,
        ),
        query=validate.text("recall.query", query),
        k=0 if recall.off else validate.between("recall.k", recall.k, 1, limits.MAX_GENERATE_K, default=10),
        context_tokens=validate.between("recall.max_tokens", recall.max_tokens, 0, limits.MAX_CONTEXT_TOKENS),
        filter=validate.filter(recall.filter) if recall.HasField("filter") else None,
        min_seq=validate.min_seq(request),
        remember=request.remember,
        session=validate.name("session", request.session, limits.MAX_SESSION_BYTES, required=False),
    )


def _messages(messages: Sequence[generate_pb2.Message]) -> tuple[Message, ...]:
    if not 1 <= len(messages) <= limits.MAX_MESSAGES:
        raise InvalidArgumentError("messages", f"has {len(messages)}; must have 1 to {limits.MAX_MESSAGES}")
    for i, message in enumerate(messages):
        if message.role not in ROLES:
            raise InvalidArgumentError(f"messages[{i}].role", f"is {message.role}, which is none")
        if not message.text.strip():
            raise InvalidArgumentError(f"messages[{i}].text", "must not be empty")
    if (size := sum(len(message.text.encode()) for message in messages)) > limits.MAX_PROMPT_BYTES:
        raise InvalidArgumentError("messages", f"take {size} bytes; at most {limits.MAX_PROMPT_BYTES} are accepted")
    found = tuple(Message(ROLES[message.role], message.text) for message in messages)
    if found[-1].role != "user":
        raise InvalidArgumentError(f"messages[{len(found) - 1}].role", "the last message must be the user's")
    return found


def _stops(stops: Sequence[str]) -> tuple[str, ...]:
    if len(stops) > limits.MAX_STOPS:
        raise InvalidArgumentError("stop", f"has {len(stops)}; at most {limits.MAX_STOPS} are accepted")
    for i, stop in enumerate(stops):
        if not 1 <= len(stop.encode()) <= limits.MAX_STOP_BYTES:
            raise InvalidArgumentError(f"stop[{i}]", f"must be 1 to {limits.MAX_STOP_BYTES} bytes")
    return tuple(stops)


def _within(field: str, value: float, most: float) -> float:
    if not 0 <= value <= most:  # NaN is not
        raise InvalidArgumentError(field, f"must be 0 to {most:g}")
    return value
