# ruff: noqa: E501 - a table reads better with a case a line
"""Bad input: its code, a message that names the field, and nothing changed."""

import base64
import json

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from memsvc.v1.memory_pb2 import (
    GetEntryRequest,
    ListEntriesRequest,
    RecallRequest,
    WriteRequest,
    WriteStreamBatch,
    WriteStreamOpen,
    WriteStreamRequest,
)
from memsvc.v1.tenants_pb2 import CreateTenantRequest, DeleteTenantRequest, GetTenantRequest, ListTenantsRequest
from memsvc.v1.types_pb2 import Entry, Filter, MemoryConfig, Policies, Tenant

Code = grpc.StatusCode
DEEP = base64.urlsafe_b64encode(b"[" * 12_000).decode()
HALF = base64.urlsafe_b64encode(b'["\\ud800"]').decode()
LONG = "x" * (64 * 1024 + 1)


def write(tenant="t", **entry):
    return "Write", WriteRequest(tenant=tenant, entries=[Entry(**{"id": "new", "text": "fine", **entry})])


def recall(tenant="t", query="q", **fields):
    return "Recall", RecallRequest(tenant=tenant, query=query, **fields)


CASES = [
    ("empty text", write(text=""), Code.INVALID_ARGUMENT, "entries[0].text"),
    ("over-long text", write(text=LONG), Code.INVALID_ARGUMENT, "entries[0].text"),
    ("no entries", ("Write", WriteRequest(tenant="t")), Code.INVALID_ARGUMENT, "entries"),
    (
        "over-long batch",
        ("Write", WriteRequest(tenant="t", entries=[Entry(id=str(i), text="x") for i in range(1001)])),
        Code.INVALID_ARGUMENT,
        "entries",
    ),
    ("NUL in an id", write(id="a\0b"), Code.INVALID_ARGUMENT, "entries[0].id"),
    ("newline in an id", write(id="a\nb"), Code.INVALID_ARGUMENT, "entries[0].id"),
    ("over-long id", write(id="é" * 129), Code.INVALID_ARGUMENT, "entries[0].id"),
    ("NUL in a session", write(session="\0"), Code.INVALID_ARGUMENT, "entries[0].session"),
    ("over-long role", write(role="r" * 65), Code.INVALID_ARGUMENT, "entries[0].role"),
    ("metadata too large", write(metadata_json=json.dumps({"k": "v" * 16384})), Code.INVALID_ARGUMENT, "entries[0].metadata_json"),
    ("metadata no object", write(metadata_json="[1]"), Code.INVALID_ARGUMENT, "entries[0].metadata_json"),
    ("metadata no JSON", write(metadata_json='{"a": NaN}'), Code.INVALID_ARGUMENT, "entries[0].metadata_json"),
    ("deep metadata", write(metadata_json='{"a":' + "[" * 8000 + "]" * 8000 + "}"), Code.INVALID_ARGUMENT, "entries[0].metadata_json"),
    ("time out of range", write(time=Timestamp(seconds=10**12)), Code.INVALID_ARGUMENT, "entries[0].time"),
    ("vector of another width", write(vector=[1.0, 2.0]), Code.INVALID_ARGUMENT, "entries[0].vector"),
    ("zero vector", write(vector=[0.0] * 384), Code.INVALID_ARGUMENT, "entries[0].vector"),
    ("resource name given", write(name="tenants/other/entries/x"), Code.INVALID_ARGUMENT, "entries[0].name"),
    ("seq given", write(seq=3), Code.INVALID_ARGUMENT, "entries[0].seq"),
    ("unknown tenant, write", write(tenant="nobody"), Code.NOT_FOUND, None),
    ("unknown tenant, recall", recall(tenant="nobody"), Code.NOT_FOUND, None),
    ("unknown tenant, get", ("GetTenant", GetTenantRequest(tenant="nobody")), Code.NOT_FOUND, None),
    ("unknown tenant, delete", ("DeleteTenant", DeleteTenantRequest(tenant="nobody")), Code.NOT_FOUND, None),
    ("unknown tenant, list", ("ListEntries", ListEntriesRequest(tenant="nobody")), Code.NOT_FOUND, None),
    ("no tenant", write(tenant=""), Code.INVALID_ARGUMENT, "tenant"),
    ("resource name as a tenant", recall(tenant="tenants/t"), Code.NOT_FOUND, None),
    ("unknown entry", ("GetEntry", GetEntryRequest(tenant="t", id="none")), Code.NOT_FOUND, None),
    ("known id, other content", write(id="known", text="other"), Code.ALREADY_EXISTS, None),
    ("duplicate tenant", ("CreateTenant", CreateTenantRequest(tenant=Tenant(tenant="t"))), Code.ALREADY_EXISTS, None),
    ("over-long tenant", ("CreateTenant", CreateTenantRequest(tenant=Tenant(tenant="t" * 257))), Code.INVALID_ARGUMENT, "tenant.tenant"),
    (
        "depth out of range",
        ("CreateTenant", CreateTenantRequest(tenant=Tenant(tenant="n", memory=MemoryConfig(layers=13)))),
        Code.INVALID_ARGUMENT,
        "tenant.memory.layers",
    ),
    (
        "momentum out of range",
        ("CreateTenant", CreateTenantRequest(tenant=Tenant(tenant="n", memory=MemoryConfig(eta=float("nan"))))),
        Code.INVALID_ARGUMENT,
        "tenant.memory.eta",
    ),
    (
        "most entries out of range",
        ("CreateTenant", CreateTenantRequest(tenant=Tenant(tenant="n", policies=Policies(max_entries=0)))),
        Code.INVALID_ARGUMENT,
        "tenant.policies.max_entries",
    ),
    ("k out of range", recall(k=1001), Code.INVALID_ARGUMENT, "k"),
    ("k negative", recall(k=-1), Code.INVALID_ARGUMENT, "k"),
    ("empty query", recall(query=""), Code.INVALID_ARGUMENT, "query"),
    ("over-long query", recall(query=LONG), Code.INVALID_ARGUMENT, "query"),
    ("neighbours out of range", recall(neighbours=11), Code.INVALID_ARGUMENT, "neighbours"),
    ("max_tokens out of range", recall(max_tokens=-1), Code.INVALID_ARGUMENT, "max_tokens"),
    ("min_seq beyond the head", recall(min_seq=99), Code.OUT_OF_RANGE, None),
    ("min_seq negative", recall(min_seq=-1), Code.INVALID_ARGUMENT, "min_seq"),
    ("unknown operator", recall(filter=Filter(metadata_json='{"a": {"$in": [1]}}')), Code.INVALID_ARGUMENT, "filter.metadata_json"),
    ("filter no object", recall(filter=Filter(metadata_json="3")), Code.INVALID_ARGUMENT, "filter.metadata_json"),
    ("page size out of range", ("ListEntries", ListEntriesRequest(tenant="t", page_size=1001)), Code.INVALID_ARGUMENT, "page_size"),
    ("page token made up", ("ListEntries", ListEntriesRequest(tenant="t", page_token="no")), Code.INVALID_ARGUMENT, "page_token"),
    ("page token made up", ("ListTenants", ListTenantsRequest(page_token="W10=")), Code.INVALID_ARGUMENT, "page_token"),
    ("page token that is no number", ("ListEntries", ListEntriesRequest(tenant="t", page_token=DEEP)), Code.INVALID_ARGUMENT, "page_token"),
    ("page token nested deep", ("ListTenants", ListTenantsRequest(page_token=DEEP)), Code.INVALID_ARGUMENT, "page_token"),
    ("page token of half a character", ("ListTenants", ListTenantsRequest(page_token=HALF)), Code.INVALID_ARGUMENT, "page_token"),
    ("metadata nested deep", write(metadata_json='{"a":' + "[" * 80 + "]" * 80 + "}"), Code.INVALID_ARGUMENT, "entries[0].metadata_json"),
    ("read mask", ("GetTenant", GetTenantRequest(tenant="t", read_mask=FieldMask(paths=["nope"]))), Code.INVALID_ARGUMENT, "read_mask"),
    ("over-size message", ("Write", WriteRequest(tenant="t", entries=[Entry(text="x" * 60_000)] * 100)), Code.RESOURCE_EXHAUSTED, None),
]  # fmt: skip


