"""A server that asks for credentials: who gets in, how far, and what is written down of it."""

import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from memsvc_client._status import to_error

from memsvc.auth.keys import new_secret
from memsvc.v1 import auth_pb2, memory_pb2, tenants_pb2
from memsvc.v1.auth_pb2 import RIGHT_ADMIN, RIGHT_READ, RIGHT_WRITE
from memsvc.v1.types_pb2 import Entry, Tenant
from tests.serving import Server, Stubs

TEXT = "acgtacgtgacg"
SECONDS = 30


@pytest.fixture(scope="module")
def admin_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("secrets") / "admin"
    path.write_text(secrets.token_hex(32) + "\n")
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory, admin_file) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("auth") / "data"
    with Server(data, auth=True, auth_admin_key_file=admin_file, log_json=True) as server:
        with Stubs(server.target, admin_file.read_text().strip()) as admin:
            for tenant in ("foo", "foo/a", "foo/b", "foobar", "zoo"):
                admin.tenants.CreateTenant(tenants_pb2.CreateTenantRequest(tenant=Tenant(tenant=tenant)))
        yield server


@pytest.fixture
def admin(server, admin_file) -> Iterator[Stubs]:
    with Stubs(server.target, admin_file.read_text().strip()) as stubs:
        yield stubs


@pytest.fixture
def holder(server, admin) -> Iterator:
    """Make stubs that hold a key with these grants."""
    opened = []

    def make(**grants: list[int]) -> Stubs:
        patterns = {"foo": "foo", "inside": "foo/*", "everywhere": "*"}
        asked = [auth_pb2.Grant(tenant=patterns[name], rights=rights) for name, rights in grants.items()]
        made = admin.auth.CreateKey(auth_pb2.CreateKeyRequest(name="test", grants=asked))
        opened.append(Stubs(server.target, made.secret))
        opened[-1].key, opened[-1].secret = made.key, made.secret
        return opened[-1]

    yield make
    for stubs in opened:
        stubs.channel.close()


def refused(call, *args) -> tuple[grpc.StatusCode, str, str]:
    """The code, the reason and the words of a call that is refused."""
    with pytest.raises(grpc.RpcError) as caught:  # noqa: PT012  a stream is refused when it is read
        answer = call(*args)
        list(answer if hasattr(answer, "__iter__") else [])
    error = to_error(caught.value, "the server")
    return error.code, error.reason, str(error)


def written(server: Server, **wanted: str) -> list[dict]:
    """The audit log's lines with these values."""
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "audit" and wanted.items() <= line.items()]


DENIED = (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED", "the credential does not reach so far")


def test_health_is_open_and_reflection_is_not_there(server):
    with grpc.insecure_channel(server.target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "liveness", "memsvc.v1.AuthService"):
            assert health.Check(health_pb2.HealthCheckRequest(service=name)).status == 1
        ask = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        code, *_ = refused(ask, iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        assert code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ([], "CREDENTIAL_MISSING"),
        ([("authorization", "")], "CREDENTIAL_INVALID"),
        ([("authorization", "Bearer")], "CREDENTIAL_INVALID"),
        ([("authorization", "Bearer ")], "CREDENTIAL_INVALID"),
        ([("authorization", "Basic dXNlcjpwYXNz")], "CREDENTIAL_INVALID"),
        ([("authorization", "Bearer nonsense")], "CREDENTIAL_INVALID"),
        ([("authorization", f"Bearer {new_secret('0' * 16)}")], "CREDENTIAL_INVALID"),
        ([("authorization", "Bearer " + "x" * 7000)], "CREDENTIAL_INVALID"),
        ([("authorization", f"Bearer {new_secret('0' * 16)}")] * 2, "CREDENTIAL_INVALID"),
    ],
)
def test_without_a_valid_credential_nothing_is_answered(server, metadata, reason):
    with Stubs(server.target) as stubs:
        for tenant in ("foo", "nobody"):
            request = memory_pb2.RecallRequest(tenant=tenant, query="q")
            code, found, words = refused(lambda request=request: stubs.memory.Recall(request, metadata=metadata))
            assert (code, found) == (grpc.StatusCode.UNAUTHENTICATED, reason)
            assert all(value.removeprefix("Bearer ") not in words for _, value in metadata if len(value) > 10)


