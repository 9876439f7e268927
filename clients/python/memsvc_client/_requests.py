"""From a caller's arguments to messages.

What a message cannot carry is refused here, naming the field; the limits are the server's to check.
"""

import math
import secrets
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from memsvc.limits import MAX_MESSAGE_BYTES, MAX_PAGE_SIZE
from memsvc.v1 import memory_pb2, tenants_pb2, types_pb2
from memsvc_client import _settings, _values
from memsvc_client.types import Entry, Moment


def new_id() -> str:
    """Return a UUIDv7 (RFC 9562) in hex: ids made later sort later, which keeps them together in the server's index."""
    milliseconds = time.time_ns() // 1_000_000 % 2**48
    bits = milliseconds << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)
    return f"{bits:032x}"


def seconds(timeout: float) -> float:
    """Return a timeout that can be used."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < math.inf:
        raise _values.wrong("timeout", "must be a number of seconds above 0")
    return float(timeout)


def tenant(value: str) -> str:
    """Return a tenant's id that a message can carry."""
    return _values.string("tenant", value)


def entry(value: Entry | str, path: str) -> types_pb2.Entry:
    """Return the message for one entry, with an id."""
    item = Entry(value) if isinstance(value, str) else value
    if not isinstance(item, Entry):
        raise _values.wrong(path, f"must be an Entry or a str, not {type(item).__name__}")
    if item.id == "":
        raise _values.wrong(f"{path}.id", "must not be empty; leave it out to have one assigned")
    return types_pb2.Entry(
        id=new_id() if item.id is None else _values.string(f"{path}.id", item.id),
        text=_values.string(f"{path}.text", item.text),
        session=_values.string(f"{path}.session", item.session or ""),
        role=_values.string(f"{path}.role", item.role or ""),
        time=_values.timestamp(f"{path}.time", item.time),
        metadata_json=_values.to_json(f"{path}.metadata", item.metadata),
        # Absent means true, so that an entry is the same bytes as from a client that does not know of it.
        learn=None if _values.boolean(f"{path}.learn", item.learn) else False,
        expire_time=_values.timestamp(f"{path}.expire", item.expire),
    )


def batch(values: Iterable[Entry | str]) -> list[types_pb2.Entry]:
    """Return the messages for the entries of one record, each with an id."""
    if not isinstance(values, Iterable) or isinstance(values, Mapping | bytes):
        raise _values.wrong("entries", f"must be entries, not {type(values).__name__}")
    entries = [entry(value, f"entries[{i}]") for i, value in enumerate(values)]
    if not entries:
        raise _values.wrong("entries", "needs at least one entry")
    return entries


def fitting(size: int) -> int:
    """Return a batch's size in bytes if one message can hold it."""
    if size > MAX_MESSAGE_BYTES:
        raise _values.wrong(
            "entries", f"the batch takes {size:,} bytes of at most {MAX_MESSAGE_BYTES:,}; write it in parts"
        )
    return size


def write(tenant_id: str, entries: Entry | str | Iterable[Entry | str], wait: str) -> memory_pb2.WriteRequest:
    """Return the request that writes one batch."""
    waits = {"durable": memory_pb2.WRITE_WAIT_DURABLE, "applied": memory_pb2.WRITE_WAIT_APPLIED}
    if wait not in waits:
        raise _values.wrong("wait", 'must be "durable" or "applied"')
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
    as_of: Moment | None,
) -> memory_pb2.RecallRequest:
    """Return the request that asks a question."""
    return memory_pb2.RecallRequest(
        tenant=tenant(tenant_id),
        query=_values.string("query", query),
        k=_values.integer("k", k, 1, _values.MAX_INT32),
        filter=filter_,
        neighbours=_values.integer("neighbours", neighbours, 0, _values.MAX_INT32),
        min_seq=None if min_seq is None else _values.integer("min_seq", min_seq, 0, _values.MAX_INT64),
        max_tokens=0 if max_tokens is None else _values.integer("max_tokens", max_tokens, 1, _values.MAX_INT32),
        as_of=None if as_of is None else moment("as_of", as_of),
    )


def moment(field: str, value: Moment) -> types_pb2.AsOf:
    """Return the message for a moment in the past."""
    if isinstance(value, datetime):
        return types_pb2.AsOf(time=_values.timestamp(field, value))
    if isinstance(value, bool) or not isinstance(value, int):
        raise _values.wrong(field, f"must be a record's seq or a datetime, not {type(value).__name__}")
    return types_pb2.AsOf(seq=_values.integer(field, value, 0, _values.MAX_INT64))


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
        session=None if session is None else _values.string("session", session),
        role=None if role is None else _values.string("role", role),
        after=_values.timestamp("after", after),
        before=_values.timestamp("before", before),
        metadata_json="" if metadata is None else _values.to_json("metadata", metadata),
    )


