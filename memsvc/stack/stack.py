"""A deployment on one machine: started in order, kept up, stopped in the order's reverse."""

import asyncio
import fcntl
import os
import shutil
import socket
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from memsvc.stack.child import Child, StackError
from memsvc.stack.children import Prometheus, Redis, Server

MOST_ENDS = 3
"""Times that a process may end within `ENDS_S` and is started again."""
ENDS_S = 60.0


class Stack:
    """Redis, servers on it, and Prometheus where it is installed.

    Args:
        directory: for all that it keeps; made if it is not there, for this user alone.
        servers: how many, one at least.
        port: of the first server, the others' follow; 0 for free ones.
        options: further ones of `memsvc serve`, for each.
        tell: called with what a person should know meanwhile.

    Raises:
        StackError: there is no redis-server, or another stack uses the directory.
        OSError: the directory cannot be used.
    """

    def __init__(
        self, directory: Path, servers: int, port: int, options: Sequence[str], tell: Callable[[str], None]
    ) -> None:
        self._tell = tell
        redis = _find("redis-server")
        if redis is None:
            raise StackError("there is no redis-server on the PATH; install Redis 7.0 or newer")
        directory = directory.absolute()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _lock(directory)
        for name in ("redis", "prometheus"):
            (directory / name).mkdir(mode=0o700, exist_ok=True)
        # A socket's path must be short; a directory's need not be.
        self._scratch = Path(tempfile.mkdtemp(prefix="memsvc-stack-"))
        self.redis = Redis(
            redis, directory / "redis", self._scratch / "redis.sock", directory / "redis.log", self._lock
        )
        watcher = _find("prometheus")
        metrics = [_free_port() if watcher else None for _ in range(servers)]
        self.servers = tuple(
            Server(
                f"memsvc-{number}",
                directory / f"memsvc-{number}.log",
                store=self.redis.address,
                port=port + number if port else 0,
                options=options,
                metrics_port=metrics[number],
            )
            for number in range(servers)
        )
        self.prometheus = watcher and Prometheus(
            watcher,
            directory / "prometheus",
            _free_port(),
            [f"127.0.0.1:{each}" for each in metrics],
            directory / "prometheus.log",
        )
        self._tiers: tuple[tuple[Child, ...], ...] = (
            (self.redis,),
            self.servers,
            (self.prometheus,) if self.prometheus else (),
        )

    @property
    def children(self) -> tuple[Child, ...]:
        """All its processes, in the order of their start."""
        return tuple(child for tier in self._tiers for child in tier)

    async def start(self) -> None:
        """Start all; return once all of them serve.

        Raises:
            StackError: one does not start.
        """
        for tier in self._tiers:
            starts = [asyncio.create_task(child.start()) for child in tier]
            try:
                for start in starts:
                    await start
            finally:
                await _cancel(starts)

    async def keep(self) -> None:
        """Start again what ends. Returns never.

        Raises:
            StackError: one does not start again, or ends too often.
        """
        keeping = [asyncio.create_task(self._keep(child)) for child in self.children]
        try:
            done, _ = await asyncio.wait(keeping, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
        finally:
            await _cancel(keeping)

    async def stop(self) -> None:
        """Stop all that runs: Prometheus, then the servers, then Redis."""
        for tier in reversed(self._tiers):
            stopped = await asyncio.gather(*(child.stop() for child in tier))
            for child, orderly in zip(tier, stopped, strict=True):
                if not orderly:
                    self._tell(f"{child.name} did not end when it was asked to, and was killed")
        shutil.rmtree(self._scratch, ignore_errors=True)
        os.close(self._lock)

    def kill(self) -> None:
        """End all at once."""
        for child in self.children:
            child.kill()

    async def _keep(self, child: Child) -> None:
        ends: deque[float] = deque(maxlen=MOST_ENDS)
        while True:
            code = await child.ended()
            how = f"with exit code {code}" if code >= 0 else f"by signal {-code}"
            ends.append(time.monotonic())
            if len(ends) == MOST_ENDS and ends[-1] - ends[0] < ENDS_S:
                raise StackError(f"{child.name} ended {how}, {MOST_ENDS} times within a minute; see {child.log}")
            self._tell(f"{child.name} ended {how}; it is started again")
            await child.start()
            self._tell(f"{child.name} serves again at {child.address}, process {child.pid}")


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _find(program: str) -> Path | None:
    found = shutil.which(program)
    return Path(found) if found else None


def _lock(directory: Path) -> int:
    """Hold the directory, for this process and whoever it hands the descriptor to."""
    file = os.open(directory / "stack.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise StackError(
            f"{directory} is in use by another stack, or by the redis-server of one that was killed; end that first"
        ) from None
    return file


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