def test_the_scheme_is_read_in_any_case(server, admin_file):
    with Stubs(server.target) as stubs:
        for scheme in ("bearer", "BEARER", "Bearer "):
            metadata = [("authorization", f"{scheme} {admin_file.read_text().strip()}")]
            assert (
                stubs.tenants.GetTenant(tenants_pb2.GetTenantRequest(tenant="foo"), metadata=metadata).tenant == "foo"
            )


@pytest.mark.parametrize("tenant", ["foo", "foobar", "nobody"])
def test_out_of_reach_is_the_same_whether_it_is_there_or_not(holder, tenant):
    mine = holder(inside=[RIGHT_READ, RIGHT_WRITE, RIGHT_ADMIN])
    opening = [memory_pb2.WriteStreamRequest(open=memory_pb2.WriteStreamOpen(tenant=tenant))]
    for call, request in (
        (mine.memory.Recall, memory_pb2.RecallRequest(tenant=tenant, query="q")),
        (mine.memory.Write, memory_pb2.WriteRequest(tenant=tenant, entries=[Entry(text=TEXT)])),
        (mine.memory.WriteStream, iter(opening)),
        (mine.tenants.WatchTenant, tenants_pb2.WatchTenantRequest(tenant=tenant)),
        (mine.tenants.CreateTenant, tenants_pb2.CreateTenantRequest(tenant=Tenant(tenant=tenant))),
        (mine.tenants.DeleteTenant, tenants_pb2.DeleteTenantRequest(tenant=tenant)),
        (mine.tenants.ExportTenant, tenants_pb2.ExportTenantRequest(tenant=tenant)),
        (mine.memory.GetErasure, memory_pb2.GetErasureRequest(tenant=tenant, operation="x")),
    ):
        assert refused(call, request) == DENIED


def test_a_listing_shows_what_is_in_reach_alone(holder, admin):
    def listed(stubs: Stubs, page: int = 100) -> tuple[list[str], list[str]]:
        names, tokens = [], [""]
        while True:
            request = tenants_pb2.ListTenantsRequest(page_size=page, page_token=tokens[-1])
            answer = stubs.tenants.ListTenants(request)
            names += [tenant.tenant for tenant in answer.tenants]
            tokens.append(answer.next_page_token)
            if not tokens[-1]:
                return names, tokens

    assert {"foo", "foo/a", "foo/b", "foobar", "zoo"} <= set(listed(admin)[0])
    inside = holder(inside=[RIGHT_READ])
    assert listed(inside) == (["foo/a", "foo/b"], ["", ""])
    assert listed(inside, page=1)[0] == ["foo/a", "foo/b"]
    # A token of somebody who sees more names a tenant that is out of reach, and shows nothing of it.
    (_, token, *_) = listed(admin, page=1)[1]
    answer = inside.tenants.ListTenants(tenants_pb2.ListTenantsRequest(page_token=token))
    assert [tenant.tenant for tenant in answer.tenants] == ["foo/a", "foo/b"]
    assert listed(holder(foo=[RIGHT_READ, RIGHT_WRITE]))[0] == ["foo"]
    assert refused(listed, holder(everywhere=[RIGHT_WRITE])) == DENIED


def test_a_stream_ends_when_its_credential_is_revoked(holder, admin):
    mine = holder(foo=[RIGHT_WRITE])
    requests: Queue[memory_pb2.WriteStreamRequest | None] = Queue()
    batch = memory_pb2.WriteStreamRequest(batch=memory_pb2.WriteStreamBatch(entries=[Entry(text=TEXT)]))
    answers = mine.memory.WriteStream(iter(requests.get, None))
    requests.put(memory_pb2.WriteStreamRequest(open=memory_pb2.WriteStreamOpen(tenant="foo")))
    assert next(answers).HasField("opened")
    requests.put(batch)
    assert next(answers).HasField("ack")
    admin.auth.RevokeKey(auth_pb2.RevokeKeyRequest(id=mine.key.id))
    requests.put(batch)
    code, reason, _ = refused(lambda: answers)
    requests.put(None)
    assert (code, reason) == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIAL_REVOKED")


