"""Every call of the API, made once about a tenant below `foo/`, and looked at whether it did what it is for."""

import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

import grpc

from memsvc.v1 import auth_pb2, generate_pb2, memory_pb2, tenants_pb2
from memsvc.v1.types_pb2 import AsOf, Entry, Tenant
from tests.serving import Server, Stubs

TEXT = "acgtacgtgacg"


@dataclass
class Place:
    """A server, and what its calls are about.

    Attributes:
        keys: a credential of each kind.
    """

    server: Server
    admin: Stubs
    keys: dict[str, str]
    file: bytes = b""
    numbers: Iterator[int] = field(default_factory=count)

    def tenant(self, *, written: bool = True) -> str:
        """Make a tenant of its own for a call."""
        name = self.name()
        self.admin.tenants.CreateTenant(tenants_pb2.CreateTenantRequest(tenant=Tenant(tenant=name)))
        if written:
            self.admin.memory.Write(memory_pb2.WriteRequest(tenant=name, entries=[Entry(text=TEXT, id="e")]))
        return name

    def name(self) -> str:
        return f"foo/{next(self.numbers)}"

    def restored(self) -> str:
        """Make a tenant that waits for its restore to be confirmed."""
        name = self.tenant()
        self.admin.tenants.RestoreTenant(tenants_pb2.RestoreTenantRequest(tenant=name, to=AsOf(seq=1)))
        return name

    def key(self) -> str:
        """Make a key that any administrator of `foo/*` may manage."""
        grants = [auth_pb2.Grant(tenant="foo/x", rights=[auth_pb2.RIGHT_ADMIN])]
        return self.admin.auth.CreateKey(auth_pb2.CreateKeyRequest(name="victim", grants=grants)).key.id

    def head(self, tenant: str) -> int:
        return self.admin.tenants.GetTenant(tenants_pb2.GetTenantRequest(tenant=tenant)).stats.head_seq

    def tenants(self) -> set[str]:
        request = tenants_pb2.ListTenantsRequest(page_size=1000)
        return {tenant.tenant for tenant in self.admin.tenants.ListTenants(request).tenants}


Call = Callable[[Stubs], object]


def write(place: Place) -> Call:
    tenant = place.tenant(written=False)
    request = memory_pb2.WriteRequest(tenant=tenant, entries=[Entry(text=TEXT, id="e")])

    def call(stubs: Stubs) -> None:
        assert stubs.memory.Write(request).seq == place.head(tenant) == 2

    return call


def write_stream(place: Place) -> Call:
    tenant = place.tenant(written=False)
    messages = [
        memory_pb2.WriteStreamRequest(open=memory_pb2.WriteStreamOpen(tenant=tenant)),
        memory_pb2.WriteStreamRequest(batch=memory_pb2.WriteStreamBatch(entries=[Entry(text=TEXT, id="e")])),
    ]

    def call(stubs: Stubs) -> None:
        opened, acknowledged = stubs.memory.WriteStream(iter(messages))
        assert opened.HasField("opened")
        assert acknowledged.committed_seq == place.head(tenant) == 2

    return call


def recall(place: Place) -> Call:
    request = memory_pb2.RecallRequest(tenant=place.tenant(), query=TEXT)

    def call(stubs: Stubs) -> None:
        assert [hit.entry.text for hit in stubs.memory.Recall(request).hits] == [TEXT]

    return call


def get_entry(place: Place) -> Call:
    request = memory_pb2.GetEntryRequest(tenant=place.tenant(), id="e")

    def call(stubs: Stubs) -> None:
        assert stubs.memory.GetEntry(request).text == TEXT

    return call


def list_entries(place: Place) -> Call:
    request = memory_pb2.ListEntriesRequest(tenant=place.tenant())

    def call(stubs: Stubs) -> None:
        assert [entry.id for entry in stubs.memory.ListEntries(request).entries] == ["e"]

    return call


