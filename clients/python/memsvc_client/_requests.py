"""From a caller's arguments to messages.

What a message cannot carry is refused here, naming the field; the limits are the server's to check.
"""

import json
import math
import secrets
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from memsvc.limits import MAX_MESSAGE_BYTES, MAX_PAGE_SIZE
from memsvc.v1 import memory_pb2, tenants_pb2, types_pb2
from memsvc_client.errors import InvalidArgumentError
from memsvc_client.types import Entry

_MAX_INT32, _MAX_INT64 = 2**31 - 1, 2**63 - 1


def new_id() -> str:
    """Return a UUIDv7 (RFC 9562) in hex: ids made later sort later, which keeps them together in the server's index."""
    milliseconds = time.time_ns() // 1_000_000 % 2**48
    bits = milliseconds << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)
    return f"{bits:032x}"


def seconds(timeout: float) -> float:
    """Return a timeout that can be used."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < math.inf:
        raise _wrong("timeout", "must be a number of seconds above 0")
    return float(timeout)


def tenant(value: str) -> str:
    """Return a tenant's id that a message can carry."""
    return _string("tenant", value)


def entry(value: Entry | str, path: str) -> types_pb2.Entry:
    """Return the message for one entry, with an id."""
    item = Entry(value) if isinstance(value, str) else value
    if not isinstance(item, Entry):
        raise _wrong(path, f"must be an Entry or a str, not {type(item).__name__}")
    if item.id == "":
        raise _wrong(f"{path}.id", "must not be empty; leave it out to have one assigned")
    return types_pb2.Entry(
        id=new_id() if item.id is None else _string(f"{path}.id", item.id),
        text=_string(f"{path}.text", item.text),
        session=_string(f"{path}.session", item.session or ""),
        role=_string(f"{path}.role", item.role or ""),
        time=_timestamp(f"{path}.time", item.time),
        metadata_json=_json(f"{path}.metadata", item.metadata),
    )


def batch(values: Iterable[Entry | str]) -> list[types_pb2.Entry]:
    """Return the messages for the entries of one record, each with an id."""
    if not isinstance(values, Iterable) or isinstance(values, Mapping | bytes):
        raise _wrong("entries", f"must be entries, not {type(values).__name__}")
    entries = [entry(value, f"entries[{i}]") for i, value in enumerate(values)]
    if not entries:
        raise _wrong("entries", "needs at least one entry")
    return entries


def fitting(size: int) -> int:
    """Return a batch's size in bytes if one message can hold it."""
    if size > MAX_MESSAGE_BYTES:
        raise _wrong("entries", f"the batch takes {size:,} bytes of at most {MAX_MESSAGE_BYTES:,}; write it in parts")
    return size


def write(tenant_id: str, entries: Entry | str | Iterable[Entry | str], wait: str) -> memory_pb2.WriteRequest:
    """Return the request that writes one batch."""
    waits = {"durable": memory_pb2.WRITE_WAIT_DURABLE, "applied": memory_pb2.WRITE_WAIT_APPLIED}
    if wait not in waits:
        raise _wrong("wait", 'must be "durable" or "applied"')
    values = [entries] if isinstance(entries, Entry | str) else entries
    request = memory_pb2.WriteRequest(tenant=tenant(tenant_id), entries=batch(values), wait=waits[wait])
    fitting(request.ByteSize())
    return request


def recall(  # noqa: PLR0917
    tenant_id: str,
    query: str,
    k: int,
    filter_: types_pb2.Filter | None,
    neighbours: int,
    min_seq: int | None,
    max_tokens: int | None,
) -> memory_pb2.RecallRequest:
    """Return the request that asks a question."""
    return memory_pb2.RecallRequest(
        tenant=tenant(tenant_id),
        query=_string("query", query),
        k=_integer("k", k, 1, _MAX_INT32),
        filter=filter_,
        neighbours=_integer("neighbours", neighbours, 0, _MAX_INT32),
        min_seq=None if min_seq is None else _integer("min_seq", min_seq, 0, _MAX_INT64),
        max_tokens=0 if max_tokens is None else _integer("max_tokens", max_tokens, 1, _MAX_INT32),
    )


