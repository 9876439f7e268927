"""Encrypted connections to real servers: who gets in, who hears why not, and certificates that change meanwhile."""

import re
import ssl
from collections.abc import Iterator

import pytest
from memsvc_client import TLS, Entry, RetryPolicy, UnavailableError

from memsvc.errors import InvalidArgumentError
from memsvc.server.tls import Certificates
from tests.certificates import DAY, Authority, Pair
from tests.serving import Server, refused


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture(scope="module")
def server(tmp_path_factory, authority) -> Iterator[Server]:
    pair = authority.issue("shared")
    with Server(tmp_path_factory.mktemp("tls") / "data", tls_cert=pair.cert, tls_key=pair.key) as server:
        yield server


@pytest.fixture(scope="module")
def mutual(tmp_path_factory, authority) -> Iterator[Server]:
    """A server that wants a certificate of its clients'."""
    pair = authority.issue("mutual")
    settings = {"tls_cert": pair.cert, "tls_key": pair.key, "tls_client_ca": authority.ca}
    with Server(tmp_path_factory.mktemp("mtls") / "data", **settings) as server:
        yield server


def outside(server: Server, **options) -> UnavailableError:
    """Return what a client hears that does not get in."""
    with server.client(retry=RetryPolicy(attempts=1), **options) as client, pytest.raises(UnavailableError) as caught:
        list(client.list_tenants())
    return caught.value


def shown(target: str, authority: Authority) -> str:
    """Return the certificate that a new connection is shown, in PEM."""
    host, _, port = target.rpartition(":")
    return ssl.get_server_certificate((host, int(port)), ca_certs=str(authority.ca))


def test_an_encrypted_connection_serves(server, authority) -> None:
    with server.client(tls=TLS(ca=authority.ca)) as client:
        client.create_tenant("t", exist_ok=True)
        client.write("t", [Entry("The key is under the mat.")])
        assert client.recall("t", "key").hits[0].text == "The key is under the mat."
        assert list(client.write_stream("t", ["one", "two"]))


def test_a_certificate_of_an_unknown_authority_is_refused(server, stranger) -> None:
    error = outside(server, tls=TLS(ca=stranger.ca))
    assert error.reason == "HANDSHAKE_FAILED"
    assert "authority that is not trusted" in str(error)


def test_a_certificate_for_another_host_is_refused(tmp_path, authority) -> None:
    pair = authority.issue("elsewhere", hosts=("memsvc.example",))
    with Server(tmp_path / "data", tls_cert=pair.cert, tls_key=pair.key) as server:
        assert "for another host" in str(outside(server, tls=TLS(ca=authority.ca)))


def test_a_certificate_that_has_expired_is_refused(tmp_path, authority) -> None:
    pair = authority.issue("old", lasts=-DAY)
    with Server(tmp_path / "data", tls_cert=pair.cert, tls_key=pair.key) as server:
        assert "expired" in str(outside(server, tls=TLS(ca=authority.ca)))


def test_the_authorities_of_the_world_do_not_vouch_for_ours(server) -> None:
    assert "not trusted" in str(outside(server, tls=True))


def test_a_client_that_does_not_encrypt_hears_so(server) -> None:
    assert "may ask for TLS" in str(outside(server))


def test_a_server_that_does_not_encrypt_is_named(tmp_path, authority) -> None:
    with Server(tmp_path / "data") as server:
        assert "does not speak TLS" in str(outside(server, tls=TLS(ca=authority.ca)))


def test_with_client_certificates_none_is_not_enough(mutual, authority) -> None:
    assert "certificate of the client's" in str(outside(mutual, tls=TLS(ca=authority.ca)))


def test_with_client_certificates_another_authority_is_not_enough(mutual, authority, stranger) -> None:
    own = stranger.issue("client")
    assert outside(mutual, tls=TLS(ca=authority.ca, cert=own.cert, key=own.key)).reason == "HANDSHAKE_FAILED"


