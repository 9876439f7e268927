"""HTTP over the certificate that gRPC has."""

import ssl

import httpx2
import pytest

from tests.certificates import Authority, Pair
from tests.gateway.http import http, url
from tests.serving import Server


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def trusting(authority: Authority, own: Pair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.ca)
    if own is not None:
        context.load_cert_chain(own.cert, own.key)
    return context


def shown(server: Server) -> str:
    """Return the certificate that a new connection is shown, in PEM."""
    host, _, port = url(server).removeprefix("https://").partition(":")
    return ssl.get_server_certificate((host, int(port)))


def test_an_encrypted_connection_serves_and_a_renewed_certificate_is_shown(tmp_path, authority) -> None:
    pair = authority.issue("renewed")
    with Server(tmp_path / "data", http_port=0, tls_cert=pair.cert, tls_key=pair.key) as server:
        assert url(server).startswith("https://")
        with http(server, verify=trusting(authority)) as client:
            assert client.get("/v1/health").status_code == 200
            before = shown(server)
            authority.issue("renewed")
            assert shown(server) != before
            assert shown(server) == pair.cert.read_text()
            assert client.get("/v1/health").status_code == 200
        with http(server, verify=trusting(authority)) as client:
            assert client.get("/v1/health").status_code == 200
        pair.key.write_text("no key")
        assert shown(server) == pair.cert.read_text()
        with httpx2.Client(timeout=20, trust_env=False) as plain, pytest.raises(httpx2.TransportError):
            plain.get(url(server).replace("https", "http"))
        assert "Traceback" not in server.log


def test_where_clients_show_certificates_http_clients_do_too(tmp_path, authority) -> None:
    pair, own = authority.issue("mutual"), authority.issue("client")
    stranger = Authority(tmp_path / "stranger", "stranger").issue("client")
    settings = {"tls_cert": pair.cert, "tls_key": pair.key, "tls_client_ca": authority.ca}
    with Server(tmp_path / "data", http_port=0, **settings) as server:
        for shows in (None, stranger):
            with http(server, verify=trusting(authority, shows)) as client, pytest.raises(httpx2.TransportError):
                client.get("/v1/health")
        with http(server, verify=trusting(authority, own)) as client:
            assert client.get("/v1/tenants").status_code == 200