def entry_filter(
    session: str | None,
    role: str | None,
    after: datetime | None,
    before: datetime | None,
    metadata: Mapping[str, Any] | None,
) -> types_pb2.Filter | None:
    """Return the filter, None when it has no condition."""
    if all(condition is None for condition in (session, role, after, before, metadata)):
        return None
    return types_pb2.Filter(
        session=None if session is None else _string("session", session),
        role=None if role is None else _string("role", role),
        after=_timestamp("after", after),
        before=_timestamp("before", before),
        metadata_json="" if metadata is None else _json("metadata", metadata),
    )


def get_entry(tenant_id: str, entry_id: str) -> memory_pb2.GetEntryRequest:
    """Return the request for one entry."""
    return memory_pb2.GetEntryRequest(tenant=tenant(tenant_id), id=_string("id", entry_id))


def list_entries(tenant_id: str, filter_: types_pb2.Filter | None) -> memory_pb2.ListEntriesRequest:
    """Return the request for the first page of entries."""
    return memory_pb2.ListEntriesRequest(tenant=tenant(tenant_id), filter=filter_, page_size=MAX_PAGE_SIZE)


def create_tenant(tenant_id: str) -> tenants_pb2.CreateTenantRequest:
    """Return the request that creates a tenant."""
    return tenants_pb2.CreateTenantRequest(tenant=types_pb2.Tenant(tenant=tenant(tenant_id)), request_id=new_id())


def get_stats(tenant_id: str) -> tenants_pb2.GetTenantRequest:
    """Return the request for a tenant's figures."""
    request = tenants_pb2.GetTenantRequest(tenant=tenant(tenant_id))
    request.read_mask.paths.append("stats")
    return request


def list_tenants() -> tenants_pb2.ListTenantsRequest:
    """Return the request for the first page of tenants."""
    return tenants_pb2.ListTenantsRequest(page_size=MAX_PAGE_SIZE)


def delete_tenant(tenant_id: str) -> tenants_pb2.DeleteTenantRequest:
    """Return the request that deletes a tenant."""
    return tenants_pb2.DeleteTenantRequest(tenant=tenant(tenant_id), request_id=new_id())


def _wrong(field: str, message: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"{field}: {message}", field=field)


def _string(field: str, value: str) -> str:
    if not isinstance(value, str):
        raise _wrong(field, f"must be a str, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _wrong(field, f"has a lone surrogate at {error.start}") from None
    return value


def _integer(field: str, value: int, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _wrong(field, f"must be a whole number of {low} or more")
    return value


def _timestamp(field: str, value: datetime | None) -> Timestamp | None:
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise _wrong(field, f"must be a datetime, not {type(value).__name__}")
    if value.utcoffset() is None:
        raise _wrong(field, "has no time zone; give one, for example datetime.now(timezone.utc)")
    try:
        stamp = Timestamp()
        stamp.FromDatetime(value)
    except (ValueError, OverflowError):
        raise _wrong(field, "must be in the years 1 to 9999 of UTC") from None
    return stamp


def _json(field: str, value: Mapping[str, Any]) -> str:
    """Return the object as JSON; the empty one as an empty string."""
    if not isinstance(value, Mapping):
        raise _wrong(field, f"must be a JSON object (a dict), not {type(value).__name__}")
    if not value:
        return ""
    try:
        text = json.dumps(dict(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise _wrong(field, f"cannot be written as JSON: {error}") from None
    if not _has_string_keys(value):
        raise _wrong(field, "must have strings for keys, as every JSON object has")
    return _string(field, text)


def _has_string_keys(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _has_string_keys(item) for key, item in value.items())
    return not isinstance(value, list | tuple) or all(map(_has_string_keys, value))
