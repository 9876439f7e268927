"""A Redis server in a process of its own, durable to the last command, to be killed and frozen."""

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

START_S = 30.0

DURABLE: Mapping[str, str] = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
    "save": "",
}
"""With these, what was answered is on disk."""


class RedisProcess:
    """`redis-server` over one directory, on a port that it keeps; start, kill and start it again.

    As a context manager it starts the server, and kills it on the way out if it still runs.

    Args:
        directory: made if it is not there; the server's log is in it too.
        settings: settings of Redis beside and in place of `DURABLE`.
        under: a command that runs it, a tracer say.
    """

    def __init__(
        self, directory: Path, settings: Mapping[str, str] | None = None, *, under: Sequence[str] = ()
    ) -> None:
        self.directory, self.port = directory, free_port()
        self._settings, self._under = {**DURABLE, **(settings or {})}, under
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it listens, `host:port`."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The same, as `memsvc serve --store` takes it."""
        return f"redis://{self.address}/0"

    @property
    def pid(self) -> int | None:
        """Its process id, None when it does not run."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it; returns once it has loaded its data.

        Raises:
            RuntimeError: it runs already, or did not start; says what it logged last.
        """
        if self._process is not None:
            raise RuntimeError("redis-server runs already")
        self.directory.mkdir(parents=True, exist_ok=True)
        own = {"bind": "127.0.0.1", "port": str(self.port), "dir": str(self.directory), "logfile": "redis.log"}
        options = [word for name, value in {**self._settings, **own}.items() for word in (f"--{name}", value)]
        command = [*self._under, "redis-server", *options]
        self._process = subprocess.Popen(command, start_new_session=True)  # noqa: S603 - the system's own
        end = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                tail = (self.directory / "redis.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"redis-server did not start; its log ends with:\n{tail}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it with SIGKILL. Nothing happens if it does not run."""
        process, self._process = self._process, None
        if process is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None:
            os.killpg(self._process.pid, number)

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill it if it still runs."""
        self.kill()

    def _answers(self) -> bool:
        """Whether it serves; while it loads its data it does not."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on, and that no outgoing connection is given."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free")