def get_entry(tenant_id: str, entry_id: str, as_of: Moment | None) -> memory_pb2.GetEntryRequest:
    """Return the request for one entry."""
    return memory_pb2.GetEntryRequest(
        tenant=tenant(tenant_id),
        id=_values.string("id", entry_id),
        as_of=None if as_of is None else moment("as_of", as_of),
    )


def list_entries(
    tenant_id: str, filter_: types_pb2.Filter | None, as_of: Moment | None, include_evicted: bool
) -> memory_pb2.ListEntriesRequest:
    """Return the request for the first page of entries."""
    return memory_pb2.ListEntriesRequest(
        tenant=tenant(tenant_id),
        filter=filter_,
        page_size=MAX_PAGE_SIZE,
        as_of=None if as_of is None else moment("as_of", as_of),
        include_evicted=_values.boolean("include_evicted", include_evicted),
    )


def update_entry(tenant_id: str, value: Entry) -> memory_pb2.UpdateEntryRequest:
    """Return the request for an entry's new revision."""
    if not isinstance(value, Entry):
        raise _values.wrong("entry", f"must be an Entry, not {type(value).__name__}")
    if value.id is None or value.id == "":
        raise _values.wrong("id", "must name the entry to update")
    _values.string("id", value.id)
    message = entry(value, "entry")
    if message.ByteSize() > MAX_MESSAGE_BYTES:
        raise _values.wrong("entry", f"takes {message.ByteSize():,} bytes of at most {MAX_MESSAGE_BYTES:,}")
    return memory_pb2.UpdateEntryRequest(tenant=tenant(tenant_id), entry=message, request_id=new_id())


def delete_entry(tenant_id: str, entry_id: str) -> memory_pb2.DeleteEntryRequest:
    """Return the request that hides an entry."""
    return memory_pb2.DeleteEntryRequest(
        tenant=tenant(tenant_id), id=_values.string("id", entry_id), request_id=new_id()
    )


def forget(
    tenant_id: str, ids: str | Iterable[str] | None, filter_: types_pb2.Filter | None
) -> memory_pb2.ForgetRequest:
    """Return the request that erases entries."""
    request = memory_pb2.ForgetRequest(tenant=tenant(tenant_id), request_id=new_id())
    if ids is not None:
        request.ids.extend(_ids(ids, "leave it out to select by the filter alone"))
    if filter_ is not None and filter_.ListFields():
        request.filter.CopyFrom(filter_)
    if not request.ids and not request.HasField("filter"):
        raise _values.wrong("ids", "give ids or a filter; delete_tenant is what forgets everything")
    return request


def get_erasure(operation: str, tenant_id: str | None) -> memory_pb2.GetErasureRequest:
    """Return the request for an erasure, of a tenant or of whichever."""
    return memory_pb2.GetErasureRequest(
        operation=_values.string("operation", operation), tenant="" if tenant_id is None else tenant(tenant_id)
    )


def feedback(tenant_id: str, ids: str | Iterable[str], useful: bool) -> memory_pb2.FeedbackRequest:
    """Return the request that says whether entries were useful."""
    return memory_pb2.FeedbackRequest(
        tenant=tenant(tenant_id),
        ids=_ids(ids, "name the entries"),
        useful=_values.boolean("useful", useful),
        request_id=new_id(),
    )


def create_tenant(
    tenant_id: str, preset: str | None, context_memory: str | None, settings: Mapping[str, Any]
) -> tenants_pb2.CreateTenantRequest:
    """Return the request that creates a tenant."""
    model = _values.string("context_memory", context_memory or "")
    message = types_pb2.Tenant(tenant=tenant(tenant_id), context_memory=model)
    _settings.fill(message, settings)
    if preset is not None:
        message.memory.preset = _values.string("preset", preset)
    return tenants_pb2.CreateTenantRequest(tenant=message, request_id=new_id())


def update_tenant(tenant_id: str, settings: Mapping[str, Any]) -> tenants_pb2.UpdateTenantRequest:
    """Return the request that changes a tenant's settings."""
    message = types_pb2.Tenant(tenant=tenant(tenant_id))
    mask = FieldMask(paths=_settings.fill(message, settings))
    if not mask.paths:
        raise _values.wrong("settings", "give at least one to change")
    return tenants_pb2.UpdateTenantRequest(tenant=message, update_mask=mask, request_id=new_id())


