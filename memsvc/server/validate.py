"""From a request's fields to what the engine takes, or an error that names the field."""

import base64
import json
import math
import uuid
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from memsvc import limits, names
from memsvc.backbone.titans_mac.shelf import IDENTITY, NAME
from memsvc.engine.past import Moment
from memsvc.errors import FailedPreconditionError, InvalidArgumentError
from memsvc.recall.filter import Filter
from memsvc.recall.metadata import parse_object
from memsvc.store.types import Payload
from memsvc.tenant.record import Content, encode_payload
from memsvc.v1 import generate_pb2, memory_pb2, types_pb2

name = names.name
Where = TypeVar("Where", int, str)
MAX_PAGE_TOKEN_BYTES = 4096
"""Well over what any of ours has."""


def request_id(value: str) -> str:
    """Check a request's id, which may be empty."""
    return name("request_id", value, limits.MAX_REQUEST_ID_BYTES, required=False)


def text(field: str, value: str) -> str:
    """Check a text: 1 byte to 64 KiB."""
    if not value:
        raise InvalidArgumentError(field, "must not be empty")
    size = len(value.encode())
    if size > limits.MAX_TEXT_BYTES:
        raise InvalidArgumentError(field, f"is {size} bytes; at most {limits.MAX_TEXT_BYTES} are accepted, so split it")
    return value


def model(field: str, value: str) -> str:
    """Check the name of a context memory's model, `<name>` or `<name>@<hash>`, which may be empty."""
    if value and not (NAME.fullmatch(value) or IDENTITY.fullmatch(value)):
        raise InvalidArgumentError(field, "must be the name of a model, or <name>@<12 digits of its hash>")
    return value


def between(field: str, value: int, low: int, high: int, default: int | None = None) -> int:
    """Check a number; 0 takes the default where there is one."""
    if value == 0 and default is not None:
        return default
    if not low <= value <= high:
        raise InvalidArgumentError(field, f"is {value}; must be {low} to {high}")
    return value


def min_seq(request: memory_pb2.RecallRequest | generate_pb2.GenerateRequest) -> int | None:
    """Return the record that a reader waits for; None where it names none."""
    if not request.HasField("min_seq"):
        return None
    if request.min_seq < 0:
        raise InvalidArgumentError("min_seq", "must not be negative")
    return request.min_seq


def micros(field: str, value: Timestamp) -> int:
    """Return a time in microseconds since the epoch."""
    if not 0 <= value.nanos < 1_000_000_000:
        raise InvalidArgumentError(field, "has nanos outside 0 to 999,999,999")
    us = value.seconds * 1_000_000 + value.nanos // 1_000
    if not limits.MIN_TIME_US <= us <= limits.MAX_TIME_US:
        raise InvalidArgumentError(field, "must lie in the years 1 to 9999")
    return us


def metadata(field: str, value: str) -> str:
    """Check metadata: a JSON object up to 16 KiB that the index can read, kept as given."""
    if len(value.encode()) > limits.MAX_METADATA_BYTES:
        raise InvalidArgumentError(field, f"must be at most {limits.MAX_METADATA_BYTES} bytes")
    parse_object(value, field)
    return value


def vector(field: str, values: Sequence[float], dim: int) -> bytes:
    """Return a given embedding, normalised, as little-endian float32."""
    if not values:
        return b""
    if len(values) != dim:
        raise InvalidArgumentError(field, f"has {len(values)} values; this server's encoder has {dim}")
    array = np.asarray(values, "<f4")
    norm = float(np.linalg.norm(array.astype(np.float64)))
    if not math.isfinite(norm) or norm == 0:
        raise InvalidArgumentError(field, "must be finite and not zero")
    return (array / np.float32(norm)).astype("<f4").tobytes()


def payloads(field: str, entries: Sequence[types_pb2.Entry], dim: int) -> list[Payload]:
    """Check a batch and pack it for the store; ids are assigned where absent."""
    if not entries:
        raise InvalidArgumentError(field, "must not be empty")
    if len(entries) > limits.MAX_BATCH_ENTRIES:
        raise InvalidArgumentError(field, f"has {len(entries)}; a batch has at most {limits.MAX_BATCH_ENTRIES}")
    return [payload(f"{field}[{i}]", entry, dim) for i, entry in enumerate(entries)]


def payload(at: str, entry: types_pb2.Entry, dim: int) -> Payload:
    """Check an entry and pack it for the store; the id is assigned where absent."""
    for output_only in ("name", "seq", "commit_time"):
        present = entry.HasField("commit_time") if output_only == "commit_time" else getattr(entry, output_only)
        if present:
            raise InvalidArgumentError(f"{at}.{output_only}", "is output only")
    content = Content(
        text=text(f"{at}.text", entry.text),
        session=name(f"{at}.session", entry.session, limits.MAX_SESSION_BYTES, required=False),
        role=name(f"{at}.role", entry.role, limits.MAX_ROLE_BYTES, required=False),
        time_us=micros(f"{at}.time", entry.time) if entry.HasField("time") else None,
        metadata_json=metadata(f"{at}.metadata_json", entry.metadata_json),
        vector=vector(f"{at}.vector", entry.vector, dim),
        learn=entry.learn if entry.HasField("learn") else True,
        expire_us=micros(f"{at}.expire_time", entry.expire_time) if entry.HasField("expire_time") else None,
    )
    if entry.id:
        return encode_payload(name(f"{at}.id", entry.id), content)
    return encode_payload(uuid.uuid4().hex, content, id_assigned=True)


def as_of(field: str, value: types_pb2.AsOf) -> Moment:
    """Check a moment of the past."""
    match value.WhichOneof("moment"):
        case "seq":
            return Moment(seq=value.seq)
        case "time":
            return Moment(time_us=micros(f"{field}.time", value.time))
        case _:
            raise InvalidArgumentError(field, "must be a seq or a time")


def filter(value: types_pb2.Filter) -> Filter:
    """Check a filter."""
    after = micros("filter.after", value.after) if value.HasField("after") else None
    before = micros("filter.before", value.before) if value.HasField("before") else None
    return Filter.parse(
        session=value.session if value.HasField("session") else None,
        role=value.role if value.HasField("role") else None,
        after_us=after,
        before_us=before,
        metadata_json=value.metadata_json,
    )


def page_token(*values: Any) -> str:
    """Pack where a listing goes on."""
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


def read_page_token(token: str, first: Where, *expected: Any) -> Where:
    """Return a page token's last value, `first` for an empty one, after checking its type and those before it.

    Raises:
        InvalidArgumentError: it is none of ours, or the other fields have changed since.
        FailedPreconditionError: the tenant was deleted and created again since.
    """
    if not token:
        return first
    other = InvalidArgumentError("page_token", "was not returned by this method")
    if len(token) > MAX_PAGE_TOKEN_BYTES:
        raise other
    try:
        values = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, RecursionError) as error:
        raise other from error
    if not isinstance(values, list) or len(values) != len(expected) + 1:
        raise other
    if expected and values[0] != expected[0]:
        raise FailedPreconditionError(
            "page_token: the tenant was deleted and created again since", reason="OTHER_TENANT"
        )
    if values[1:-1] != list(expected[1:]):
        raise InvalidArgumentError("page_token", "every other field must be as it was for the last page")
    last = values[-1]
    if type(last) is not type(first) or (isinstance(last, int) and not 0 <= last < 1 << 63):
        raise other
    return name("page_token", last) if isinstance(last, str) else last
