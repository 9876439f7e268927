"""Deployments of memsvc that can be broken in many ways, one at a time, and heal."""

import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from memsvc.failpoints import VARIABLE
from memsvc_bench.redis_process import free_port
from memsvc_bench.server_process import ServerProcess

ENVIRONMENT = {
    "MEMSVC_ENCODER": "kmer",
    "MEMSVC_THREADS": "1",
    # Snapshots often, views that come and go, so that faults fall into them.
    "MEMSVC_SNAPSHOT_TOKENS": "500",
    "MEMSVC_SNAPSHOT_MIN_TOKENS": "100",
    "MEMSVC_UNLOAD_IDLE_S": "2",
    "MEMSVC_UNLOAD_SMALL_IDLE_S": "2",
}

REACH: Mapping[str, int] = {
    "append.before": 100,
    "append.after": 100,
    "acknowledge.before": 100,
    "snapshot.chunk": 20,
    "snapshot.swap.before": 10,
    "snapshot.swap.after": 10,
    "trim.before": 10,
    "trim.after": 10,
    "evict": 5,
    "restore": 10,
    "erase.payloads": 3,
    "erase.files": 6,
}
"""The failpoints to die at, and within how many times of coming by."""

REACH_S = 6.0
"""How long a server may take to come by."""

Break = Callable[[random.Random], AbstractContextManager[None]]
"""Breaks something, and heals it on the way out."""


class Deployment:
    """Some servers that can be broken. As a context manager they start, and are killed on the way out.

    Args:
        servers: each with a port that it keeps.
        failpoints: those to die at, and within how many times of coming by.

    Attributes:
        faults: what can be broken, by name.
        injected: how often each was.
    """

    def __init__(self, servers: Mapping[int, ServerProcess], failpoints: Mapping[str, int]) -> None:
        self.servers = list(servers.values())
        self.target = ",".join(f"127.0.0.1:{port}" for port in servers)
        self.injected: Counter[str] = Counter()
        self.faults: dict[str, Break] = {
            "SIGKILL a server": self._kill,
            "SIGSTOP a server": self._freeze,
            **{f"die at {name}": partial(self._die, name, within) for name, within in failpoints.items()},
        }

    def start(self) -> None:
        """Start everything."""
        for server in self.servers:
            server.start()

    def kill(self) -> None:
        """Kill everything that runs."""
        for server in self.servers:
            server.kill()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill."""
        self.kill()

    @contextmanager
    def _kill(self, rng: random.Random) -> Iterator[None]:
        server = rng.choice(self.servers)
        server.kill()
        self.injected["SIGKILL a server"] += 1
        yield
        server.start()

    @contextmanager
    def _freeze(self, rng: random.Random) -> Iterator[None]:
        server = rng.choice(self.servers)
        server.send(signal.SIGSTOP)
        self.injected["SIGSTOP a server"] += 1
        yield
        server.send(signal.SIGCONT)

    @contextmanager
    def _die(self, name: str, within: int, rng: random.Random) -> Iterator[None]:
        """Start a server so that it dies at a failpoint; one that does not come by in time is killed where it is."""
        server = rng.choice(self.servers)
        server.kill()
        with suppress(RuntimeError):  # it died before it listened; whatever else kept it, the next start tells
            server.start({VARIABLE: f"{name}=crash@{rng.randint(1, within)}"})
        if server.ends_within(REACH_S):
            self.injected[f"die at {name}"] += 1
        else:
            self.injected["SIGKILL a server"] += 1
        server.kill()
        yield
        server.start()


def sqlite(scratch: Path) -> Deployment:
    """Return one server over one data directory."""
    port = free_port()
    return Deployment({port: ServerProcess(scratch / "data", port=port, environment=ENVIRONMENT)}, REACH)
