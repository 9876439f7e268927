"""Clients known by the certificates of their connections.

That a certificate is one of an authority that is trusted, TLS has made sure of before; here it is only who that is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from memsvc.auth.authenticator import Peer
from memsvc.auth.grants import Grant
from memsvc.auth.principal import Principal
from memsvc.errors import UnauthenticatedError

SECURITY, CERTIFICATE = "transport_security_type", "x509_pem_cert"


class Naming(StrEnum):
    """What in a certificate names its client; as gRPC calls it."""

    SUBJECT = "x509_subject"
    """The subject, as RFC 2253 writes it: `CN=ingest,O=Acme`."""
    DNS = "peer_dns"
    """One of the names of hosts in its alternative names."""
    URI = "peer_uri"
    """One of the URIs there, for example a SPIFFE id."""


@dataclass(frozen=True, slots=True)
class Client:
    """A client that is known."""

    naming: Naming
    name: str
    """Compared as it is: a * stands for nothing else."""
    grants: tuple[Grant, ...]


class KnownCertificates:
    """Clients by their certificates; implements `memsvc.auth.authenticator.Certificates`.

    Args:
        clients: those that are known; of several that a certificate names, the first counts.
    """

    def __init__(self, clients: Sequence[Client]) -> None:
        self._clients = tuple(clients)

    def principal(self, peer: Peer) -> Principal | None:
        """See `Certificates.principal`."""
        if list(peer.get(SECURITY, ())) != [b"ssl"] or not list(peer.get(CERTIFICATE, ())):
            return None
        held: Mapping[Naming, frozenset[bytes]] = {naming: frozenset(peer.get(naming.value, ())) for naming in Naming}
        for client in self._clients:
            if client.name.encode() in held[client.naming]:
                return Principal(name=f"certificate:{client.name}", grants=client.grants)
        raise UnauthenticatedError("the certificate is no client's that is known", reason="CERTIFICATE_UNKNOWN")