def update_entry(place: Place) -> Call:
    request = memory_pb2.UpdateEntryRequest(tenant=place.tenant(), entry=Entry(id="e", text=TEXT * 2))

    def call(stubs: Stubs) -> None:
        assert stubs.memory.UpdateEntry(request).seq == place.head(request.tenant) == 3

    return call


def delete_entry(place: Place) -> Call:
    request = memory_pb2.DeleteEntryRequest(tenant=place.tenant(), id="e")

    def call(stubs: Stubs) -> None:
        assert stubs.memory.DeleteEntry(request).seq == place.head(request.tenant) == 3

    return call


def forget(place: Place) -> Call:
    request = memory_pb2.ForgetRequest(tenant=place.tenant(), ids=["e"])

    def call(stubs: Stubs) -> None:
        erasure = stubs.memory.Forget(request)
        assert (erasure.tenant, erasure.entries, erasure.seq) == (request.tenant, 1, 3)

    return call


def get_erasure(place: Place) -> Call:
    tenant = place.tenant()
    erasure = place.admin.memory.Forget(memory_pb2.ForgetRequest(tenant=tenant, ids=["e"]))
    request = memory_pb2.GetErasureRequest(operation=erasure.operation, tenant=tenant)

    def call(stubs: Stubs) -> None:
        assert stubs.memory.GetErasure(request).operation == erasure.operation

    return call


def feedback(place: Place) -> Call:
    request = memory_pb2.FeedbackRequest(tenant=place.tenant(), ids=["e"], useful=True)

    def call(stubs: Stubs) -> None:
        assert stubs.memory.Feedback(request).seq == place.head(request.tenant) == 3

    return call


def generate(place: Place) -> Call:
    messages = [generate_pb2.Message(text=TEXT)]
    request = generate_pb2.GenerateRequest(tenant=place.tenant(), messages=messages)

    def call(stubs: Stubs) -> None:
        # The server has no model, which it tells those alone who might use it.
        try:
            list(stubs.generate.Generate(request))
        except grpc.RpcError as error:
            if "no language model" not in (error.details() or ""):
                raise
        else:
            raise AssertionError("there is a model")

    return call


def create_tenant(place: Place) -> Call:
    name = place.name()

    def call(stubs: Stubs) -> None:
        made = stubs.tenants.CreateTenant(tenants_pb2.CreateTenantRequest(tenant=Tenant(tenant=name)))
        assert made.tenant == name
        assert name in place.tenants()

    return call


def get_tenant(place: Place) -> Call:
    request = tenants_pb2.GetTenantRequest(tenant=place.tenant())

    def call(stubs: Stubs) -> None:
        assert stubs.tenants.GetTenant(request).stats.head_seq == 2

    return call


def list_tenants(place: Place) -> Call:
    name = place.tenant()

    def call(stubs: Stubs) -> set[str]:
        listed = stubs.tenants.ListTenants(tenants_pb2.ListTenantsRequest(page_size=1000)).tenants
        shown = {tenant.tenant for tenant in listed}
        return shown if name in shown else shown | {"elsewhere"}

    return call


def delete_tenant(place: Place) -> Call:
    name = place.tenant()

    def call(stubs: Stubs) -> None:
        assert name in place.tenants()
        stubs.tenants.DeleteTenant(tenants_pb2.DeleteTenantRequest(tenant=name))
        assert name not in place.tenants()

    return call


def update_tenant(place: Place) -> Call:
    tenant = Tenant(tenant=place.tenant())
    tenant.memory.eta = 0.5

    def call(stubs: Stubs) -> None:
        assert stubs.tenants.UpdateTenant(tenants_pb2.UpdateTenantRequest(tenant=tenant)).memory.eta == 0.5

    return call


def hot_restart(place: Place) -> Call:
    request = tenants_pb2.HotRestartRequest(tenant=place.tenant())

    def call(stubs: Stubs) -> None:
        assert stubs.tenants.HotRestart(request).seq == 3

    return call


