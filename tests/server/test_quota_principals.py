"""Quotas of whoever calls, known by their credential: a real server with authentication, its file, and its keys."""

import collections
import secrets
from collections.abc import Iterator

import pytest
from memsvc_client import Entry, MemoryClient, ResourceExhaustedError

from tests.serving import Server

QUOTAS = """
[quotas]
burst_s = 1

[quotas.principals."key:*"]
requests_per_s = 3
streams = 1
tokens_per_s = 1000
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("principals")
    (folder / "memsvc.toml").write_text(QUOTAS)
    (folder / "admin").write_text(secrets.token_hex(32))
    with Server(folder / "data", config=folder / "memsvc.toml", auth=True, auth_admin_key_file=folder / "admin") as it:
        it.admin_key = (folder / "admin").read_text()
        yield it


@pytest.fixture
def admin(server) -> Iterator[MemoryClient]:
    with server.client(api_key=server.admin_key) as client:
        yield client


def test_a_key_that_asks_too_often_is_refused_and_no_other(server, admin) -> None:
    admin.create_tenant("shared", exist_ok=True)
    greedy, modest = (admin.create_key(name, {"shared": ["read", "write"]}) for name in ("greedy", "modest"))
    with server.client(api_key=greedy.secret, timeout=0.2) as client:
        with pytest.raises(ResourceExhaustedError) as refusal:
            collections.deque((client.write("shared", Entry("acgt", id=f"greedy {i}")) for i in range(10)), 0)
        assert refusal.value.metadata["scope"] == "principal"
        assert refusal.value.metadata["quota"] == "requests_per_s"
        assert 0 < refusal.value.retry_after <= 1
    with server.client(api_key=modest.secret) as client:
        assert client.write("shared", Entry("acgt", id="modest")).seq
    for i in range(10):
        admin.write("shared", Entry("acgt", id=f"admin {i}"))


def test_tokens_are_counted_for_whoever_wrote_them(server, admin) -> None:
    admin.create_tenant("written", exist_ok=True)
    author, other = (admin.create_key(name, {"written": ["read", "write"]}) for name in ("author", "other"))
    with server.client(api_key=author.secret, timeout=5) as client:
        client.write("written", "acgtacgt" * 4_000, wait="applied")
        with pytest.raises(ResourceExhaustedError) as refusal:
            client.write("written", "acgt")
    assert refusal.value.metadata == {"quota": "tokens_per_s", "scope": "principal", "limit": "1000"}
    assert refusal.value.retry_after > 5
    with server.client(api_key=other.secret) as client:
        assert client.write("written", "acgt").seq


def test_what_a_tenants_quota_lets_in_a_principals_may_still_refuse(server, admin) -> None:
    admin.create_tenant("watched", exist_ok=True)
    key = admin.create_key("watcher", {"watched": ["read", "write"]})
    with server.client(api_key=key.secret) as client:
        client.write("watched", "acgt")
        admin.hot_restart("watched")
        first = client.watch("watched", from_seq=0)
        assert next(first).kind == "restart"
        second = client.watch("watched", from_seq=0, timeout=0.5)
        with pytest.raises(ResourceExhaustedError) as refusal:
            next(second)
        assert refusal.value.metadata == {"quota": "streams", "scope": "principal", "limit": "1"}
        first.close()