def test_a_watch_ends_at_the_next_event_when_its_credential_is_revoked(holder, admin):
    mine = holder(foo=[RIGHT_READ])
    watch = mine.tenants.WatchTenant(tenants_pb2.WatchTenantRequest(tenant="foo"), timeout=SECONDS)
    admin.tenants.HotRestart(tenants_pb2.HotRestartRequest(tenant="foo"))
    next(watch)
    admin.auth.RevokeKey(auth_pb2.RevokeKeyRequest(id=mine.key.id))
    admin.tenants.HotRestart(tenants_pb2.HotRestartRequest(tenant="foo"))
    code, reason, _ = refused(lambda: watch)
    assert (code, reason) == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIAL_REVOKED")


def test_a_file_is_imported_under_names_in_reach_alone(holder, admin):
    """The name in the file counts where the request has none."""
    admin.memory.Write(memory_pb2.WriteRequest(tenant="zoo", entries=[Entry(text=TEXT)]))
    file = b"".join(part.data for part in admin.tenants.ExportTenant(tenants_pb2.ExportTenantRequest(tenant="zoo")))

    def messages(as_tenant: str = "") -> Iterator[tenants_pb2.ImportTenantRequest]:
        yield tenants_pb2.ImportTenantRequest(as_tenant=as_tenant, data=file[:10])
        yield tenants_pb2.ImportTenantRequest(data=file[10:])

    mine = holder(inside=[RIGHT_READ, RIGHT_WRITE, RIGHT_ADMIN])
    assert refused(mine.tenants.ImportTenant, messages()) == DENIED
    assert refused(mine.tenants.ImportTenant, messages("foobar2")) == DENIED
    late = [tenants_pb2.ImportTenantRequest(as_tenant="foo/n"), tenants_pb2.ImportTenantRequest(as_tenant="x")]
    assert refused(mine.tenants.ImportTenant, iter(late)) == DENIED
    assert mine.tenants.ImportTenant(messages("foo/new")).tenant.tenant == "foo/new"
    mine.tenants.DeleteTenant(tenants_pb2.DeleteTenantRequest(tenant="foo/new"))


def test_a_restore_reaches_both_its_tenants_or_none(holder):
    mine = holder(inside=[RIGHT_READ, RIGHT_ADMIN])
    request = tenants_pb2.RestoreTenantRequest(tenant="foo/a", as_tenant="foobar")
    request.to.seq = 1
    assert refused(mine.tenants.RestoreTenant, request) == DENIED
    request.as_tenant = "foo/restored"
    assert mine.tenants.RestoreTenant(request).tenant == "foo/restored"
    mine.tenants.DeleteTenant(tenants_pb2.DeleteTenantRequest(tenant="foo/restored"))


def test_an_erasure_is_told_of_to_its_tenants_own(holder, admin):
    mine = holder(foo=[RIGHT_WRITE])
    mine.memory.Write(memory_pb2.WriteRequest(tenant="foo", entries=[Entry(text=TEXT, id="gone")]))
    erasure = mine.memory.Forget(memory_pb2.ForgetRequest(tenant="foo", ids=["gone"]))
    ask = memory_pb2.GetErasureRequest(operation=erasure.operation, tenant="foo")
    assert mine.memory.GetErasure(ask).operation == erasure.operation
    ask.tenant = ""
    assert refused(mine.memory.GetErasure, ask) == DENIED
    assert admin.memory.GetErasure(ask).operation == erasure.operation
    inside = holder(inside=[RIGHT_WRITE])
    answers = set()
    for operation in (erasure.operation, "0" * len(erasure.operation)):
        ask = memory_pb2.GetErasureRequest(operation=operation, tenant="foo/a")
        answers.add(refused(inside.memory.GetErasure, ask))
    assert [code for code, *_ in answers] == [grpc.StatusCode.NOT_FOUND]


