"""How a command that measures prints what it found."""

from collections.abc import Callable

import typer
from memsvc_bench.report import Result, render

from memsvc.cli.output import FAILED, fail, results, stdout
from memsvc.errors import MemsvcError


def publish(run: Callable[[], Result], *, as_json: bool) -> None:
    """Run a benchmark, print its result, and end the command: with 0 only if all its checks hold."""
    try:
        result = run()
    except typer.Exit:  # a RuntimeError too: what went wrong is said already
        raise
    except (MemsvcError, OSError, ValueError, RuntimeError) as error:
        fail(str(error))
    if as_json:
        results().write(result.to_json() + "\n")
    else:
        stdout().print(render(result))
    raise typer.Exit(0 if result.ok else FAILED)
