"""Deployments of memsvc that can be broken in many ways, one at a time, and heal."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from memsvc.failpoints import VARIABLE
from memsvc_bench.proxy import Kind, NetworkFault, ProxyProcess
from memsvc_bench.redis_process import RedisProcess, free_port
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

REACH_ON_REDIS: Mapping[str, int] = {"lease.renew": 20, "takeover": 8}
"""And those that only servers on Redis come by."""

LEASE_S = 3
"""On Redis: short, so that shards change hands while a fault lasts."""

NETWORK: Mapping[str, NetworkFault] = {
    "network: delay": NetworkFault(kind=Kind.DELAY, delay_ms=100),
    "network: reset": NetworkFault(kind=Kind.RESET),
    "network: black hole": NetworkFault(kind=Kind.BLACK_HOLE),
    "network: half open": NetworkFault(kind=Kind.HALF_OPEN),
    "network: one reply lost": NetworkFault(kind=Kind.DROP_REPLY, containing="EVALSHA", times=1),
    "network: replies lost": NetworkFault(kind=Kind.DROP_REPLY),
    "network: replies lost, in silence": NetworkFault(kind=Kind.DROP_REPLY, hang=True),
}

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
        self._missed: set[str] = set()
        """Failpoints that a server did not come by often enough, the last time."""
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
        """Start a server so that it dies at a failpoint; one that does not come by in time is killed where it is.

        Then the next one dies the first time that it comes by.
        """
        server = rng.choice(self.servers)
        server.kill()
        with suppress(RuntimeError):  # it died before it listened; whatever else kept it, the next start tells
            server.start({VARIABLE: f"{name}=crash@{1 if name in self._missed else rng.randint(1, within)}"})
        if server.ends_within(REACH_S):
            self._missed.discard(name)
            self.injected[f"die at {name}"] += 1
        else:
            self._missed.add(name)
            self.injected["SIGKILL a server"] += 1
        server.kill()
        yield
        server.start()


class RedisDeployment(Deployment):
    """Some servers on one Redis, which they reach through a proxy each, so that the network can be broken, too."""

    def __init__(self, scratch: Path, servers: int = 2) -> None:
        self._redis = RedisProcess(scratch / "redis")
        self._proxies = [ProxyProcess(self._redis.address) for _ in range(servers)]
        super().__init__(
            {
                port: _OnRedis(scratch / f"server-{number}", proxy, port)
                for number, (proxy, port) in enumerate((proxy, free_port()) for proxy in self._proxies)
            },
            {**REACH, **REACH_ON_REDIS},
        )
        self.faults |= {
            "SIGKILL Redis": self._kill_redis,
            "SIGSTOP Redis": self._freeze_redis,
            "SIGKILL Redis and a server": self._kill_redis_and_server,
            "SIGSTOP Redis and a server": self._freeze_redis_and_server,
            **{name: partial(self._disturb, name, fault) for name, fault in NETWORK.items()},
        }

    def start(self) -> None:
        """Start everything that does not run: Redis first."""
        if self._redis.pid is None:
            self._redis.start()
        for proxy in self._proxies:
            if not proxy.address:
                proxy.start()
        super().start()

    def kill(self) -> None:
        """Kill everything that runs, but the proxies."""
        super().kill()
        self._redis.kill()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill everything."""
        super().__exit__(kind, error, trace)
        for proxy in self._proxies:
            proxy.close()

    @contextmanager
    def _kill_redis(self, rng: random.Random) -> Iterator[None]:
        self._redis.kill()
        self.injected["SIGKILL Redis"] += 1
        yield
        self._redis.start()

    @contextmanager
    def _freeze_redis(self, rng: random.Random) -> Iterator[None]:
        self._redis.send(signal.SIGSTOP)
        self.injected["SIGSTOP Redis"] += 1
        yield
        self._redis.send(signal.SIGCONT)

    @contextmanager
    def _kill_redis_and_server(self, rng: random.Random) -> Iterator[None]:
        server = rng.choice(self.servers)
        server.kill()
        self._redis.kill()
        self.injected["SIGKILL Redis and a server"] += 1
        yield
        self._redis.start()
        server.start()

    @contextmanager
    def _freeze_redis_and_server(self, rng: random.Random) -> Iterator[None]:
        """Thaw one, and the other a moment later, in either order."""
        server = rng.choice(self.servers)
        self._redis.send(signal.SIGSTOP)
        server.send(signal.SIGSTOP)
        self.injected["SIGSTOP Redis and a server"] += 1
        yield
        thaw = [self._redis.send, server.send]
        rng.shuffle(thaw)
        thaw[0](signal.SIGCONT)
        time.sleep(rng.uniform(0, LEASE_S))
        thaw[1](signal.SIGCONT)

    @contextmanager
    def _disturb(self, name: str, fault: NetworkFault, rng: random.Random) -> Iterator[None]:
        """Break the network before one server, or before all of them."""
        proxies = rng.choice([[rng.choice(self._proxies)], self._proxies])
        for proxy in proxies:
            proxy.set(fault)
        self.injected[name] += 1
        yield
        for proxy in proxies:
            proxy.set(NetworkFault())


class _OnRedis(ServerProcess):
    """A server that reaches Redis through a proxy, which is started before it."""

    def __init__(self, data: Path, proxy: ProxyProcess, port: int) -> None:
        super().__init__(data, port=port, environment=ENVIRONMENT)
        self._proxy = proxy

    def start(self, environment: Mapping[str, str] | None = None) -> float:
        """See `ServerProcess.start`."""
        on = {"MEMSVC_STORE": f"redis://{self._proxy.address}/0", "MEMSVC_LEASE_S": str(LEASE_S)}
        return super().start({**on, **(environment or {})})


def redis(scratch: Path) -> Deployment:
    """Return two servers on one Redis."""
    return RedisDeployment(scratch)


def sqlite(scratch: Path) -> Deployment:
    """Return one server over one data directory."""
    port = free_port()
    return Deployment({port: ServerProcess(scratch / "data", port=port, environment=ENVIRONMENT)}, REACH)