def test_an_erasure_names_no_copy_that_is_out_of_reach(holder, admin):
    admin.tenants.CreateTenant(tenants_pb2.CreateTenantRequest(tenant=Tenant(tenant="foo/copied")))
    admin.memory.Write(memory_pb2.WriteRequest(tenant="foo/copied", entries=[Entry(text=TEXT, id="gone")]))
    copies = ["foo/near", "zoo/far"]
    for as_tenant in copies:
        request = tenants_pb2.RestoreTenantRequest(tenant="foo/copied", as_tenant=as_tenant)
        request.to.seq = 2
        admin.tenants.RestoreTenant(request)
    mine = holder(inside=[RIGHT_WRITE])
    erasure = mine.memory.Forget(memory_pb2.ForgetRequest(tenant="foo/copied", ids=["gone"]))
    told = ["tenant foo/near", "a tenant out of reach"]
    assert list(erasure.copies) == told
    ask = memory_pb2.GetErasureRequest(operation=erasure.operation, tenant="foo/copied")
    assert list(mine.memory.GetErasure(ask).copies) == told
    for named in ("foo/copied", ""):
        ask.tenant = named
        assert list(admin.memory.GetErasure(ask).copies) == ["tenant foo/near", "tenant zoo/far"]
    for tenant in ("foo/copied", *copies):
        admin.tenants.DeleteTenant(tenants_pb2.DeleteTenantRequest(tenant=tenant))


def test_keys_are_listed_page_by_page_without_secrets(admin, holder):
    made = [holder(foo=[RIGHT_READ]) for _ in range(3)]
    found, token = [], ""
    while True:
        answer = admin.auth.ListKeys(auth_pb2.ListKeysRequest(page_size=2, page_token=token))
        assert len(answer.keys) <= 2
        found += answer.keys
        if not (token := answer.next_page_token):
            break
    ids = [key.id for key in found]
    assert ids == sorted(set(ids))
    assert {stubs.key.id for stubs in made} <= set(ids)
    assert not any(stubs.secret.rpartition("_")[2] in str(found) for stubs in made)


def test_who_administers_a_part_manages_the_keys_of_that_part(holder, admin):
    part = holder(inside=[RIGHT_READ, RIGHT_ADMIN])

    def create(tenant: str, *rights: int):
        grants = [auth_pb2.Grant(tenant=tenant, rights=rights)]
        return part.auth.CreateKey(auth_pb2.CreateKeyRequest(name="given", grants=grants))

    given = create("foo/a", RIGHT_READ)
    for tenant, rights in (
        ("foo/a", [RIGHT_WRITE]),
        ("foo/a", [RIGHT_READ, RIGHT_WRITE]),
        ("foo", [RIGHT_READ]),
        ("*", [RIGHT_READ]),
    ):
        assert refused(create, tenant, *rights) == DENIED
    rights = [RIGHT_READ, RIGHT_WRITE]
    stronger = admin.auth.CreateKey(
        auth_pb2.CreateKeyRequest(name="stronger", grants=[auth_pb2.Grant(tenant="foo/a", rights=rights)])
    ).key
    outside = holder(foo=[RIGHT_READ]).key
    listed = {key.id for key in part.auth.ListKeys(auth_pb2.ListKeysRequest(page_size=1000)).keys}
    assert {given.key.id, stronger.id, part.key.id} <= listed
    assert outside.id not in listed
    # Neither a key that is not there nor one out of reach; and no secret of one with more rights.
    for id in (outside.id, "0" * 16):
        assert refused(part.auth.RevokeKey, auth_pb2.RevokeKeyRequest(id=id)) == DENIED
        assert refused(part.auth.RotateKey, auth_pb2.RotateKeyRequest(id=id)) == DENIED
    assert refused(part.auth.RotateKey, auth_pb2.RotateKeyRequest(id=stronger.id)) == DENIED
    assert part.auth.RotateKey(auth_pb2.RotateKeyRequest(id=given.key.id)).key.id == given.key.id
    assert part.auth.RevokeKey(auth_pb2.RevokeKeyRequest(id=stronger.id)).HasField("revoke_time")
    assert refused(admin.auth.RevokeKey, auth_pb2.RevokeKeyRequest(id="0" * 16))[:2] == (
        grpc.StatusCode.NOT_FOUND,
        "KEY_NOT_FOUND",
    )


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (auth_pb2.CreateKeyRequest(name="x"), "grants"),
        (auth_pb2.CreateKeyRequest(grants=[auth_pb2.Grant(tenant="*", rights=[1])]), "name"),
        (auth_pb2.CreateKeyRequest(name="x", grants=[auth_pb2.Grant(tenant="*")]), "grants[0].rights"),
        (auth_pb2.CreateKeyRequest(name="x", grants=[auth_pb2.Grant(tenant="*", rights=[0])]), "grants[0].rights"),
        (auth_pb2.CreateKeyRequest(name="x", grants=[auth_pb2.Grant(tenant="*", rights=[9])]), "grants[0].rights"),
        (auth_pb2.CreateKeyRequest(name="x", grants=[auth_pb2.Grant(tenant="f*", rights=[1])]), "grants[0].tenant"),
        (auth_pb2.CreateKeyRequest(name="x", grants=[auth_pb2.Grant(rights=[1])]), "grants[0].tenant"),
        (auth_pb2.CreateKeyRequest(name="x", grants=[auth_pb2.Grant(tenant="*", rights=[1])] * 65), "grants"),
        (auth_pb2.RotateKeyRequest(id=""), "id"),
        (auth_pb2.RevokeKeyRequest(id=""), "id"),
        (auth_pb2.ListKeysRequest(page_size=-1), "page_size"),
        (auth_pb2.ListKeysRequest(page_token="x"), "page_token"),
        (auth_pb2.ListKeysRequest(page_token="WzFd"), "page_token"),
    ],
)
def test_a_wrong_request_names_its_field(admin, request_, field):
    call = getattr(admin.auth, type(request_).__name__.removesuffix("Request"))
    code, _, words = refused(call, request_)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert words.startswith(f"{field}: ")


