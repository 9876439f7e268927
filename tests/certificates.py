"""Certificates for tests: an authority, and what it vouches for, as PEM files."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


class Pair(NamedTuple):
    """The files of a certificate and of its key."""

    cert: Path
    key: Path


class Authority:
    """Vouches for names on loopback.

    Args:
        directory: where its files are written.
        name: its own.
    """

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._directory, self._name = directory, _subject(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        directory.mkdir(parents=True, exist_ok=True)
        builder = self._builder(self._name, self._key, DAY).add_extension(x509.BasicConstraints(True, None), True)
        self.ca = directory / f"{name}.crt"
        self.ca.write_bytes(builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM))

    def issue(
        self,
        name: str = "server",
        hosts: tuple[str, ...] = ("localhost", "127.0.0.1"),
        lasts: timedelta = DAY,
        password: bytes | None = None,
    ) -> Pair:
        """Write a certificate and its key, over those that this name had before."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._builder(_subject(name), key, lasts)
            .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), False)
            .sign(self._key, SHA256())
        )
        pair = Pair(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        hidden: KeySerializationEncryption = BestAvailableEncryption(password) if password else NoEncryption()
        pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden))
        pair.cert.write_bytes(certificate.public_bytes(Encoding.PEM))
        return pair

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, lasts: timedelta
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * DAY)
            .not_valid_after(now + lasts)
        )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    if "://" in host:
        return x509.UniformResourceIdentifier(host)
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