def hot_restart(tenant_id: str) -> tenants_pb2.HotRestartRequest:
    """Return the request that restarts a memory's learning."""
    return tenants_pb2.HotRestartRequest(tenant=tenant(tenant_id), request_id=new_id())


def watch(tenant_id: str, from_seq: int | None) -> tenants_pb2.WatchTenantRequest:
    """Return the request for a tenant's events."""
    seq = None if from_seq is None else _values.integer("from_seq", from_seq, 0, _values.MAX_INT64)
    return tenants_pb2.WatchTenantRequest(tenant=tenant(tenant_id), from_seq=seq)


def verify(tenant_id: str) -> tenants_pb2.VerifyTenantRequest:
    """Return the request that verifies a tenant's memory."""
    return tenants_pb2.VerifyTenantRequest(tenant=tenant(tenant_id))


def restore(tenant_id: str, to: Moment, as_tenant: str | None) -> tenants_pb2.RestoreTenantRequest:
    """Return the request that brings a tenant's past back."""
    return tenants_pb2.RestoreTenantRequest(
        tenant=tenant(tenant_id),
        to=moment("to", to),
        as_tenant=_other_tenant(as_tenant, "leave it out to restore the tenant in its own place"),
        request_id=new_id(),
    )


def confirm_restore(tenant_id: str) -> tenants_pb2.ConfirmRestoreRequest:
    """Return the request that destroys what a restored tenant was before."""
    return tenants_pb2.ConfirmRestoreRequest(tenant=tenant(tenant_id), request_id=new_id())


def undo_restore(tenant_id: str) -> tenants_pb2.UndoRestoreRequest:
    """Return the request that puts a restored tenant back."""
    return tenants_pb2.UndoRestoreRequest(tenant=tenant(tenant_id), request_id=new_id())


def export_tenant(tenant_id: str) -> tenants_pb2.ExportTenantRequest:
    """Return the request for a tenant as one file."""
    return tenants_pb2.ExportTenantRequest(tenant=tenant(tenant_id))


def import_tenant(as_tenant: str | None, rebuild: bool) -> tenants_pb2.ImportTenantRequest:
    """Return the first message of a file, without bytes."""
    return tenants_pb2.ImportTenantRequest(
        as_tenant=_other_tenant(as_tenant, "leave it out to import the tenant under its own id"),
        rebuild=_values.boolean("rebuild", rebuild),
        request_id=new_id(),
    )


def get_stats(tenant_id: str, live: bool) -> tenants_pb2.GetTenantRequest:
    """Return the request for a tenant's figures; `live` ones have no hash, for which the server would wait."""
    request = tenants_pb2.GetTenantRequest(tenant=tenant(tenant_id))
    fields = types_pb2.TenantStats.DESCRIPTOR.fields_by_name
    paths = [f"stats.{name}" for name in fields if name != "state_hash"] if live else ["stats"]
    request.read_mask.paths.extend(paths)
    return request


def get_head(tenant_id: str) -> tenants_pb2.GetTenantRequest:
    """Return the request for the seq of a log's last record."""
    request = tenants_pb2.GetTenantRequest(tenant=tenant(tenant_id))
    request.read_mask.paths.append("stats.head_seq")
    return request


def list_tenants() -> tenants_pb2.ListTenantsRequest:
    """Return the request for the first page of tenants."""
    return tenants_pb2.ListTenantsRequest(page_size=MAX_PAGE_SIZE)


def delete_tenant(tenant_id: str) -> tenants_pb2.DeleteTenantRequest:
    """Return the request that deletes a tenant."""
    return tenants_pb2.DeleteTenantRequest(tenant=tenant(tenant_id), request_id=new_id())


def _other_tenant(value: str | None, otherwise: str) -> str:
    """Return the id of a tenant to make, empty where none is given: an empty one would be taken for that."""
    if value == "":
        raise _values.wrong("as_tenant", f"must not be empty; {otherwise}")
    return "" if value is None else _values.string("as_tenant", value)


def _ids(values: str | Iterable[str], otherwise: str) -> list[str]:
    """Return ids that a message can carry: one at least, because to forget without any would select by the filter."""
    if isinstance(values, str):
        values = [values]
    if not isinstance(values, Iterable) or isinstance(values, Mapping | bytes):
        raise _values.wrong("ids", f"must be ids, not {type(values).__name__}")
    ids = [_values.string(f"ids[{i}]", value) for i, value in enumerate(values)]
    if not ids:
        raise _values.wrong("ids", f"needs at least one id; {otherwise}")
    return ids
