"""`memsvc stack`: a whole deployment on this machine, without containers."""

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from memsvc.cli.options import AsJson
from memsvc.cli.output import FAILED, clean, fail, note, print_json, stderr, stdout, table
from memsvc.stack.child import StackError
from memsvc.stack.stack import Stack


def stack(
    *,
    data: Annotated[Path, typer.Option(help="Directory for everything it keeps, logs included.")] = Path(
        "memsvc-stack"
    ),
    servers: Annotated[int, typer.Option(min=1, max=64, help="How many memsvc servers.")] = 1,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the first server, the others' follow; 0 takes free ones.")
    ] = 50051,
    encoder: Annotated[str | None, typer.Option(help="As for memsvc serve.", show_default=False)] = None,
    config: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="TOML file with the servers' settings.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run Redis and memsvc servers on it, as docker-compose.yml does in containers, until SIGTERM or Ctrl-C.

    Prometheus runs too where it is installed. A process that ends is started again; if it ends three times within a
    minute, or does not start, everything is stopped. MEMSVC_… variables are for the servers.
    """
    options = [*(["--encoder", encoder] if encoder else []), *(["--config", str(config.absolute())] if config else [])]
    try:
        made = Stack(data, servers, port, options, note)
        asyncio.run(_run(made, as_json=as_json))
    except (StackError, OSError) as error:
        fail(str(error), FAILED)


async def _run(made: Stack, *, as_json: bool) -> None:
    """Run a stack until a signal comes; at a second one, end what is still there at once."""
    work = asyncio.create_task(_work(made, as_json=as_json))
    asked = False

    def asked_to_stop() -> None:
        nonlocal asked
        if asked:
            made.kill()
        asked = True
        work.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_stop)
    try:
        await asyncio.wait([work])
        if not work.cancelled():
            await work
    finally:
        asked = True
        if not as_json:
            stderr().print("stopping")
        await made.stop()


async def _work(made: Stack, *, as_json: bool) -> None:
    await made.start()
    if as_json:
        print_json(_as_json(made))
    else:
        _print(made)
    await made.keep()


def _as_json(made: Stack) -> dict[str, object]:
    shown = [
        {"name": child.name, "address": child.address, "pid": child.pid, "log": str(child.log)}
        for child in made.children
    ]
    return {"target": ",".join(server.address for server in made.servers), "processes": shown}


def _print(made: Stack) -> None:
    rows = table("", "address", "process", "log", right={"process"})
    for child in made.children:
        rows.add_row(*(Text(clean(str(each))) for each in (child.name, child.address, child.pid, child.log)))
    stdout().print(rows)
    target = ",".join(server.address for server in made.servers)
    stdout().print(Text(f"\nmemsvc tenants --target {target}"), soft_wrap=True)
