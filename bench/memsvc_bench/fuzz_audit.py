"""Tells what a Python process does that reading data never should: unpickle, run code, open files, connect.

In a server it comes in by `environment`, as a `sitecustomize`, before anything else is imported; each thing that is
watched is then a line of the server's log, with MARK in it.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

MARK = "audit: "
UNPICKLED = frozenset({"pickle.find_class"})
"""Python's audit event of a pickle that names a class or a function; one that names none is data."""
ACTIONS = UNPICKLED | {
    "exec",
    "compile",
    "import",
    "open",
    "os.system",
    "subprocess.Popen",
    "socket.connect",
    "marshal.loads",
}
"""What decoding must not do at all."""
_CUSTOMIZE = "from memsvc_bench import fuzz_audit\n\nfuzz_audit.tell()\n"


def install(watched: frozenset[str], heard: Callable[[str], None]) -> None:
    """Call `heard` with the name of each watched event, from now to the end of the process."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in watched:
            heard(event)

    sys.addaudithook(hook)


def tell() -> None:
    """Write a line to standard error whenever something is unpickled."""
    install(UNPICKLED, _say)


def environment(directory: Path) -> dict[str, str]:
    """Return variables under which a Python process tells; `directory` is made, and is to stay while it runs."""
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(_CUSTOMIZE)
    rest = os.environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": f"{directory}{os.pathsep}{rest}" if rest else str(directory)}


def _say(event: str) -> None:
    print(f"{MARK}{event}", file=sys.stderr, flush=True)
