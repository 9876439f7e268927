"""`memsvc serve`: the server, until it is told to stop."""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from memsvc.cli.output import USAGE, fail
from memsvc.errors import InvalidArgumentError, MemsvcError


def serve(
    *,
    data: Annotated[
        Path | None, typer.Option(help="Directory for everything it keeps (default memsvc-data).", show_default=False)
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            help="Redis shared by several servers, instead of the directory: redis://, rediss:// or unix:// (default "
            "none). A password is better kept in MEMSVC_STORE, or in a file: ?password_file=PATH.",
            show_default=False,
        ),
    ] = None,
    advertise: Annotated[
        str | None,
        typer.Option(help="HOST:PORT that clients are sent to (default where it listens).", show_default=False),
    ] = None,
    allow_weak_durability: Annotated[
        bool, typer.Option("--allow-weak-durability", help="Serve on a Redis that may lose what was acknowledged.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one (default 50051).", show_default=False)
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="Address to listen on; beyond loopback only with authentication and TLS (default 127.0.0.1).",
            show_default=False,
        ),
    ] = None,
    http: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Port for HTTP/JSON on the same address; 0 takes a free one (default none).",
            show_default=False,
        ),
    ] = None,
    console: Annotated[
        bool, typer.Option("--console", help="Serve a page to look at tenants with, at /console of --http.")
    ] = False,
    listen: Annotated[
        str | None,
        typer.Option(
            help="unix:PATH, a socket for this user alone, instead of host and port (default none).",
            show_default=False,
        ),
    ] = None,
    while_held: Annotated[
        Path | None,
        typer.Option(help="Stop when nobody holds a lock (flock) on this file (default none).", show_default=False),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(help="The server's certificate in PEM; read again when it changes.", show_default=False),
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key in PEM.", show_default=False)] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(help="Authorities in PEM; every client has to show a certificate of theirs.", show_default=False),
    ] = None,
    insecure_expose: Annotated[
        bool, typer.Option("--insecure-expose", help="Listen beyond loopback without authentication or without TLS.")
    ] = False,
    encoder: Annotated[
        str | None,
        typer.Option(help="minilm, kmer, or hf:NAME for one from Hugging Face (default minilm).", show_default=False),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="What answers: openai:URL of a compatible server, hf:NAME or titans-mac:NAME (default none).",
            show_default=False,
        ),
    ] = None,
    backbone_model: Annotated[
        str | None, typer.Option(help="What that server calls the model.", show_default=False)
    ] = None,
    backbone_key_file: Annotated[
        Path | None, typer.Option(help="File with the key that it asks for.", show_default=False)
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Compute threads (default 2, or 1 where there is one core).", show_default=False),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of the metrics for Prometheus (default none).", show_default=False),
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="debug, info, warning or error (default info).", show_default=False)
    ] = None,
    auth: Annotated[
        bool, typer.Option("--auth", help="Serve those alone who have a credential; see docs/security.md.")
    ] = False,
    auth_admin_key_file: Annotated[
        Path | None, typer.Option(help="File with a key that may do everything.", show_default=False)
    ] = None,
    config: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="TOML file with these settings and more.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Log one JSON object a line.")] = False,
) -> None:
    """Run the server until SIGTERM or Ctrl-C.

    A flag goes before a variable of the environment (MEMSVC_DATA, MEMSVC_PORT, …), that before the file.
    Prints where it listens on stdout, and logs to stderr.
    """
    given: dict[str, Any] = {
        "data": data,
        "store": store,
        "advertise": advertise,
        "allow_weak_durability": allow_weak_durability or None,
        "port": port,
        "host": host,
        "http_port": http,
        "console": console or None,
        "listen": listen,
        "while_held": while_held,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "tls_client_ca": tls_client_ca,
        "insecure_expose": insecure_expose or None,
        "encoder": encoder,
        "backbone": backbone,
        "backbone_model": backbone_model,
        "backbone_key_file": backbone_key_file,
        "threads": threads,
        "metrics_port": metrics_port,
        "log_level": log_level,
        "log_json": as_json or None,
        "auth": auth or None,
        "auth_admin_key_file": auth_admin_key_file,
    }
    # The server brings torch and the encoder's libraries: seconds that no other command should pay.
    from pydantic import ValidationError  # noqa: PLC0415

    from memsvc.server.app import run  # noqa: PLC0415
    from memsvc.server.config import CONFIG_VARIABLE, Settings  # noqa: PLC0415

    if config is not None:
        os.environ[CONFIG_VARIABLE] = str(config)
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        fail(
            "\n".join(
                ": ".join(filter(None, (".".join(map(str, item["loc"])), item["msg"]))) for item in error.errors()
            ),
            USAGE,
        )
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        fail(f"{os.environ[CONFIG_VARIABLE]}: {error}", USAGE)
    except OSError as error:
        fail(f"{CONFIG_VARIABLE}: {error.filename} cannot be read: {error.strerror}", USAGE)
    try:
        run(settings)
    except InvalidArgumentError as error:  # of a setting: those of callers are answers
        fail(str(error), USAGE)
    except MemsvcError as error:
        fail(str(error))
