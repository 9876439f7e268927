"""A part of the load in a process of its own, which is told what to do by a JSON object a line and answers each."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self


class Part:
    """`python -m <module>` with arguments; as a context manager it is started, and ended on the way out.

    Args:
        module: which one; it calls `answer`.
        arguments: its command line.
        niceness: how far it stands behind others where processors are few.
    """

    def __init__(self, module: str, *arguments: str, niceness: int = 0) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._niceness = niceness
        self._process: subprocess.Popen[str]

    def ask(self, **order: Any) -> dict[str, Any]:
        """Tell it to do something; return what it says once that is done.

        Raises:
            RuntimeError: it ended.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("a part of the load was not started")
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            said = self._process.stdout.readline()
        except BrokenPipeError:
            said = ""
        if not said:
            raise RuntimeError(f"a part of the load ended: {' '.join(self._command[2:])}")
        answer: dict[str, Any] = json.loads(said)
        return answer

    def __enter__(self) -> Self:
        """Start it."""
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        os.setpriority(os.PRIO_PROCESS, self._process.pid, self._niceness)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, whatever it is doing."""
        self._process.kill()
        self._process.communicate()


async def answer(act: Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]) -> None:
    """In the part's process: carry out one order after another until there are no more."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await act(json.loads(line))), flush=True)
