"""The server's certificate: read from files, and read again when these change."""

import ssl
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import grpc
import structlog

from memsvc.errors import InvalidArgumentError
from memsvc.server.config import Settings

log = structlog.get_logger("memsvc.tls")


class _Stamp(NamedTuple):
    """What tells one content of a file from another, without reading it."""

    device: int
    inode: int
    size: int
    modified_ns: int


class Certificates:
    """Certificate, key and, where clients have to show one too, their authorities; all in PEM.

    Every new connection gets what the files hold then. Connections that are open keep what they began with. Files that
    do not fit together, as in the middle of a renewal, are left alone until they do.

    Args:
        cert: the server's certificate, then those that lead to its authority.
        key: its private key, without a password.
        client_ca: the authorities that every client's certificate has to be of; None asks clients for none.

    Raises:
        InvalidArgumentError: a file cannot be used; names the setting.
    """

    def __init__(self, cert: Path, key: Path, client_ca: Path | None = None) -> None:
        self._files = {"tls_cert": cert, "tls_key": key} | ({"tls_client_ca": client_ca} if client_ca else {})
        self._lock = Lock()
        self._seen = self._stamps()
        self._first = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """Return what a port is opened with."""
        # gRPC knows no "ask, but do not insist" here: with authorities, a client without a certificate stays outside.
        return grpc.dynamic_ssl_server_credentials(
            self._first,
            self._changed,  # type: ignore[arg-type]  # gRPC takes None for no change, its stubs do not
            require_client_authentication="tls_client_ca" in self._files,
        )

    def context(self) -> ssl.SSLContext:
        """Return what a port of Python's own is opened with."""
        current = self._context()

        def renew(connection: ssl.SSLObject, _name: str | None, _first: ssl.SSLContext) -> None:
            nonlocal current
            if self._changed() is not None:
                current = self._context()
            connection.context = current

        first = self._context()
        # Asked at the beginning of each connection, also of those that name no server.
        first.sni_callback = renew
        return first

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self._files["tls_cert"], self._files["tls_key"], password="")
        if client_ca := self._files.get("tls_client_ca"):
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what is new for a connection that begins, None if nothing is. Runs on threads of gRPC's."""
        with self._lock:
            try:
                stamps = self._stamps()
                if stamps == self._seen:
                    return None
                # Also where it fails: to say so once is enough.
                self._seen = stamps
                found = self._read()
            except InvalidArgumentError as error:
                log.error("certificates changed and cannot be used; the ones before stay", reason=str(error))
                return None
            log.info("certificates read again")
            return found

    def _stamps(self) -> dict[str, _Stamp | None]:
        """Return what the files are now, None for one that is not there."""
        found: dict[str, _Stamp | None] = {}
        for setting, path in self._files.items():
            try:
                stat = path.stat()
            except OSError:
                found[setting] = None
            else:
                found[setting] = _Stamp(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        return found

    def _read(self) -> grpc.ServerCertificateConfiguration:
        pem = {setting: _content(setting, path) for setting, path in self._files.items()}
        self._check()
        return grpc.ssl_server_certificate_configuration([(pem["tls_key"], pem["tls_cert"])], pem.get("tls_client_ca"))

    def _check(self) -> None:
        """Find out whether the files fit together: gRPC would only refuse every connection.

        A file that is replaced meanwhile has another stamp than the one seen, and is read again next time.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        cert, key = self._files["tls_cert"], self._files["tls_key"]
        try:
            # Without a password it would ask the terminal for one.
            context.load_cert_chain(cert, key, password="")
        except OSError as error:
            raise InvalidArgumentError(
                "tls_cert", f"{cert} and the key in tls_key, {key}, are no pair in PEM without a password: {error}"
            ) from error
        if client_ca := self._files.get("tls_client_ca"):
            try:
                context.load_verify_locations(client_ca)
            except OSError as error:
                raise InvalidArgumentError("tls_client_ca", f"{client_ca} holds no certificate in PEM") from error


def open_certificates(settings: Settings) -> Certificates | None:
    """Return the certificates that the settings name, None if they name none.

    Raises:
        InvalidArgumentError: a file cannot be used; names the setting.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return Certificates(settings.tls_cert, settings.tls_key, settings.tls_client_ca)


def _content(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidArgumentError(setting, f"{path} cannot be read: {error.strerror}") from error
