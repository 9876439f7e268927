"""A request for every method, with text planted wherever a caller may write what it likes; and some refused ones."""

import json
from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message

from memsvc.v1 import auth_pb2 as auth
from memsvc.v1 import generate_pb2 as generate
from memsvc.v1 import memory_pb2 as memory
from memsvc.v1 import tenants_pb2 as tenants
from memsvc.v1 import types_pb2 as types

SERVICES = {
    service.full_name: service
    for module in (memory, tenants, generate, auth)
    for service in module.DESCRIPTOR.services_by_name.values()
}
METHODS = {f"{name}/{method.name}": method for name, service in SERVICES.items() for method in service.methods}


def entry(planted: str, id: str) -> types.Entry:
    return types.Entry(
        id=id, text=f"{planted} " * 50, session=planted, role=planted[:60], metadata_json=json.dumps({planted: planted})
    )


def requests(
    planted: str, tenant: str, operation: str, export: Sequence[bytes], key: str
) -> dict[str, list[Message | list[Any]]]:
    """By method's name: what is served, and then what is not. A list of messages is a stream of them.

    `operation` is an erasure of the tenant's, `export` a tenant's file in parts, and `key` the id of one that may go.
    """
    filtered = types.Filter(session=planted, metadata_json=json.dumps({planted: planted}))
    broken = types.Filter(metadata_json=f'{{"{planted}": ')
    opened = memory.WriteStreamRequest(open=memory.WriteStreamOpen(tenant=tenant))

    def batch(*entries: types.Entry) -> memory.WriteStreamRequest:
        return memory.WriteStreamRequest(batch=memory.WriteStreamBatch(entries=entries))

    def of_tenants(name: str, **fields: Any) -> Message:
        return getattr(tenants, f"{name}Request")(tenant=tenant, **fields)

    return {
        "CreateTenant": [
            tenants.CreateTenantRequest(tenant=types.Tenant(tenant="another")),
            tenants.CreateTenantRequest(tenant=types.Tenant(tenant="x", memory=types.MemoryConfig(preset=planted))),
            tenants.CreateTenantRequest(tenant=types.Tenant(tenant=f"{planted}\n")),
        ],
        "Write": [
            memory.WriteRequest(tenant=tenant, entries=[entry(planted, "a"), entry(planted, "b")], wait=1),
            memory.WriteRequest(tenant=tenant, entries=[entry(f"other {planted}", "a")]),
            memory.WriteRequest(tenant=tenant, entries=[types.Entry(text=planted * 8000)]),
            memory.WriteRequest(tenant=tenant, entries=[types.Entry(text="x", metadata_json=planted)]),
            memory.WriteRequest(tenant=tenant, entries=[types.Entry(text="x", session=f"{planted}\0")]),
        ],
        "WriteStream": [[opened, batch(entry(planted, "c"))], [opened, batch(entry(f"other {planted}", "a"))]],
        "Recall": [
            memory.RecallRequest(tenant=tenant, query=planted, max_tokens=500, neighbours=1),
            memory.RecallRequest(tenant=tenant, query=planted, filter=filtered),
            memory.RecallRequest(tenant=tenant, query=planted, filter=broken),
            memory.RecallRequest(tenant=tenant, query=planted, min_seq=10**9),
        ],
        "GetEntry": [memory.GetEntryRequest(tenant=tenant, id="a"), memory.GetEntryRequest(tenant=tenant, id="none")],
        "ListEntries": [
            memory.ListEntriesRequest(tenant=tenant, filter=filtered),
            memory.ListEntriesRequest(tenant=tenant, page_token=planted),
        ],
        "UpdateEntry": [
            memory.UpdateEntryRequest(tenant=tenant, entry=entry(f"new {planted}", "b"), request_id="u"),
            memory.UpdateEntryRequest(tenant=tenant, entry=entry(f"newer {planted}", "b"), request_id="u"),
        ],
        "DeleteEntry": [memory.DeleteEntryRequest(tenant=tenant, id="b", request_id="d")],
        "Feedback": [memory.FeedbackRequest(tenant=tenant, ids=["a"], useful=True, request_id="f")],
        "Generate": [
            generate.GenerateRequest(
                tenant=tenant,
                messages=[
                    generate.Message(role=generate.ROLE_SYSTEM, text=planted),
                    generate.Message(text=f"what is {planted}?"),
                ],
                stop=[f"{planted}."],
                remember=True,
                session=planted,
                recall=generate.GenerateRecall(query=planted, filter=filtered),
            ),
            generate.GenerateRequest(tenant=tenant, messages=[generate.Message(text=planted)]),
            generate.GenerateRequest(tenant=tenant, messages=[generate.Message(text=planted)], stop=[planted] * 17),
        ],
        "CreateKey": [
            auth.CreateKeyRequest(name=planted, grants=[auth.Grant(tenant=tenant, rights=[auth.RIGHT_READ])]),
            auth.CreateKeyRequest(name=f"{planted}\0", grants=[auth.Grant(tenant=tenant, rights=[auth.RIGHT_READ])]),
            auth.CreateKeyRequest(name=planted, grants=[auth.Grant(tenant=f"{planted}*", rights=[auth.RIGHT_READ])]),
        ],
        "ListKeys": [auth.ListKeysRequest(), auth.ListKeysRequest(page_token=planted)],
        "RotateKey": [auth.RotateKeyRequest(id=key), auth.RotateKeyRequest(id=planted)],
        # Some send the whole of a key for its id.
        "RevokeKey": [auth.RevokeKeyRequest(id=key), auth.RevokeKeyRequest(id=planted)],
        "GetTenant": [of_tenants("GetTenant")],
        "ListTenants": [tenants.ListTenantsRequest(), tenants.ListTenantsRequest(page_token=planted)],
        "UpdateTenant": [
            tenants.UpdateTenantRequest(
                tenant=types.Tenant(tenant=tenant, memory=types.MemoryConfig(eta=0.8)), request_id="e"
            ),
        ],
        "HotRestart": [of_tenants("HotRestart", request_id="r")],
        "WatchTenant": [of_tenants("WatchTenant")],
        "VerifyTenant": [of_tenants("VerifyTenant")],
        "ExportTenant": [of_tenants("ExportTenant")],
        "ImportTenant": [
            [tenants.ImportTenantRequest(as_tenant="imported", request_id="i", data=export[0])]
            + [tenants.ImportTenantRequest(data=data) for data in export[1:]],
            [tenants.ImportTenantRequest(as_tenant="damaged", request_id="j", data=planted.encode() * 100)],
        ],
        "RestoreTenant": [
            tenants.RestoreTenantRequest(tenant="imported", to=types.AsOf(seq=1), request_id="s"),
            tenants.RestoreTenantRequest(tenant="another", to=types.AsOf(seq=1), request_id="s2"),
        ],
        "ConfirmRestore": [tenants.ConfirmRestoreRequest(tenant="imported", request_id="c")],
        "UndoRestore": [tenants.UndoRestoreRequest(tenant="another", request_id="v")],
        "Forget": [
            memory.ForgetRequest(tenant=tenant, filter=filtered, request_id="g"),
            memory.ForgetRequest(tenant=tenant, filter=broken, request_id="h"),
        ],
        "GetErasure": [memory.GetErasureRequest(operation=operation)],
        "DeleteTenant": [of_tenants("DeleteTenant", request_id="x")],
    }