@pytest.fixture
def tenant(client):
    client.create_tenant("t", exist_ok=True)
    from memsvc_client import Entry as ClientEntry

    client.write("t", [ClientEntry("known text", id="known")], wait="applied")
    return "t"


@pytest.mark.parametrize(("request_", "code", "field"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_each_is_refused_by_name_and_changes_nothing(client, stubs, tenant, request_, code, field) -> None:
    method, message = request_
    service = stubs.memory if hasattr(stubs.memory, method) else stubs.tenants
    before = (client.stats(tenant).state_hash, client.stats(tenant).head_seq, [t.tenant for t in client.list_tenants()])
    with pytest.raises(grpc.RpcError) as refused:
        getattr(service, method)(message, timeout=20)
    error = refused.value
    assert error.code() is code, error.details()
    assert error.details()
    if field is not None:
        assert field in error.details()
        assert _violations(error) == [field]
    after = (client.stats(tenant).state_hash, client.stats(tenant).head_seq, [t.tenant for t in client.list_tenants()])
    assert after == before


def _violations(error: grpc.RpcError) -> list[str]:
    status = rpc_status.from_call(error)
    found = []
    for detail in status.details:
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            found += [violation.field for violation in bad.field_violations]
    return found


def test_every_refusal_carries_a_reason(stubs, tenant) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        stubs.memory.GetEntry(GetEntryRequest(tenant="t", id="none"))
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(refused.value)
    assert status is not None
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("ENTRY_NOT_FOUND", "memsvc")


def test_invalid_utf8_is_the_callers_fault(client, stubs, tenant) -> None:
    raw = stubs.channel.unary_unary("/memsvc.v1.MemoryService/Write")
    good = WriteRequest(tenant="t", entries=[Entry(id="idid", text="x")]).SerializeToString()
    head = client.stats("t").head_seq
    with pytest.raises(grpc.RpcError) as refused:
        raw(good.replace(b"idid", b"\xff\xfe\xfd\xfc"))
    assert refused.value.code() is Code.INVALID_ARGUMENT
    assert "UTF-8" in refused.value.details()
    assert client.stats("t").head_seq == head


def test_a_stream_with_a_bad_batch_keeps_what_was_acknowledged(client, stubs) -> None:
    client.create_tenant("cut")
    requests = [
        WriteStreamRequest(open=WriteStreamOpen(tenant="cut")),
        WriteStreamRequest(batch=WriteStreamBatch(entries=[Entry(id="1", text="one")])),
        WriteStreamRequest(batch=WriteStreamBatch(entries=[Entry(id="2", text="two"), Entry(id="3", text="")])),
        WriteStreamRequest(batch=WriteStreamBatch(entries=[Entry(id="4", text="four")])),
    ]
    acknowledged: list[str] = []

    def stream() -> None:
        for response in stubs.memory.WriteStream(iter(requests)):
            acknowledged.extend(result.id for result in response.ack.results)

    with pytest.raises(grpc.RpcError) as refused:
        stream()
    assert refused.value.code() is Code.INVALID_ARGUMENT
    assert "batch.entries[1].text" in refused.value.details()
    assert acknowledged == ["1"]
    assert [entry.id for entry in client.list_entries("cut")] == ["1"]


@pytest.mark.parametrize(
    "messages",
    [
        [WriteStreamRequest(batch=WriteStreamBatch(entries=[Entry(text="x")]))],
        [WriteStreamRequest(open=WriteStreamOpen(tenant="t")), WriteStreamRequest(open=WriteStreamOpen(tenant="t"))],
        [WriteStreamRequest(open=WriteStreamOpen(tenant="t")), WriteStreamRequest()],
    ],
    ids=["no open", "two opens", "empty message"],
)
def test_a_stream_out_of_order_is_refused(stubs, tenant, messages) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        list(stubs.memory.WriteStream(iter(messages)))
    assert refused.value.code() is Code.INVALID_ARGUMENT
