"""Tenants of other processes: the gateway follows them there. It runs here, and the services do as they are told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from threading import Timer

import grpc
import httpx2
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from memsvc_client import TLS

from memsvc.errors import InvalidArgumentError
from memsvc.gateway.gateway import Gateway, GatewayConfig
from memsvc.gateway.owners import Owners
from memsvc.server.config import Settings
from memsvc.server.http import open_gateway
from memsvc.v1 import generate_pb2, types_pb2
from tests.certificates import Authority, Pair
from tests.client.fake_server import Fail, FakeServer
from tests.gateway.http import events, problem

ENTRIES = {"entries": [{"id": "a", "text": "The key is under the mat."}]}
DRAINING = Fail(grpc.StatusCode.UNAVAILABLE, "it stops", [ErrorInfo(reason="DRAINING")])
LOST = Fail(grpc.StatusCode.UNAVAILABLE, "it stops", [ErrorInfo(reason="DRAINING")], late=True)

Start = Callable[..., FakeServer]


@pytest.fixture
def start() -> Iterator[Start]:
    servers = []

    def started(tls: Pair | None = None) -> FakeServer:
        server = FakeServer(tenants={"ada": {}})
        servers.append(server)
        server.target = server.start(tls)
        return server

    yield started
    for server in servers:
        server.stop()


@pytest.fixture
def home(start) -> FakeServer:
    """The gateway's own process."""
    return start()


async def anybody(_metadata: object) -> bool:
    return True


@asynccontextmanager
async def gateway(
    home: FakeServer, tls: bool | TLS | None = False, *, plaintext: bool = False
) -> AsyncIterator[httpx2.AsyncClient]:
    owners = Owners(tls, plaintext=plaintext)
    async with (
        Gateway(GatewayConfig(host="127.0.0.1", port=0), home.target, anybody, owners) as served,
        httpx2.AsyncClient(base_url=served.url, timeout=30, trust_env=False) as client,
    ):
        yield client


async def test_an_owner_is_asked_with_what_the_caller_showed(home, start) -> None:
    owner = start()
    home.elsewhere["ada"] = owner.target
    async with gateway(home) as client:
        for _ in range(2):
            sent = await client.post("/v1/tenants/ada/entries", json=ENTRIES, headers={"authorization": "Bearer k"})
            assert sent.json()["results"][0]["id"] == "a", sent.text
        assert (await client.get("/v1/tenants/ada/entries/a")).json()["text"] == "The key is under the mat."
    assert owner.keys[:2] == [("Write", "Bearer k"), ("Write", "Bearer k")]
    assert home.texts("ada") == []


async def test_answers_and_events_are_streamed_from_the_owner(home, start) -> None:
    owner = start()
    home.elsewhere["ada"] = owner.target
    text = generate_pb2.GenerateResponse(text="Under the mat.")
    finished = generate_pb2.GenerateResponse(finished=generate_pb2.Finished())
    owner.answers.append([text, finished])
    owner.watches.append([types_pb2.Event(seq=7, kind="drift")])
    async with gateway(home) as client:
        said = await client.post("/v1/tenants/ada/generate", json={"messages": [{"text": "Where?"}]})
        assert [name for name, _ in events(said.text)] == ["text", "finished"]
        assert '"seq":"7"' in events((await client.get("/v1/tenants/ada/events")).text)[0][1]


async def test_a_tenant_that_changes_hands_is_waited_for(home, start) -> None:
    owner = start()
    home.elsewhere["ada"] = None  # nobody's
    found = Timer(0.3, home.elsewhere.update, kwargs={"ada": owner.target})
    found.start()
    async with gateway(home) as client:
        assert (await client.post("/v1/tenants/ada/entries", json=ENTRIES)).status_code == 200
    found.join()
    assert owner.texts("ada") == ["The key is under the mat."]


async def test_and_not_beyond_the_deadline(home) -> None:
    home.elsewhere["ada"] = None
    async with gateway(home) as client:
        answer = await client.post("/v1/tenants/ada/entries", json=ENTRIES, headers={"grpc-timeout": "400m"})
    assert problem(answer, 503, "NOT_OWNER")["retryAfter"] == 1
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("failure", [DRAINING, LOST])
async def test_what_an_owner_may_have_done_is_not_done_again(home, start, failure) -> None:
    owner = start()
    home.elsewhere["ada"] = owner.target
    owner.fail("Write", failure)
    async with gateway(home) as client:
        problem(await client.post("/v1/tenants/ada/entries", json=ENTRIES), 503, "DRAINING")
    assert len(owner.asked("Write")) == 1


async def test_processes_that_name_each_other_and_one_that_is_gone(home, start) -> None:
    other, gone = start(), start()
    home.elsewhere["ada"], other.elsewhere["ada"] = other.target, home.target
    gone.stop()
    home.elsewhere["eve"] = gone.target
    async with gateway(home) as client:
        short = {"grpc-timeout": "500m"}
        problem(await client.get("/v1/tenants/ada", headers=short), 503, "NOT_OWNER")
        assert problem(await client.get("/v1/tenants/eve"), 503, "UNREACHABLE")["retryAfter"] == 1
    assert len(home.asked("GetTenant")) < 12


@pytest.mark.parametrize(("tls", "plaintext", "owner"), [(None, True, ""), (False, False, "192.0.2.1:50051")])
async def test_where_it_may_not_go_it_says_who_the_owner_is(home, start, tls, plaintext, owner) -> None:
    home.elsewhere["ada"] = owner = owner or start().target
    async with gateway(home, tls, plaintext=plaintext) as client:
        answer = await client.post("/v1/tenants/ada/entries", json=ENTRIES, headers={"authorization": "Bearer k"})
    found = problem(answer, 503, "NOT_OWNER")
    assert (found["metadata"], found["retryAfter"]) == ({"owner": owner}, 1)


async def test_an_owners_certificate_has_to_be_of_the_authority(home, start, tmp_path) -> None:
    ours, strange = Authority(tmp_path / "ours"), Authority(tmp_path / "strange")
    owner = start(ours.issue())
    home.elsewhere["ada"] = owner.target
    async with gateway(home, TLS(ca=ours.ca)) as client:
        assert (await client.post("/v1/tenants/ada/entries", json=ENTRIES)).status_code == 200
    for wrong in (TLS(ca=strange.ca), True, False):
        async with gateway(home, wrong) as client:
            answer = await client.post("/v1/tenants/ada/entries", json=ENTRIES)
        assert answer.status_code == 503
    assert len(owner.asked("Write")) == 1


async def test_a_caller_who_leaves_ends_the_owners_call(home, start) -> None:
    owner = start()
    home.elsewhere["ada"] = owner.target
    owner.watches.append([types_pb2.Event(seq=7, kind="drift"), owner.over])
    async with gateway(home) as client:
        async with client.stream("GET", "/v1/tenants/ada/events") as answer:
            await anext(answer.aiter_text())
        assert await asyncio.to_thread(owner.over.wait, 20)


def test_an_authority_that_cannot_be_read_is_named(tmp_path) -> None:
    pair = Authority(tmp_path).issue()
    settings = {"tls_cert": pair.cert, "tls_key": pair.key, "store": "redis://localhost:1"}
    given = Settings(http_port=0, http_owner_ca=tmp_path / "none", **settings)
    said = r"http_owner_ca: .*none cannot be read"
    with pytest.raises(InvalidArgumentError, match=said), open_gateway(given, None, None):
        pass
