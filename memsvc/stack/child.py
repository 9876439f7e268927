"""One process of the stack, from its start to its end."""

from __future__ import annotations

import asyncio
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

START_S = 120.0
"""Until a process that is not ready is taken for failed: a server loads its encoder, Redis its log."""
STOP_S = 60.0
"""Until a process that was asked to end is killed."""
_LOG_TAIL_BYTES = 2_000


class StackError(Exception):
    """A process did not start, or will not stay; says which and why."""


class Child(ABC):
    """What it says goes to a log file, behind what was there.

    Args:
        name: what to call it.
        log: its log file.
    """

    def __init__(self, name: str, log: Path) -> None:
        self.name, self.log = name, log
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Its process id, None when it does not run."""
        return self._process.pid if self._process and self._process.returncode is None else None

    @property
    @abstractmethod
    def address(self) -> str:
        """Where it is reached."""

    @abstractmethod
    def _command(self) -> Sequence[str | Path]:
        """Return program and arguments."""

    def _environment(self) -> Mapping[str, str]:
        """Return variables beside those of this process."""
        return {}

    def _descriptors(self) -> Sequence[int]:
        """Return open files that it shares with this process."""
        return ()

    @abstractmethod
    async def _ready(self, process: asyncio.subprocess.Process) -> None:
        """Wait until it serves; end, too, when the process does."""

    async def start(self) -> None:
        """Start it, and return once it serves.

        Raises:
            StackError: it ended, or did not serve in time; with the end of its log.
        """
        with self.log.open("ab") as log:
            # In a session of its own: a Ctrl-C is for the stack, which ends its processes in their order.
            self._process = process = await asyncio.create_subprocess_exec(
                *self._command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if self._speaks() else log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self._environment()},
                pass_fds=self._descriptors(),
            )
        try:
            async with asyncio.timeout(START_S):
                await self._ready(process)
        except TimeoutError:
            await self.stop(0)
            raise StackError(f"{self.name} was not ready within {START_S:g} s; see {self.log}") from None
        if process.returncode is not None:
            raise StackError(f"{self.name} did not start; {self.log} ends with:\n{self._tail()}")

    def _speaks(self) -> bool:
        """Whether its standard output is read here."""
        return False

    async def ended(self) -> int:
        """Wait for it to end; return the exit code, or minus the signal."""
        return 0 if self._process is None else await self._process.wait()

    async def stop(self, grace: float = STOP_S) -> bool:
        """Ask it to end, and kill it if it does not within so many seconds; return whether it ended by itself."""
        self._send(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace):
                await self.ended()
        except TimeoutError:
            self.kill()
            await self.ended()
            return False
        return True

    def kill(self) -> None:
        """End it, at whatever it is doing."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):  # it ended just now
                self._process.send_signal(number)

    def _tail(self) -> str:
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - _LOG_TAIL_BYTES))
            return log.read().decode(errors="replace").strip()
