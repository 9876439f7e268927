"""Clients known by their certificates, as gRPC tells of them."""

import pytest

from memsvc.auth.certificates import Client, KnownCertificates, Naming
from memsvc.auth.grants import Grant, Right
from memsvc.errors import UnauthenticatedError

READ, ALL = (Grant("foo/*", frozenset({Right.READ})),), (Grant("*", frozenset(Right)),)
KNOWN = KnownCertificates(
    [
        Client(Naming.SUBJECT, "CN=ingest,O=Acme\\, Inc.,C=DE", READ),
        Client(Naming.URI, "spiffe://acme/admin", ALL),
        Client(Naming.DNS, "ingest.acme", READ),
        Client(Naming.DNS, "*.acme", ALL),
    ]
)


def peer(**facts: bytes | list[bytes]) -> dict[str, list[bytes]]:
    """What gRPC says of a connection over TLS whose client showed a certificate."""
    base = {"transport_security_type": b"ssl", "x509_pem_cert": b"-----BEGIN CERTIFICATE-----"}
    return {name: value if isinstance(value, list) else [value] for name, value in {**base, **facts}.items()}


@pytest.mark.parametrize(
    ("facts", "name", "grants"),
    [
        ({"x509_subject": b"CN=ingest,O=Acme\\, Inc.,C=DE"}, "certificate:CN=ingest,O=Acme\\, Inc.,C=DE", READ),
        ({"peer_uri": [b"https://x", b"spiffe://acme/admin"]}, "certificate:spiffe://acme/admin", ALL),
        ({"peer_dns": b"ingest.acme"}, "certificate:ingest.acme", READ),
        # The first that is known counts, in the order of the settings.
        ({"peer_dns": b"ingest.acme", "peer_uri": b"spiffe://acme/admin"}, "certificate:spiffe://acme/admin", ALL),
    ],
)
def test_a_certificate_names_its_client(facts, name, grants):
    principal = KNOWN.principal(peer(**facts))
    assert (principal.name, principal.grants) == (name, grants)
    principal.check_standing()


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"x509_subject": b"CN=ingest"},
        {"x509_subject": b"cn=ingest,o=acme\\, inc.,c=de"},
        {"x509_common_name": b"ingest.acme"},
        {"x509_common_name": b"CN=ingest,O=Acme\\, Inc.,C=DE"},
        # What is a name of one kind is none of another.
        {"peer_uri": b"ingest.acme"},
        {"peer_dns": b"spiffe://acme/admin"},
        {"peer_email": b"spiffe://acme/admin"},
        {"x509_subject_alternative_name": [b"spiffe://acme/admin", b"ingest.acme"]},
        {"peer_dns": b"other.acme"},
        {"peer_dns": b"INGEST.ACME"},
    ],
)
def test_nobody_is_known_by_anything_else(facts):
    with pytest.raises(UnauthenticatedError) as caught:
        KNOWN.principal(peer(**facts))
    assert caught.value.reason == "CERTIFICATE_UNKNOWN"


@pytest.mark.parametrize(
    "facts",
    [
        {"transport_security_type": b"insecure"},
        {"transport_security_type": []},
        {"x509_pem_cert": []},
    ],
)
def test_without_a_certificate_a_connection_says_nothing(facts):
    assert KNOWN.principal(peer(peer_uri=b"spiffe://acme/admin", **facts)) is None
    assert KNOWN.principal({}) is None
