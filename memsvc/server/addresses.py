"""Where a server listens: on a port, or on a unix socket."""

import os
import socket
from pathlib import Path

import grpc

from memsvc.errors import InvalidArgumentError, UnavailableError
from memsvc.server.config import Settings
from memsvc.server.tls import open_certificates

MAX_SOCKET_BYTES = 103
"""Of a unix socket's path: macOS takes no more, Linux 107."""
OWNER_ALONE = 0o177
"""The mask of rights under which a socket is made."""


def listen(server: grpc.aio.Server, settings: Settings) -> str:
    """Take the port or the socket; return host and port, or `unix:` and the path.

    Raises:
        InvalidArgumentError: a certificate or the socket's path cannot be used; names the setting.
        UnavailableError: it cannot be had.
    """
    if settings.listen:
        return _listen_on_socket(server, Path(settings.listen.removeprefix("unix:")))
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    certificates = open_certificates(settings)
    try:
        if certificates:
            port = server.add_secure_port(f"{host}:{settings.port}", certificates.credentials())
        else:
            port = server.add_insecure_port(f"{host}:{settings.port}")
    except RuntimeError as error:
        raise UnavailableError(f"port {settings.port} on {settings.host} cannot be had; is it taken?") from error
    return f"{host}:{port}"


def _listen_on_socket(server: grpc.aio.Server, path: Path) -> str:
    if (size := len(os.fsencode(path))) > MAX_SOCKET_BYTES:
        raise InvalidArgumentError(
            "listen", f"the path of a unix socket has at most {MAX_SOCKET_BYTES} bytes, and this one {size}"
        )
    if _answers(path):  # gRPC would put its own in its place, and the other server would be reached no more
        raise UnavailableError(f"a server listens on {path} already")
    mask = os.umask(OWNER_ALONE)
    try:
        server.add_insecure_port(f"unix:{path}")
    except RuntimeError as error:
        raise UnavailableError(f"the socket {path} cannot be made; is there such a directory?") from error
    finally:
        os.umask(mask)
    return f"unix:{path}"


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
        return True
