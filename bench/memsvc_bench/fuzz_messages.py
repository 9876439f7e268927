"""Requests for every method that a server says it has, made from the descriptors or from the seeds, then damaged."""

import base64
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple, cast

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from memsvc_bench.fuzz_mutate import FLOATS, INTEGERS, STRINGS, VARINTS, damaged, varint

TENANTS = tuple(f"fuzz-{i}" for i in range(6))
"""Whom most requests are about: some are there, some come and go."""
IDS = tuple(f"e{i}" for i in range(20))
REQUEST_IDS = ("", "", "r1", "r2", "r" * 64, "r" * 65)
DEEP = 12_000
JSON = (
    *("1", "1.5", "-0.0", "1e400", "-1e400", "NaN", "Infinity", "null", "true", "[]", "{}"),
    *(str((1 << 63) - 1), str(1 << 63), str(-(1 << 64)), str(10**4000), "9" * 5000),
    *('"\\ud800"', '"\\u0000"', '{"$eq": 1}', '{"$gt": "x", "$lt": 3}', '{"$where": "1"}'),
    '{"$ne": {"a": [1, {"b": null}]}}',
    *("[" * depth + "]" * depth for depth in (63, 70, 900, 8000)),
    '{"a":' * 2000 + "1" + "}" * 2000,
)
"""Values in metadata, conditions and page tokens."""
SEEDS = "fuzz_seeds"
"""The directory of the seed corpus, in this package."""
MOST_MESSAGES = 5
"""Of one stream."""
HUGE = 0.002
"""Share of requests with a text about as large as a message may be."""


class Method(NamedTuple):
    """One method of one service."""

    path: str
    """`/package.Service/Method`."""
    client_streaming: bool
    server_streaming: bool
    request: type[Message]
    response: type[Message]

    @property
    def endless(self) -> bool:
        """Whether its answers go on until the caller leaves."""
        return "Watch" in self.path.rpartition("/")[2]


class Call(NamedTuple):
    """What is sent of one call."""

    path: str
    requests: list[bytes]
    leave_after_s: float | None = None
    """After so long the caller hangs up; None to hear the answer."""
    makes: str = ""
    """The tenant that it makes, of a file; its name is this call's alone."""


def methods_of(channel: grpc.Channel) -> list[Method]:
    """Ask a server which methods it has, by reflection, and return them in the order of their paths."""
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = DescriptorPool(database)
    found: list[Method] = []
    for name in database.get_services():
        found += map(_method, pool.FindServiceByName(name).methods)
    return sorted(found, key=lambda method: method.path)


def _method(descriptor: MethodDescriptor) -> Method:
    request = message_factory.GetMessageClass(descriptor.input_type)
    response = message_factory.GetMessageClass(descriptor.output_type)
    path = f"/{descriptor.containing_service.full_name}/{descriptor.name}"
    streaming: Any = descriptor  # the stubs do not know these two
    return Method(path, streaming.client_streaming, streaming.server_streaming, request, response)


class Messages:
    """Makes calls, each a function of the seed and its number.

    Args:
        methods: what may be called.
        seed: of all that is random.

    Raises:
        ValueError: a seed of the corpus is of a method that is not there, or is no request of it.
    """

    def __init__(self, methods: Sequence[Method], seed: int) -> None:
        self._methods, self._seed = methods, seed
        self._by_path = {method.path: method for method in methods}
        self.seeds: dict[str, list[list[Message]]] = {}
        """By path, the corpus's requests."""
        corpus = json.loads((resources.files("memsvc_bench") / SEEDS / "requests.json").read_text("utf-8"))
        for path, calls in corpus.items():
            if path not in self._by_path:
                raise ValueError(f"the corpus has requests of {path}, which the server has not")
            kind = self._by_path[path].request
            self.seeds[path] = [[json_format.ParseDict(request, kind()) for request in call] for call in calls]
        self._bytes = [m.SerializeToString() for calls in self.seeds.values() for call in calls for m in call]

    def corpus(self) -> Iterator[Call]:
        """Yield the seeds as they are."""
        for path, calls in self.seeds.items():
            for call in calls:
                yield Call(path, [message.SerializeToString() for message in call])

    def call(self, number: int) -> Call:
        """Return the call of a number."""
        rng = random.Random(f"{self._seed}/call/{number}")
        method = rng.choice(self._methods)
        seeds = self.seeds.get(method.path)
        if seeds and rng.random() < 0.7:
            messages = [_copy(message) for message in rng.choice(seeds)]
        else:
            count = rng.randint(0, MOST_MESSAGES) if method.client_streaming else 1
            messages = [made(rng, method.request()) for _ in range(count)]
        if method.client_streaming and messages and rng.random() < 0.3:
            messages.insert(rng.randrange(len(messages) + 1), _copy(rng.choice(messages)))
        for message in messages:
            while rng.random() < 0.5:
                alter(rng, message)
        requests = [message.SerializeToString() for message in messages]
        if requests and rng.random() < 0.5:
            at = rng.randrange(len(requests))
            requests[at] = wrong(rng, messages[at]) if rng.random() < 0.3 else damaged(rng, requests[at], self._bytes)
        leave = rng.choice((0.0, 0.001, 0.02)) if rng.random() < 0.03 else None
        return Call(method.path, requests, leave)


def _copy(message: Message) -> Message:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _fields(message: Message) -> list[FieldDescriptor]:
    return [cast("FieldDescriptor", field) for field in message.DESCRIPTOR.fields]