def watch_tenant(place: Place) -> Call:
    name = place.tenant()
    place.admin.tenants.HotRestart(tenants_pb2.HotRestartRequest(tenant=name))

    def call(stubs: Stubs) -> None:
        events = stubs.tenants.WatchTenant(tenants_pb2.WatchTenantRequest(tenant=name), timeout=30)
        assert next(events).kind
        events.cancel()

    return call


def verify_tenant(place: Place) -> Call:
    request = tenants_pb2.VerifyTenantRequest(tenant=place.tenant())

    def call(stubs: Stubs) -> None:
        assert stubs.tenants.VerifyTenant(request).equal

    return call


def restore_tenant(place: Place) -> Call:
    request = tenants_pb2.RestoreTenantRequest(tenant=place.tenant(), as_tenant=place.name(), to=AsOf(seq=1))

    def call(stubs: Stubs) -> None:
        assert stubs.tenants.RestoreTenant(request).tenant == request.as_tenant
        assert place.head(request.as_tenant) == 1

    return call


def confirm_restore(place: Place) -> Call:
    request = tenants_pb2.ConfirmRestoreRequest(tenant=place.restored())

    def call(stubs: Stubs) -> None:
        stubs.tenants.ConfirmRestore(request)
        assert place.head(request.tenant) == 1

    return call


def undo_restore(place: Place) -> Call:
    request = tenants_pb2.UndoRestoreRequest(tenant=place.restored())

    def call(stubs: Stubs) -> None:
        assert stubs.tenants.UndoRestore(request).tenant == request.tenant
        assert place.head(request.tenant) == 2

    return call


def export_tenant(place: Place) -> Call:
    request = tenants_pb2.ExportTenantRequest(tenant=place.tenant())

    def call(stubs: Stubs) -> None:
        assert sum(len(part.data) for part in stubs.tenants.ExportTenant(request)) > len(TEXT)

    return call


def import_tenant(place: Place) -> Call:
    name = place.name()

    def call(stubs: Stubs) -> None:
        messages = [tenants_pb2.ImportTenantRequest(as_tenant=name, data=place.file)]
        assert stubs.tenants.ImportTenant(iter(messages)).tenant.tenant == name
        assert place.head(name) == 2

    return call


def create_key(place: Place) -> Call:
    grants = [auth_pb2.Grant(tenant="foo/x", rights=[auth_pb2.RIGHT_ADMIN])]
    request = auth_pb2.CreateKeyRequest(name=secrets.token_hex(4), grants=grants)

    def call(stubs: Stubs) -> None:
        with Stubs(place.server.target, stubs.auth.CreateKey(request).secret) as made:
            assert made.auth.ListKeys(auth_pb2.ListKeysRequest()).keys

    return call


def list_keys(place: Place) -> Call:
    id = place.key()

    def call(stubs: Stubs) -> set[str]:
        listed = stubs.auth.ListKeys(auth_pb2.ListKeysRequest(page_size=1000)).keys
        reached = {grant.tenant for key in listed for grant in key.grants}
        return reached if id in {key.id for key in listed} else reached | {"elsewhere"}

    return call


def rotate_key(place: Place) -> Call:
    request = auth_pb2.RotateKeyRequest(id=place.key())

    def call(stubs: Stubs) -> None:
        with Stubs(place.server.target, stubs.auth.RotateKey(request).secret) as rotated:
            assert rotated.auth.ListKeys(auth_pb2.ListKeysRequest()).keys

    return call


def revoke_key(place: Place) -> Call:
    request = auth_pb2.RevokeKeyRequest(id=place.key())

    def call(stubs: Stubs) -> None:
        listed = place.admin.auth.ListKeys(auth_pb2.ListKeysRequest(page_size=1000)).keys
        assert [key.HasField("revoke_time") for key in listed if key.id == request.id] == [False]
        assert stubs.auth.RevokeKey(request).HasField("revoke_time")

    return call


def caller_of(method: str) -> Callable[[Place], Call]:
    """What prepares the call of a method, and makes it, and looks at what came of it."""
    found: Callable[[Place], Call] = globals()[re.sub(r"(?<!^)(?=[A-Z])", "_", method).lower()]
    return found
