"""What a stack is made of: Redis, memsvc servers, and Prometheus where there is one."""

import asyncio
import json
import re
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from memsvc.stack.child import Child

_LISTENING = re.compile(r"memsvc listening on (\S+)")
_POLL_S = 0.05


class Redis(Child):
    """`redis-server` with the settings of docker-compose.yml. Only this user reaches it, through a socket.

    Args:
        binary: the program.
        directory: where it keeps its data.
        socket: the socket's path, of 100 characters at most.
        log: its log file.
        lock: an open file whose lock it holds as long as it lives.
    """

    def __init__(self, binary: Path, directory: Path, socket: Path, log: Path, lock: int) -> None:
        super().__init__("redis", log)
        self._binary, self._directory, self._socket, self._lock = binary, directory, socket, lock

    @property
    def address(self) -> str:
        """The URL of the store."""
        return f"unix://{self._socket}"

    def _command(self) -> Sequence[str | Path]:
        with resources.as_file(resources.files("memsvc.stack") / "redis.conf") as config:
            own: dict[str, str | Path] = {
                "port": "0",
                "unixsocket": self._socket,
                "unixsocketperm": "700",
                "dir": self._directory,
            }
            return [self._binary, config, *(word for name, value in own.items() for word in (f"--{name}", value))]

    def _descriptors(self) -> Sequence[int]:
        return (self._lock,)

    async def _ready(self, process: asyncio.subprocess.Process) -> None:
        while process.returncode is None:
            try:
                reader, writer = await asyncio.open_unix_connection(self._socket)
            except OSError:
                await asyncio.sleep(_POLL_S)
                continue
            writer.write(b"PING\r\n")
            answer = await reader.readline()
            writer.close()
            if answer.startswith(b"+PONG"):  # not while it loads its data
                return
            await asyncio.sleep(_POLL_S)


class Server(Child):
    """`memsvc serve` on the stack's Redis. Started again, it listens where it listened before.

    Args:
        name: what to call it.
        log: its log file.
        store: URL of the Redis.
        port: where it listens; 0 for a free one.
        options: further ones of `memsvc serve`.
        metrics_port: where Prometheus reads its metrics; None where nobody does.
    """

    def __init__(
        self, name: str, log: Path, *, store: str, port: int, options: Sequence[str], metrics_port: int | None
    ) -> None:
        super().__init__(name, log)
        self._store, self._port, self._options, self._metrics_port = store, port, options, metrics_port
        self._target = ""

    @property
    def address(self) -> str:
        """Host and port; empty before it served for the first time."""
        return self._target

    def _command(self) -> Sequence[str | Path]:
        own = ["--store", self._store, "--port", str(self._port)]
        return [sys.executable, "-m", "memsvc.cli.main", "serve", *self._options, *own]

    def _environment(self) -> Mapping[str, str]:
        return {} if self._metrics_port is None else {"MEMSVC_METRICS_PORT": str(self._metrics_port)}

    def _speaks(self) -> bool:
        return True

    async def _ready(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101  # it speaks
        if found := _LISTENING.search((await process.stdout.readline()).decode()):
            self._target = found[1]
            self._port = int(self._target.rpartition(":")[2])
        else:
            await process.wait()


class Prometheus(Child):
    """Prometheus over the servers of the stack.

    Args:
        binary: the program.
        directory: where it keeps its data and its settings.
        port: where it listens.
        targets: where the servers' metrics are.
        log: its log file.
    """

    def __init__(self, binary: Path, directory: Path, port: int, targets: Sequence[str], log: Path) -> None:
        super().__init__("prometheus", log)
        self._binary, self._directory, self._port, self._targets = binary, directory, port, targets

    @property
    def address(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self._port}"

    def _command(self) -> Sequence[str | Path]:
        config = self._directory / "prometheus.yml"
        scrape = {"job_name": "memsvc", "scrape_interval": "15s", "static_configs": [{"targets": list(self._targets)}]}
        config.write_text(json.dumps({"scrape_configs": [scrape]}))  # JSON is YAML
        return [
            self._binary,
            f"--config.file={config}",
            f"--storage.tsdb.path={self._directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
        ]

    async def _ready(self, process: asyncio.subprocess.Process) -> None:
        while process.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                await asyncio.sleep(_POLL_S)
            else:
                writer.close()
                return
