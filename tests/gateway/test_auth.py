"""Credentials go on to the service, which alone decides."""

import socket
from collections.abc import Iterator
from typing import NamedTuple

import httpx2
import pytest

from memsvc.gateway.routes import ROUTES, Route
from tests.gateway.http import JSON, http, problem, url
from tests.observability.eventually import eventually
from tests.serving import Server

ADMIN = "an-administrators-key-of-the-file-0123456789"


class Keys(NamedTuple):
    """Of a tenant's own, of a neighbour's, and of whoever may only read."""

    own: str
    elsewhere: str
    reader: str


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    file = tmp_path_factory.mktemp("admin") / "key"
    file.write_text(ADMIN)
    settings = {"http_port": 0, "log_level": "debug", "auth": "true", "auth_admin_key_file": file}
    with Server(tmp_path_factory.mktemp("auth") / "data", **settings) as server:
        yield server


@pytest.fixture(scope="module")
def keys(server) -> Keys:
    every = ["read", "write", "admin"]
    with server.client(api_key=ADMIN) as client:
        client.create_tenant("foo")
        client.create_tenant("foobar")
        granted = [{"foo": every}, {"foobar": every, "foo/*": every}, {"foo": ["read"]}]
        return Keys(*(client.create_key("k", grants).secret for grants in granted))


def ask(client: httpx2.Client, route: Route, tenant: str) -> httpx2.Response:
    """Send the least that names a tenant."""
    body = {"tenant": tenant} if route.call == "CreateTenant" else {}
    where = route.path.format(tenant=tenant, id="e", operation="o")
    return client.request(route.verb, where, **({"json": body} if route.body else {}))


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.call)
def test_nobody_and_neighbours_are_refused_in_the_services_words(server, keys, route) -> None:
    with http(server) as client:
        answer = ask(client, route, "foo")
        problem(answer, 401, "CREDENTIAL_MISSING")
        assert answer.headers["www-authenticate"] == "Bearer"
    with http(server, key="msk_nobody_nothing") as client:
        problem(ask(client, route, "foo"), 401, "CREDENTIAL_INVALID")
    if route.call == "ListTenants":  # shows what is in reach
        return
    with http(server, key=keys.elsewhere) as client:
        there = problem(ask(client, route, "foo"), 403, "PERMISSION_DENIED")
        missing = problem(ask(client, route, "none"), 403, "PERMISSION_DENIED")
        assert {**there, "requestId": ""} == {**missing, "requestId": ""}


def test_a_key_serves_as_far_as_it_reaches(server, keys) -> None:
    with http(server, key=keys.own) as client:
        assert client.post("/v1/tenants/foo/entries", json={"entries": [{"text": "gattaca"}]}).status_code == 200
        assert [each["tenant"] for each in client.get("/v1/tenants").json()["tenants"]] == ["foo"]
    with http(server, key=keys.reader) as client:
        assert client.post("/v1/tenants/foo/recall", json={"query": "gattaca"}).status_code == 200
        problem(client.post("/v1/tenants/foo/entries", json={"entries": [{"text": "x"}]}), 403, "PERMISSION_DENIED")


@pytest.mark.parametrize("shown", [b"Basic eDp5", b"Bearer", b"Bearer \xff\xfe", b"Bearer a\tb", b""])
def test_odd_credentials_are_wrong_ones(server, shown) -> None:
    with http(server) as client:
        answer = client.get("/v1/tenants", headers=[(b"authorization", shown)])
        assert answer.status_code == 401, answer.text


def test_two_credentials_are_none(server, keys) -> None:
    with http(server) as client:
        both = [("authorization", f"Bearer {keys.own}"), ("authorization", f"Bearer {keys.elsewhere}")]
        problem(client.get("/v1/tenants", headers=both), 401, "CREDENTIAL_INVALID")


def test_health_and_the_document_are_open(server) -> None:
    with http(server) as client:
        assert client.get("/v1/health").status_code == client.get("/v1/openapi.json").status_code == 200


def test_no_body_is_waited_for_from_who_is_nobody(server) -> None:
    host, _, port = url(server).removeprefix("http://").partition(":")
    head = f"POST /v1/tenants/foo/entries HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as raw:
        raw.sendall(f"{head}content-length: 4000000\r\n\r\n".encode())  # and nothing follows
        assert raw.recv(4096).startswith(b"HTTP/1.1 401 ")


def test_what_is_refused_and_what_is_done_is_audited(server, keys) -> None:
    def audited(*words: str) -> bool:
        return any(all(word in line for word in (" audit ", *words)) for line in server.log.splitlines())

    with http(server) as client:

        def refused_and_audited() -> bool:
            client.delete("/v1/tenants/foo", headers={**JSON, "x-request-id": "unknown-caller"})
            return audited("unknown-caller", "UNAUTHENTICATED")

        # Only so many refusals of a second are written, and the tests before may have used them up.
        eventually(refused_and_audited)
    with http(server, key=keys.own) as client:
        client.post("/v1/tenants/foo/forget", json={"ids": ["none"]}, headers={"x-request-id": "own-caller"})
    assert audited("own-caller", "Forget", "tenant=foo")
    for secret in (*keys, ADMIN):
        assert secret not in server.log