@pytest.mark.parametrize("seconds", [-1, 31 * 24 * 3600])
def test_an_overlap_has_bounds(admin, seconds):
    request = auth_pb2.RotateKeyRequest(id="0" * 16)
    request.overlap.seconds = seconds
    code, _, words = refused(admin.auth.RotateKey, request)
    assert (code, words.partition(":")[0]) == (grpc.StatusCode.INVALID_ARGUMENT, "overlap")


def test_what_an_administrator_does_is_written_down(server, admin, holder):
    tenant = f"audited-{secrets.token_hex(4)}"
    admin.tenants.CreateTenant(tenants_pb2.CreateTenantRequest(tenant=Tenant(tenant=tenant), request_id="r1"))
    admin.memory.Write(memory_pb2.WriteRequest(tenant=tenant, entries=[Entry(text=TEXT, id="e")]))
    list(admin.tenants.ExportTenant(tenants_pb2.ExportTenantRequest(tenant=tenant)))
    admin.memory.Forget(memory_pb2.ForgetRequest(tenant=tenant, ids=["e"], request_id="r2"))
    refused(admin.tenants.CreateTenant, tenants_pb2.CreateTenantRequest(tenant=Tenant(tenant=tenant)))
    mine = holder(foo=[RIGHT_READ])
    refused(mine.tenants.DeleteTenant, tenants_pb2.DeleteTenantRequest(tenant=tenant, request_id="r3"))
    admin.tenants.DeleteTenant(tenants_pb2.DeleteTenantRequest(tenant=tenant, request_id="r4"))
    lines = written(server, tenant=tenant)
    told = [
        (line["principal"], line["method"].rpartition("/")[2], line["outcome"], line.get("dedupe_id")) for line in lines
    ]
    assert told == [
        ("admin-file", "CreateTenant", "OK", "r1"),
        ("admin-file", "ExportTenant", "OK", None),
        ("admin-file", "Forget", "OK", "r2"),
        ("admin-file", "CreateTenant", "ALREADY_EXISTS", None),
        (f"key:{mine.key.id}", "DeleteTenant", "PERMISSION_DENIED", "r3"),
        ("admin-file", "DeleteTenant", "OK", "r4"),
    ]
    (made,) = written(server, id=mine.key.id)
    assert (made["method"], made["outcome"]) == ("AuthService/CreateKey", "OK")
    assert len({line["request_id"] for line in lines}) == len(lines), "each names its call"


