"""A process that is asked: one JSON object a line, each way."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self


class AskedProcess:
    """A module of ours in a process of its own, which calls `answer`. It ends with its standard input.

    Attributes:
        pid: its process id.

    Args:
        module: what it runs.
        arguments: its arguments.
        environment: variables beside those of this process.
    """

    def __init__(self, module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self._name = module
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self.pid = self._process.pid

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Return its answer.

        Raises:
            RuntimeError: it ended; what it ended with is on stderr.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError(f"{self._name} has no pipes")
        try:
            self._process.stdin.write(json.dumps({"op": op, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise RuntimeError(f"{self._name} ended before {op}") from None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} ended at {op}; it needs what memsvc[bench] installs")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        """Return it; it runs already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self._process.communicate()


def answer(operations: Mapping[str, Callable[..., dict[str, Any]]]) -> None:
    """Answer questions from standard input until it ends."""
    # What a library prints is no answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(operations[request.pop("op")](**request)), file=answers, flush=True)
