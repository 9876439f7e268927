"""A server that takes the tokens of another issuer, whose keys are in a file or at a URL."""

import json
import re
from pathlib import Path

import grpc
import pytest
from pydantic import ValidationError

from memsvc.server.auth_config import ClientSettings, JwtSettings
from memsvc.server.config import Settings
from memsvc.v1 import tenants_pb2
from memsvc.v1.types_pb2 import Tenant
from tests.auth.issuer import AUDIENCE, NAME, HttpsServer, Issuer
from tests.serving import Server, Stubs

GRANTS = [{"tenant": "foo", "rights": ["read", "admin"]}]


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


def settings(**source: object) -> dict[str, str]:
    """The server's settings, as its environment has them."""
    return {f"auth_jwt__{name}": str(value) for name, value in {"issuer": NAME, "audience": AUDIENCE, **source}.items()}


def check(server: Server, issuer: Issuer) -> None:
    create = tenants_pb2.CreateTenantRequest(tenant=Tenant(tenant="foo"))
    with Stubs(server.target, issuer.token(memsvc=GRANTS)) as stubs:
        assert stubs.tenants.CreateTenant(create).tenant == "foo"
        create.tenant.tenant = "foobar"
        with pytest.raises(grpc.RpcError) as caught:
            stubs.tenants.CreateTenant(create)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    forged = issuer.token(memsvc=GRANTS)[:-8] + "AAAAAAAA"
    for token in (forged, issuer.token(memsvc=GRANTS, aud="other"), issuer.token(memsvc=GRANTS, exp=1)):
        with Stubs(server.target, token) as stubs, pytest.raises(grpc.RpcError) as caught:
            stubs.tenants.CreateTenant(create)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert token not in server.log
        assert token.rpartition(".")[2] not in server.log
    assert "jwt:ada" in server.log


def test_keys_in_a_file(tmp_path, issuer):
    path = issuer.write(tmp_path / "keys.json")
    with Server(tmp_path / "data", auth=True, **settings(jwks_file=path)) as server:
        check(server, issuer)


def test_keys_at_a_url(tmp_path, issuer, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with HttpsServer(tmp_path) as https:
        https.answer = (200, {}, json.dumps(issuer.document).encode())
        asked = settings(jwks_url=https.url, ca_file=https.ca_file, algorithms='["RS256"]')
        with Server(tmp_path / "data", auth=True, **asked) as server:
            check(server, issuer)
            with Stubs(server.target, issuer.token("ES256", memsvc=GRANTS)) as stubs, pytest.raises(grpc.RpcError):
                stubs.tenants.ListTenants(tenants_pb2.ListTenantsRequest())
        assert https.asked == 1, "and no more often for what is nonsense"


def test_a_server_starts_without_its_issuer(tmp_path, issuer):
    path = tmp_path / "keys.json"
    with Server(tmp_path / "data", auth=True, **settings(jwks_file=path)) as server:
        with Stubs(server.target, issuer.token(memsvc=GRANTS)) as stubs, pytest.raises(grpc.RpcError) as caught:
            stubs.tenants.ListTenants(tenants_pb2.ListTenantsRequest())
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


BASE = {"issuer": NAME, "audience": AUDIENCE}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({**BASE}, "jwks_file or jwks_url"),
        ({**BASE, "jwks_file": "x", "jwks_url": "https://x"}, "jwks_file or jwks_url"),
        ({**BASE, "jwks_url": "http://x"}, "https"),
        ({**BASE, "jwks_url": "file:///x"}, "https"),
        ({**BASE, "jwks_file": "x", "algorithms": []}, "algorithms"),
        ({**BASE, "jwks_file": "x", "algorithms": ["HS256"]}, "algorithms"),
        ({**BASE, "jwks_file": "x", "algorithms": ["none"]}, "algorithms"),
        ({**BASE, "issuer": "", "jwks_file": "x"}, "issuer"),
        ({**BASE, "audience": "", "jwks_file": "x"}, "audience"),
        ({**BASE, "jwks_file": "x", "leeway_s": 301}, "leeway_s"),
        ({**BASE, "jwks_file": "x", "secret": "x"}, "secret"),
    ],
)
def test_settings_that_are_not_safe_are_refused(given, says):
    with pytest.raises(ValidationError, match=says):
        JwtSettings(**given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"grants": [{"tenant": "*", "rights": ["read"]}]}, "subject, dns or uri"),
        ({"uri": "a", "dns": "b", "grants": [{"tenant": "*", "rights": ["read"]}]}, "subject, dns or uri"),
        ({"uri": "a", "grants": []}, "grants"),
        ({"uri": "a", "grants": [{"tenant": "f*", "rights": ["read"]}]}, "stands alone"),
        ({"uri": "a", "grants": [{"tenant": "*", "rights": ["own"]}]}, "rights"),
        ({"uri": "a", "grants": [{"tenant": "*", "rights": []}]}, "rights"),
    ],
)
def test_clients_need_a_name_and_grants(given, says):
    with pytest.raises(ValidationError, match=says):
        ClientSettings(**given)


def test_the_page_shows_settings_that_are_read(tmp_path, monkeypatch):
    """docs/security.md's example."""
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    example = "\n".join(re.findall(r"```toml\n(.*?)```", page, re.DOTALL))
    (tmp_path / "memsvc.toml").write_text(example)
    monkeypatch.setenv("MEMSVC_CONFIG", str(tmp_path / "memsvc.toml"))
    read = Settings(tls_cert=tmp_path, tls_key=tmp_path, tls_client_ca=tmp_path)
    assert read.auth
    assert read.auth_jwt is not None
    assert read.auth_jwt.jwks_url
    assert read.auth_clients[0].grants[0].grant().tenant == "ingest/*"