def test_who_is_unknown_cannot_fill_the_disk(server):
    before = len(written(server, principal="nobody"))
    started = time.monotonic()
    calls = 0
    with Stubs(server.target) as stubs:
        # Into a second of its own: the tests before may have used up the lines of this one.
        while calls < 200 or time.monotonic() - started < 1.5:
            refused(stubs.memory.Recall, memory_pb2.RecallRequest(tenant="foo", query="q"))
            calls += 1
    seconds = int(time.monotonic() - started) + 2
    lines = written(server, principal="nobody")[before:]
    assert 1 <= len(lines) <= 10 * seconds
    assert all(line["reason"] == "CREDENTIAL_MISSING" for line in lines[1:])


def test_no_secret_and_no_text_is_in_the_log(server, admin_file, admin, holder):
    mine = holder(foo=[RIGHT_WRITE])
    mine.memory.Write(memory_pb2.WriteRequest(tenant="foo", entries=[Entry(text="ggggttttaaaacccc")]))
    with Stubs(server.target, mine.secret[:-1]) as wrong:
        refused(wrong.memory.Recall, memory_pb2.RecallRequest(tenant="foo", query="q"))
    assert mine.key.id in server.log
    for planted in (admin_file.read_text().strip(), mine.secret.rpartition("_")[2][:-1], "ggggttttaaaacccc"):
        assert planted not in server.log


def test_keys_outlive_a_restart_and_a_file_is_read_at_the_start(tmp_path, admin_file):
    data, other = tmp_path / "data", tmp_path / "other"
    other.write_text(secrets.token_hex(16))
    grants = [auth_pb2.Grant(tenant="*", rights=[RIGHT_READ])]
    with Server(data, auth=True, auth_admin_key_file=admin_file) as server:
        with Stubs(server.target, admin_file.read_text().strip()) as admin:
            made = admin.auth.CreateKey(auth_pb2.CreateKeyRequest(name="test", grants=grants))
            gone = admin.auth.CreateKey(auth_pb2.CreateKeyRequest(name="gone", grants=grants))
            admin.auth.RevokeKey(auth_pb2.RevokeKeyRequest(id=gone.key.id))
        server.kill()
    with Server(data, auth=True, auth_admin_key_file=other) as server:
        with Stubs(server.target, made.secret) as mine:
            assert not mine.tenants.ListTenants(tenants_pb2.ListTenantsRequest()).tenants
        for key, reason in (
            (gone.secret, "CREDENTIAL_REVOKED"),
            (admin_file.read_text().strip(), "CREDENTIAL_INVALID"),
        ):
            with Stubs(server.target, key) as stubs:
                assert refused(stubs.tenants.ListTenants, tenants_pb2.ListTenantsRequest())[1] == reason


@pytest.mark.parametrize("content", ["", "too brief", "two words of thirty-two characters or more"])
def test_a_file_that_holds_no_secret_is_refused(tmp_path, content):
    path = tmp_path / "admin"
    path.write_text(content)
    server = Server(tmp_path / "data", auth=True, auth_admin_key_file=path)
    with pytest.raises(RuntimeError):
        server.start()
    assert "auth_admin_key_file: " in server.log
    assert not content or content not in server.log


def test_a_server_that_asks_nobody_hands_out_no_keys(tmp_path):
    with Server(tmp_path / "data") as server, Stubs(server.target) as stubs:
        grants = [auth_pb2.Grant(tenant="*", rights=[RIGHT_READ])]
        for call, request in (
            (stubs.auth.CreateKey, auth_pb2.CreateKeyRequest(name="x", grants=grants)),
            (stubs.auth.ListKeys, auth_pb2.ListKeysRequest()),
            (stubs.auth.RotateKey, auth_pb2.RotateKeyRequest(id="x")),
            (stubs.auth.RevokeKey, auth_pb2.RevokeKeyRequest(id="x")),
        ):
            assert refused(call, request)[:2] == (grpc.StatusCode.FAILED_PRECONDITION, "AUTH_OFF")
        with Stubs(server.target, "a credential that nobody asked for") as other:
            assert not other.tenants.ListTenants(tenants_pb2.ListTenantsRequest()).tenants
