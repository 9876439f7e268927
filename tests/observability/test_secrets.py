"""What callers write, and how they prove who they are, is in no log, error, metric or trace, whatever they ask for."""

import json
import re
from itertools import islice
from typing import NamedTuple

import grpc
import pytest

from memsvc.v1.auth_pb2 import RIGHT_READ, CreateKeyRequest, Grant
from memsvc.v1.memory_pb2 import ERASURE_STATE_DONE, ForgetRequest, GetErasureRequest, WriteRequest
from memsvc.v1.tenants_pb2 import CreateTenantRequest, ExportTenantRequest
from memsvc.v1.types_pb2 import Entry, Tenant
from tests.backbone.stub_openai import answers, refuses
from tests.backbone.stub_thread import serving
from tests.observability.collector import Collector
from tests.observability.eventually import eventually
from tests.observability.rpcs import METHODS, requests
from tests.observability.scrape import page
from tests.serving import Server, Stubs

TEXT = "xylophone7f3a"
MODEL_KEY = "sk-c0ffee-for-the-model"
SECRETS = {
    "text": TEXT,
    "the credential": "4b1dc0ffee5a6b7c8d9e4b1dc0ffee5a",
    "a credential that is wrong": "msk_0123456789abcdef_wrongwrongwrongwrong",
    "another header": "x-4b1dc0ffee",
    "the model's key": MODEL_KEY,
}
METADATA = [
    ("authorization", f"Bearer {SECRETS['the credential']}"),
    ("x-api-key", SECRETS["another header"]),
    ("x-request-id", f"{TEXT} "),
]
GIVEN = re.compile(rb"msk_[0-9a-f]{16}_[\w-]+")
"""A key, in the only answers that have one."""


class Told(NamedTuple):
    """What a server told of a run of every method."""

    where: dict[str, str]
    """All of it, by where it told it."""
    given: set[str]
    """The secrets of keys that it handed out."""


def test_every_method_has_a_request() -> None:
    named = requests(TEXT, "t", "o", [b""], "k")
    assert {method.partition("/")[2] for method in METHODS} == named.keys()


def call(channel: grpc.Channel, name: str, request, given: set[str]) -> str:
    """Call a method; return all that an error says, nothing where there is none."""
    method = METHODS[name]
    kind = f"{'stream' if isinstance(request, list) else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    stub = getattr(channel, kind)(
        f"/{name}", type(request[0] if isinstance(request, list) else request).SerializeToString
    )
    try:
        answer = stub(iter(request) if isinstance(request, list) else request, timeout=20, metadata=METADATA)
        if not method.server_streaming:
            given.update(found.decode().rpartition("_")[2] for found in GIVEN.findall(answer))
        elif name.endswith("/WatchTenant"):
            list(islice(answer, 2))
            answer.cancel()
        else:
            list(answer)
    except grpc.RpcError as error:
        return f"{error.details()} {error.trailing_metadata()}"
    return ""


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> Told:
    path = tmp_path_factory.mktemp("secrets")
    files = {name: path / name.replace(" ", "-") for name in ("the credential", "the model's key")}
    for name, file in files.items():
        file.write_text(SECRETS[name])
    errors, given = [], set[str]()
    fails = refuses(500, {"message": f"not with {MODEL_KEY}"})
    with (
        Collector() as collector,
        serving(answers(f"{TEXT} is ", "an instrument"), fails) as model,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        # Failures that are logged with their traces.
        patch.setenv("MEMSVC_FAILPOINTS", "snapshot.swap.before=raise")
        server = Server(
            path / "data",
            auth=True,
            auth_admin_key_file=files["the credential"],
            backbone=f"openai:{model.url}",
            backbone_model="m",
            backbone_key_file=files["the model's key"],
            log_level="debug",
            log_json=True,
            metrics_port=0,
            otlp_endpoint=collector.endpoint,
            trace_share=1,
            snapshot_min_tokens=1,
            snapshot_idle_s=0.1,
        )
        with server, Stubs(server.target, SECRETS["the credential"]) as stubs:
            for tenant in ("t", "saved"):
                stubs.tenants.CreateTenant(CreateTenantRequest(tenant=Tenant(tenant=tenant), request_id=tenant))
                stubs.memory.Write(WriteRequest(tenant=tenant, entries=[Entry(id="gone", text=TEXT)]))
            erasure = stubs.memory.Forget(ForgetRequest(tenant="t", ids=["gone"], request_id="2"))
            progress = GetErasureRequest(operation=erasure.operation)
            eventually(lambda: stubs.memory.GetErasure(progress).state == ERASURE_STATE_DONE)
            export = [part.data for part in stubs.tenants.ExportTenant(ExportTenantRequest(tenant="t"))]
            grants = [Grant(tenant="t", rights=[RIGHT_READ])]
            key = stubs.auth.CreateKey(CreateKeyRequest(name="made", grants=grants)).key.id
            names = {name.partition("/")[2]: name for name in METHODS}
            served = set()
            for method, messages in requests(TEXT, "t", erasure.operation, export, key).items():
                for request in messages:
                    error = call(stubs.channel, names[method], request, given)
                    errors.append(error)
                    served |= set() if error else {method}
            assert served == names.keys(), errors
            assert any(asked.headers["authorization"].endswith(MODEL_KEY) for asked in model.requests)
            broken = stubs.channel.unary_unary(f"/{names['Recall']}")
            wrong = [("authorization", f"Bearer {SECRETS['a credential that is wrong']}")]
            for metadata in (METADATA, wrong):
                with pytest.raises(grpc.RpcError) as refused:
                    broken(b"\xff" + TEXT.encode(), metadata=metadata)
                errors.append(f"{refused.value.details()} {refused.value.trailing_metadata()}")
            eventually(lambda: "snapshot.swap.before was hit" in server.log)
            metrics = page(server)
            eventually(lambda: any(span.name == "TenantService/DeleteTenant" for span in collector.spans))
            server.stop()
        spans = b" ".join(span.raw for span in collector.spans)
        where = {
            "log": server.log,
            "errors": "\n".join(errors),
            "metrics": metrics,
            "traces": f"{spans.decode(errors='replace')} {collector.resources}",
        }
        return Told(where, given)


@pytest.mark.parametrize("where", ["log", "errors", "metrics", "traces"])
@pytest.mark.parametrize("secret", SECRETS)
def test_nothing_planted_comes_to_light(told, where, secret) -> None:
    found = [line for line in told.where[where].splitlines() if SECRETS[secret] in line]
    assert not found


@pytest.mark.parametrize("where", ["log", "errors", "metrics", "traces"])
def test_no_key_that_was_handed_out_comes_to_light(told, where) -> None:
    assert len(told.given) == 2, "of CreateKey and of RotateKey"
    assert not [secret for secret in told.given if secret in told.where[where]]


def test_every_line_is_an_object_and_every_call_has_one(told) -> None:
    lines = [json.loads(line) for line in told.where["log"].splitlines()]
    calls = [line for line in lines if line["event"] == "call"]
    assert {call["method"] for call in calls} == {method.removeprefix("memsvc.v1.") for method in METHODS}
    assert all({"request_id", "code", "ms", "trace_id", "level", "timestamp"} <= call.keys() for call in calls)
    assert any("exception" in line for line in lines), "a failure with its trace was there to be looked at"
    tenant = {call["method"] for call in calls if call.get("tenant") == "t"}
    assert {"MemoryService/Write", "MemoryService/WriteStream", "TenantService/DeleteTenant"} <= tenant
