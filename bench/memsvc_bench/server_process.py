"""A memsvc server in a process of its own, to be measured and killed."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_LISTENING = re.compile(r"memsvc listening on (\S+)")
_LOG_TAIL_BYTES = 4_000
_STOP_TIMEOUT = 60.0


class ServerProcess:
    """`memsvc serve` over one data directory; start, kill and start it again.

    As a context manager it starts the server, and kills it on the way out if it still runs.

    Args:
        data: the data directory; the server's log is written beside it, as `<data>.log`.
        options: further options of `memsvc serve`.
        port: where it listens; 0 for a free port, another one after every start.
        environment: variables beside those of this process.
        start_timeout: seconds until a server that does not listen is taken for failed.
    """

    def __init__(
        self,
        data: Path,
        options: Sequence[str] = (),
        *,
        port: int = 0,
        environment: Mapping[str, str] | None = None,
        start_timeout: float = 120.0,
    ) -> None:
        self.data = data
        self.log = data.with_name(f"{data.name}.log")
        self._options = tuple(options)
        self._port, self._environment = port, dict(environment or {})
        self._start_timeout = start_timeout
        self._process: subprocess.Popen[str] | None = None
        self._target = ""

    @property
    def target(self) -> str:
        """Where it listens, `127.0.0.1:PORT`; empty while it does not run."""
        return self._target

    @property
    def pid(self) -> int | None:
        """Its process id, None when it does not run."""
        return self._process.pid if self._process else None

    def start(self, environment: Mapping[str, str] | None = None) -> float:
        """Start the server and return the seconds until it listens.

        Args:
            environment: variables for this time only.

        Raises:
            RuntimeError: it runs already, ended, or did not listen in time; says what it logged last.
        """
        if self._process is not None:
            raise RuntimeError("the server runs already")
        at = ["--port", str(self._port), "--data", str(self.data)]
        began = time.monotonic()
        with self.log.open("ab") as log:
            # In a session of its own: a Ctrl-C is for the caller, which ends the server in its own order.
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "memsvc.cli.main", "serve", *at, *self._options],
                stdout=subprocess.PIPE,
                stderr=log,
                stdin=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self._environment, **(environment or {})},
            )
        line = self._first_line()
        if (match := _LISTENING.search(line)) is None:
            self.kill()
            raise RuntimeError(f"the server did not start; its log ends with:\n{self._log_tail()}")
        self._target = match[1]
        return time.monotonic() - began

    @property
    def returncode(self) -> int | None:
        """What it ended with by itself; None while it runs, or does not run at all."""
        return self._process.poll() if self._process else None

    def kill(self) -> None:
        """End it with SIGKILL, at whatever it is doing. Nothing happens if it does not run."""
        self._end(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def ends_within(self, seconds: float) -> bool:
        """Wait for it to end by itself, for so many seconds at most; return whether it did, or does not run at all."""
        if self._process is None:
            return True
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """End it with SIGTERM and wait until it has drained; after a minute, end it with SIGKILL."""
        self._end(signal.SIGTERM)

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill it if it still runs."""
        self.kill()

    def _first_line(self) -> str:
        """The first line on its standard output; empty when there is none in time."""
        process = self._process
        if process is None or process.stdout is None:
            return ""
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.append(process.stdout.readline()), daemon=True)  # type: ignore[union-attr]  # checked above
        reader.start()
        reader.join(self._start_timeout)
        return lines[0] if lines else ""

    def _end(self, number: signal.Signals) -> None:
        process, self._process, self._target = self._process, None, ""
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def _log_tail(self) -> str:
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - _LOG_TAIL_BYTES))
            return log.read().decode(errors="replace").strip()
