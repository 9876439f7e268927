"""Two servers on one Redis that ask for credentials: keys count everywhere, and owners are not told to everybody."""

from collections.abc import Callable, Iterator

import grpc
import pytest
from memsvc_client import MemoryClient, MemsvcError, UnauthenticatedError
from memsvc_client._status import to_error
from typer.testing import CliRunner

from memsvc.cli.main import make_app
from memsvc.v1.memory_pb2 import WriteRequest
from memsvc.v1.types_pb2 import Entry
from tests.e2e.on_redis import until
from tests.redis_server import RedisServer
from tests.serving import Server, Stubs

TENANTS = [f"team/{i}" for i in range(12)]


@pytest.fixture(scope="module")
def redis(tmp_path_factory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("deployment") / "redis") as server:
        yield server


@pytest.fixture(scope="module")
def servers(redis) -> Iterator[list[Server]]:
    directory = redis.directory.parent
    with (
        Server(directory / "one", store=redis.url, auth=True, lease_s=1.5) as one,
        Server(directory / "two", store=redis.url, auth=True, lease_s=1.5) as two,
    ):
        yield [one, two]


@pytest.fixture(scope="module")
def boss(redis, servers) -> str:
    """A key that was made on the store, beside the servers."""
    arguments = ["keys", "create", "boss", "--grant", "*=read,write,admin", "--store", redis.url]
    return CliRunner().invoke(make_app(), arguments).stdout.strip()


def outcome(server: Server, key: str, tenant: str) -> MemsvcError | None:
    """What comes of a write at this very server, which follows nobody."""
    with Stubs(server.target, key) as stubs:
        try:
            stubs.memory.Write(WriteRequest(tenant=tenant, entries=[Entry(text="acgt")]))
        except grpc.RpcError as error:
            return to_error(error, server.target)
    return None


def both(servers: list[Server], holds: Callable[[Server], bool]) -> None:
    until(lambda: all(map(holds, servers)))


def is_known(key: str) -> Callable[[Server], bool]:
    def ask(server: Server) -> bool:
        with MemoryClient(server.target, api_key=key) as client:
            try:
                list(client.list_tenants())
            except UnauthenticatedError:
                return False
        return True

    return ask


def test_a_key_counts_at_every_server_until_it_is_revoked_at_one(servers, boss):
    both(servers, is_known(boss))
    with MemoryClient(servers[0].target, api_key=boss) as client:
        new = client.create_key("team", {"team/*": ["read", "write"]})
        assert is_known(new.secret)(servers[0]), "at once where it was made"
        both(servers, is_known(new.secret))
    with MemoryClient(servers[1].target, api_key=boss) as client:
        client.revoke_key(new.key.id)
        assert not is_known(new.secret)(servers[1])
        both(servers, lambda server: not is_known(new.secret)(server))


def test_who_owns_a_tenant_is_told_to_those_alone_who_reach_it(servers, boss):
    both(servers, is_known(boss))
    with MemoryClient([server.target for server in servers], api_key=boss) as client:
        for tenant in TENANTS:
            client.create_tenant(tenant, exist_ok=True)
        near = client.create_key("near", {"team": ["read", "write", "admin"], "teams/*": ["write"]}).secret
    both(servers, is_known(near))

    def owners() -> set[str]:
        told = [outcome(server, boss, tenant) for server in servers for tenant in TENANTS]
        assert {error.reason for error in told if error is not None} <= {"NOT_OWNER"}
        return {error.metadata.get("owner", "") for error in told if error is not None}

    until(lambda: owners() == {server.target for server in servers})  # each has some
    for server in servers:
        answers = [outcome(server, near, tenant) for tenant in (*TENANTS, "team/not there")]
        assert {(error.reason, str(error), str(error.metadata)) for error in answers} == {
            ("PERMISSION_DENIED", "the credential does not reach so far", "{}")
        }


def test_a_client_follows_its_tenant_with_its_key(servers, boss):
    both(servers, is_known(boss))
    for server in servers:
        with MemoryClient(server.target, api_key=boss) as client:
            for tenant in TENANTS:
                client.create_tenant(tenant, exist_ok=True)
                client.write(tenant, ["acgt"])
