"""Connections that are encrypted: whose word for the server's name counts, and what the client shows of itself."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from memsvc_client import _values


@dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """How a client's connections are encrypted. The files are PEM, and are read when the client is made.

    The host in a target, and in what servers call each other, must be in the certificate of the server there.

    Raises:
        InvalidArgumentError: there is a certificate without a key, or a key without a certificate.
    """

    ca: str | Path | None = None
    """The authorities of which a server's certificate has to be; without it those that gRPC brings."""
    cert: str | Path | None = None
    """The client's own certificate, for servers that ask for one, then those that lead to its authority."""
    key: str | Path | None = None
    """Its private key, without a password."""

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise _values.wrong("cert" if self.key else "key", "a certificate needs its key, and a key its certificate")


def credentials(tls: TLS) -> grpc.ChannelCredentials:
    """Read the files.

    Raises:
        InvalidArgumentError: one cannot be read, or does not hold what it should; names the field.
    """
    ca, cert, key = (_content(name, getattr(tls, name)) for name in ("ca", "cert", "key"))
    # gRPC takes anything, and then only says that no connection comes about.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if tls.ca is not None:
            context.load_verify_locations(tls.ca)
    except OSError:
        raise _values.wrong("ca", f"{tls.ca} holds no certificate in PEM") from None
    try:
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key, password="")  # it would ask the terminal for one
    except OSError:
        raise _values.wrong("cert", f"{tls.cert} and {tls.key} are no pair in PEM without a password") from None
    return grpc.ssl_channel_credentials(ca, key, cert)


def _content(field: str, path: str | Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise _values.wrong(field, f"{path} cannot be read: {error.strerror}") from None
