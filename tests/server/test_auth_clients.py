"""Real clients, and the command line, at a server that asks for credentials over TLS."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from memsvc_client import TLS, AsyncMemoryClient, Entry, PermissionDeniedError, UnauthenticatedError

from memsvc.server.config import Settings
from tests.certificates import Authority
from tests.serving import Server, refused

TEXT = "acgtacgtgacg"


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> tuple[str, str]:
    """A data directory, and the key that was made on it before any server was."""
    data = str(tmp_path_factory.mktemp("clients") / "data")
    return data, run("keys", "create", "boss", "--grant", "*=read,write,admin", "--data", data).stdout.strip()


@pytest.fixture(scope="module")
def server(first, authority) -> Iterator[Server]:
    pair = authority.issue("server")
    with Server(Path(first[0]), auth=True, tls_cert=pair.cert, tls_key=pair.key) as server:
        yield server


def run(*arguments: str, key: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    environment = {**os.environ, "MEMSVC_API_KEY": key}
    command = [sys.executable, "-m", "memsvc.cli.main", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=check)


def test_a_key_opens_what_it_is_for(server, first, authority):
    secure = TLS(ca=authority.ca)
    with server.client(api_key=first[1], tls=secure) as boss:
        boss.create_tenant("team/ada")
        boss.create_tenant("teamwork")
        new = boss.create_key("team", {"team/*": ["read", "write"]})
        assert new.key in list(boss.list_keys())
        with server.client(api_key=new.secret, tls=secure) as team:
            team.write("team/ada", [Entry(TEXT, id="e")])
            assert list(team.write_stream("team/ada", [TEXT] * 3))
            assert team.recall("team/ada", TEXT).hits
            assert [tenant.tenant for tenant in team.list_tenants()] == ["team/ada"]
            assert team.forget("team/ada", ["e"]).done, "it follows the erasure of its own tenant"
            for call in (
                lambda: team.recall("teamwork", TEXT),
                lambda: list(team.write_stream("teamwork", [TEXT])),
                lambda: next(team.watch("teamwork")),
                lambda: team.create_tenant("team/eve"),
                lambda: team.create_key("more", {"team/*": ["read"]}),
                lambda: list(team.list_keys()),
            ):
                with pytest.raises(PermissionDeniedError):
                    call()
            boss.revoke_key(new.key.id)
            for call in (lambda: team.recall("team/ada", TEXT), lambda: list(team.write_stream("team/ada", [TEXT]))):
                with pytest.raises(UnauthenticatedError) as caught:
                    call()
                assert caught.value.reason == "CREDENTIAL_REVOKED"


def test_the_asyncio_client_too(server, first, authority):
    async def main() -> None:
        secure = TLS(ca=authority.ca)
        async with AsyncMemoryClient(server.target, api_key=first[1], tls=secure) as boss:
            await boss.create_tenant("asyncio")
            new = await boss.create_key("brief", {"*": "read"})
            rotated = await boss.rotate_key(new.key.id, 0)
            assert {key.id async for key in boss.list_keys()} >= {new.key.id}
            async with AsyncMemoryClient(server.target, api_key=new.secret, tls=secure) as old:
                with pytest.raises(UnauthenticatedError):
                    await old.recall("nobody", TEXT)
            async with AsyncMemoryClient(server.target, api_key=rotated.secret, tls=secure) as now:
                assert "asyncio" in [tenant.tenant async for tenant in now.list_tenants()]
            assert (await boss.revoke_key(new.key.id)).revoke_time is not None

    asyncio.run(main())


def test_a_client_without_a_key_is_told_so(server, authority):
    with server.client(tls=TLS(ca=authority.ca)) as client, pytest.raises(UnauthenticatedError) as caught:
        list(client.list_tenants())
    assert caught.value.reason == "CREDENTIAL_MISSING"


def test_the_command_line_shows_its_key(server, first, authority):
    at = ["--target", server.target, "--tls-ca", str(authority.ca)]
    made = json.loads(run("keys", "create", "shell", "--grant", "*=admin", "--json", *at, key=first[1]).stdout)
    ran = run("keys", "list", *at, key=made["secret"])
    assert made["key"]["id"] in ran.stdout
    assert made["secret"] not in ran.stdout + ran.stderr
    assert run("keys", "revoke", made["key"]["id"], "--yes", *at, key=first[1]).returncode == 0
    ran = run("keys", "list", *at, key=made["secret"], check=False)
    assert ran.returncode == 1
    assert "revoked" in ran.stderr
    assert made["secret"] not in ran.stderr
    assert made["secret"].rpartition("_")[2] not in server.log


def test_a_client_is_known_by_its_certificate(tmp_path, authority):
    pair, known = authority.issue("mutual"), authority.issue("ingest", ("spiffe://acme/ingest",))
    clients = [{"uri": "spiffe://acme/ingest", "grants": [{"tenant": "in/*", "rights": ["admin"]}]}]
    settings = {"tls_cert": pair.cert, "tls_key": pair.key, "tls_client_ca": authority.ca}
    with Server(tmp_path / "data", auth=True, auth_clients=json.dumps(clients), **settings) as server:
        with server.client(tls=TLS(ca=authority.ca, cert=known.cert, key=known.key)) as client:
            client.create_tenant("in/a")
            with pytest.raises(PermissionDeniedError):
                client.create_tenant("out")
        with server.client(tls=TLS(ca=authority.ca, cert=pair.cert, key=pair.key)) as client:
            with pytest.raises(UnauthenticatedError) as caught:
                client.create_tenant("in/b")
            assert caught.value.reason == "CERTIFICATE_UNKNOWN"
        assert "certificate:spiffe://acme/ingest" in server.log


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"auth_admin_key_file": "x"}, "auth: is off"),
        ({"auth_jwt__issuer": "x", "auth_jwt__audience": "x", "auth_jwt__jwks_file": "x"}, "auth: is off"),
        (
            {"auth": True, "auth_clients": '[{"uri": "x", "grants": [{"tenant": "*", "rights": ["read"]}]}]'},
            "tls_client",
        ),
    ],
)
def test_settings_that_let_in_nobody_or_everybody_are_refused(tmp_path, settings, says):
    assert says in refused(Server(tmp_path / "data", **settings))


def test_nobody_is_asked_by_default():
    assert not Settings().auth
