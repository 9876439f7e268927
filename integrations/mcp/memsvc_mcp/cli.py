"""`memsvc-mcp`: the server of the protocol as a process."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from mcp.server.transport_security import TransportSecuritySettings

from memsvc_mcp.connect import Connection, default_data
from memsvc_mcp.memory import Memory
from memsvc_mcp.server import make_server

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C, or, over stdio, until the client leaves."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    key = os.environ.get("MEMSVC_API_KEY") or None
    try:
        if options.api_key_file is not None:
            key = options.api_key_file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        parser.error(f"--api-key-file: {options.api_key_file} cannot be read")
    connection = Connection(
        target=options.target, data=options.data, api_key=key, tls=options.tls, tls_ca=options.tls_ca
    )
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # As SIGTERM does: an exception would wait for the thread that reads stdin, until the client leaves.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    asyncio.run(_serve(connection, options))


async def _serve(connection: Connection, options: argparse.Namespace) -> None:
    memory = Memory(connection.open, options.tenant)
    server = make_server(memory)
    try:
        if options.http is None:
            await server.run_stdio_async()
        else:
            host = f"[{options.host}]" if ":" in options.host else options.host
            print(f"memsvc-mcp serves http://{host}:{options.http}/mcp", file=sys.stderr, flush=True)
            await server.run_streamable_http_async(
                host=options.host,
                port=options.http,
                transport_security=security(options.allow_host, options.allow_origin),
            )
    finally:
        await memory.close()


def security(hosts: Sequence[str], origins: Sequence[str]) -> TransportSecuritySettings:
    """Return under which names it is called, and by which pages: a page could use any name of its own otherwise."""
    known = [*("[::1]" if host == "::1" else host for host in LOOPBACK), *hosts]
    return TransportSecuritySettings(
        allowed_hosts=[form for host in known for form in (host, f"{host}:*")], allowed_origins=list(origins)
    )


def _port(value: str) -> int:
    """Read a port.

    Raises:
        ValueError: it is none.
    """
    port = int(value)
    if not 0 < port < 65536:
        raise ValueError
    return port


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the arguments."""
    parser = argparse.ArgumentParser(
        prog="memsvc-mcp", description="A tenant's memory for clients of the Model Context Protocol, over stdio."
    )
    add = parser.add_argument
    add("--tenant", default=os.environ.get("MEMSVC_TENANT", "default"), help="whose memory (default: default)")
    add(
        "--target",
        default=os.environ.get("MEMSVC_TARGET"),
        help="HOST:PORT of a memsvc server, several with commas between (default: one of its own, in --data)",
    )
    add("--data", type=Path, default=default_data(), help="directory of its own server (default: %(default)s)")
    add("--api-key-file", type=Path, help="file with the API key (or the variable MEMSVC_API_KEY)")
    add("--tls", action="store_true", help="encrypt; the server's certificate is of a public authority")
    add("--tls-ca", type=Path, help="encrypt; the server's certificate is of an authority in this PEM file")
    add("--http", type=_port, metavar="PORT", help="serve streamable HTTP on this port instead of stdio")
    add("--host", default=LOOPBACK[0], choices=LOOPBACK, help="loopback address for --http (default: %(default)s)")
    add("--allow-host", action="append", default=[], metavar="NAME", help="a name that a proxy calls us by")
    add("--allow-origin", action="append", default=[], metavar="URL", help="a web page's origin that may call us")
    return parser


if __name__ == "__main__":
    main()