def made(rng: random.Random, message: Message, depth: int = 0) -> Message:
    """Fill a message, more or less as a caller would; returns it."""
    for field in _fields(message):
        if depth < 4 and rng.random() < (0.9 if field.name in {"tenant", "id", "query", "text"} else 0.35):
            _fill(rng, message, field, depth)
    return message


def alter(rng: random.Random, message: Message) -> None:
    """Change one field, of it or of what it has in it."""
    fields = _fields(message)
    if not fields:
        return
    field = rng.choice(fields)
    inner = [value for _, value in message.ListFields() if isinstance(value, Message)]
    if inner and rng.random() < 0.5:
        alter(rng, rng.choice(inner))
    elif rng.random() < 0.2:
        message.ClearField(field.name)
    else:
        _fill(rng, message, field, 0)


def _fill(rng: random.Random, message: Message, field: FieldDescriptor, depth: int) -> None:
    if _is_map(field):
        getattr(message, field.name).clear()
    elif field.is_repeated:
        values = getattr(message, field.name)
        for _ in range(rng.choice((1, 1, 2, 3, 20, 1001 if rng.random() < 0.02 else 1))):
            if field.message_type is not None:
                made(rng, values.add(), depth + 1)
            else:
                values.append(_scalar(rng, field))
    elif field.message_type is not None:
        inner = getattr(message, field.name)
        inner.SetInParent()
        made(rng, inner, depth + 1)
    else:
        setattr(message, field.name, _scalar(rng, field))


def _is_map(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return kind is not None and kind.GetOptions().map_entry


def _scalar(rng: random.Random, field: FieldDescriptor) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return _bytes(rng) if field.type == FieldDescriptor.TYPE_BYTES else _string(rng, field.name)
        case FieldDescriptor.CPPTYPE_BOOL:
            return rng.random() < 0.5
        case FieldDescriptor.CPPTYPE_ENUM:
            return rng.choice((*range(5), -1, 99, (1 << 31) - 1, -(1 << 31)))
        case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
            return rng.choice(FLOATS) if rng.random() < 0.5 else rng.uniform(-2, 2)
    bits = 32 if field.cpp_type in {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32} else 64
    if field.cpp_type in {FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64}:
        return rng.choice(INTEGERS) % (1 << bits)
    low = -(1 << bits - 1)
    return (rng.choice(INTEGERS) - low) % (1 << bits) + low if rng.random() < 0.5 else rng.randint(0, 20)


def _bytes(rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice((0, 1, 8, 100)))


def _string(rng: random.Random, name: str) -> str:
    if rng.random() < 0.15:
        return rng.choice(STRINGS)
    match name:
        case "tenant" | "as_tenant":
            return rng.choice(TENANTS)
        case "id" | "ids":
            return rng.choice(IDS)
        case "request_id":
            return rng.choice(REQUEST_IDS)
        case "metadata_json":
            return _json(rng)
        case "page_token":
            return base64.urlsafe_b64encode(_json(rng, token=True).encode()).decode()
        case "paths":
            return rng.choice(
                ("*", "stats", "memory.eta", "policies.ttl", "stats.head_seq", "memory", "a.b.c", "..", "name.x")
            )
        case "preset":
            return rng.choice(("default", "long-doc", "genomics", "dialogue", "none"))
        case "text" if rng.random() < HUGE:
            return "huge " * 800_000
        case "text" | "query":
            return " ".join(
                rng.choices(
                    ("acgtta", "ggatcc", "the", "memory", "of", "Lisbon", "42", "naïve", "雪"), k=rng.randint(1, 30)
                )
            )
    return rng.choice(("s1", "s2", "user", "assistant", "a b", "/x/y", "fuzz-0"))


def _json(rng: random.Random, *, token: bool = False) -> str:
    """Metadata, conditions on it or a page token: JSON, or not quite."""
    inner = rng.choice(JSON)
    if token:
        return rng.choice((f"[{inner}]", f'["fuzz-0", {inner}]', f'["u", "s", {inner}]', inner, "[" * DEEP))
    keys = ("k", "", "lang", "$gt", "\\ud800", "k" * 300)
    return rng.choice(
        (f'{{"{rng.choice(keys)}": {inner}}}', f'{{"a": 1, "a": {inner}}}', inner, f"[{inner}]", "{", "\0")
    )


def wrong(rng: random.Random, message: Message) -> bytes:
    """Return a message's bytes with a field of a wrong type, an unknown one, or much too deep."""
    numbers = [field.number for field in message.DESCRIPTOR.fields] or [1]
    number = rng.choice((*numbers, 0, 15, 1000, (1 << 29) - 1))
    whole = message.SerializeToString()
    match rng.randrange(6):
        case 0:
            return whole + varint(number << 3) + rng.choice(VARINTS)
        case 1:
            return whole + varint(number << 3 | 1) + rng.randbytes(8)
        case 2:
            return whole + varint(number << 3 | 5) + rng.randbytes(4)
        case 3:
            return whole + varint(number << 3 | 2) + b"\x04\xff\xfe\xc3\x28"
        case 4:  # groups in groups, which are never closed
            return whole + varint(number << 3 | 3) * rng.choice((1, 99, 101, 5000))
    deep = whole
    for _ in range(rng.choice((3, 99, 101, 300))):
        deep = varint(number << 3 | 2) + varint(len(deep)) + deep
    return deep


def named(call: Call, methods: Mapping[str, Method]) -> Method:
    """Return a call's method.

    Raises:
        ValueError: the server has none of that path.
    """
    if call.path not in methods:
        raise ValueError(f"the server has no method {call.path}")
    return methods[call.path]