def test_with_client_certificates_the_right_one_serves(mutual, authority) -> None:
    own = authority.issue("client")
    with mutual.client(tls=TLS(ca=authority.ca, cert=own.cert, key=own.key)) as client:
        client.create_tenant("t")
        assert [tenant.tenant for tenant in client.list_tenants()] == ["t"]


def test_new_connections_get_a_new_certificate_and_old_ones_live(tmp_path, authority) -> None:
    pair = authority.issue("renewed")
    with Server(tmp_path / "data", tls_cert=pair.cert, tls_key=pair.key) as server:
        with server.client(tls=TLS(ca=authority.ca)) as old:
            old.create_tenant("t")
            before = shown(server.target, authority)
            authority.issue("renewed")
            assert shown(server.target, authority) != before
            assert shown(server.target, authority) == pair.cert.read_text()
            assert [tenant.tenant for tenant in old.list_tenants()] == ["t"]
        with server.client(tls=TLS(ca=authority.ca)) as new:
            assert [tenant.tenant for tenant in new.list_tenants()] == ["t"]
    assert "certificates read again" in server.log


@pytest.mark.parametrize("spoil", ["garbage", "another key", "gone"])
def test_a_new_certificate_that_cannot_be_used_leaves_the_old_one(tmp_path, authority, spoil: str) -> None:
    pair = authority.issue("spoilt")
    with Server(tmp_path / "data", tls_cert=pair.cert, tls_key=pair.key) as server:
        before = pair.cert.read_text()
        _spoil(spoil, pair, authority)
        assert shown(server.target, authority) == before
        assert shown(server.target, authority) == before
        assert server.log.count("the ones before stay") == 1
        authority.issue("spoilt")  # somebody puts it right
        assert shown(server.target, authority) == pair.cert.read_text() != before


def _spoil(how: str, pair: Pair, authority: Authority) -> None:
    if how == "garbage":
        pair.cert.write_text("no certificate")
    elif how == "another key":
        pair.key.write_bytes(authority.issue("other").key.read_bytes())
    else:
        pair.key.unlink()


def test_authorities_of_clients_can_change(tmp_path, authority, stranger) -> None:
    pair, own = authority.issue("changing"), stranger.issue("client")
    trusted = tmp_path / "clients.crt"
    trusted.write_bytes(authority.ca.read_bytes())
    settings = {"tls_cert": pair.cert, "tls_key": pair.key, "tls_client_ca": trusted}
    with Server(tmp_path / "data", **settings) as server:
        tls = TLS(ca=authority.ca, cert=own.cert, key=own.key)
        assert outside(server, tls=tls).reason == "HANDSHAKE_FAILED"
        trusted.write_bytes(authority.ca.read_bytes() + stranger.ca.read_bytes())
        with server.client(tls=tls) as client:
            client.create_tenant("t")


def test_a_server_without_usable_certificates_does_not_start(tmp_path, authority) -> None:
    pair = authority.issue()
    settings = {"tls_cert": tmp_path / "missing.pem", "tls_key": pair.key}
    assert "tls_cert: " in refused(Server(tmp_path / "data", **settings))


def test_what_is_wrong_with_a_file_is_said_of_its_setting(tmp_path, authority, stranger) -> None:
    pair, other, locked = authority.issue(), stranger.issue(), authority.issue("locked", password=b"secret")
    missing, garbage = tmp_path / "missing.pem", tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    for files, says in [
        ((missing, pair.key), f"tls_cert: {missing} cannot be read: No such file"),
        ((pair.cert, missing), f"tls_key: {missing} cannot be read"),
        ((pair.cert, tmp_path), f"tls_key: {tmp_path} cannot be read: Is a directory"),
        ((pair.cert, other.key), "are no pair"),
        ((locked.cert, locked.key), "without a password"),
        ((garbage, pair.key), "are no pair"),
        ((*pair, garbage), f"tls_client_ca: {garbage} holds no certificate"),
        ((*pair, missing), f"tls_client_ca: {missing} cannot be read"),
    ]:
        with pytest.raises(InvalidArgumentError, match=re.escape(says)):
            Certificates(*files)
