"""The progress of an ingest: how much is in the memory, how fast, and how surprising it was. Drawn on stderr."""

import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from memsvc_client import MemoryClient, MemsvcError, TenantStats
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from memsvc.cli.output import stderr

POLL_S = 1.0


class IngestProgress:
    """A bar over the bytes of text that are in a tenant's memory, from what was sent and the tenant's stats.

    Args:
        client: shared with the writer.
        tenant: whose stats to poll.
        total: bytes of text to come, as far as they are known.
        hidden: draw nothing.
    """

    def __init__(self, client: MemoryClient, tenant: str, total: int, *, hidden: bool = False) -> None:
        self._client, self._tenant, self._total, self._sent = client, tenant, total, 0
        self._progress = Progress(
            TextColumn("ingest"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            console=stderr(),
            disable=hidden,
        )
        self._task = self._progress.add_task("", total=total or None, figures="")
        self._ended = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="ingest-progress", daemon=True)

    def sized(self, more: int) -> None:
        """Correct the total by so many bytes."""
        self._total += more

    def sent(self, size: int) -> None:
        """Count bytes that are durable."""
        self._sent += size

    def __enter__(self) -> Self:
        """Draw the bar and begin to poll."""
        self._progress.start()
        if not self._progress.disable:
            self._poller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop polling and leave the bar as it is."""
        self._ended.set()
        if self._poller.is_alive():
            self._poller.join()
        if kind is None:
            self._progress.update(self._task, total=1, completed=1)
        self._progress.stop()

    def _poll(self) -> None:
        began, first = time.monotonic(), None
        while not self._ended.wait(POLL_S):
            # A figure that comes late is no reason to end an ingest; the writer meets what is.
            with suppress(MemsvcError):
                stats = self._client.stats(self._tenant, live=True, timeout=5.0)
                first = stats.tokens if first is None else first
                self._draw(stats, (stats.tokens - first) / (time.monotonic() - began))

    def _draw(self, stats: TenantStats, rate: float) -> None:
        figures = f"{rate:,.0f} tokens/s  surprise {stats.surprise_recent:.3g}  gate {stats.gate_share:.0%}"
        completed = max(0, self._sent - stats.pending_bytes)
        self._progress.update(self._task, total=max(self._total, self._sent), completed=completed, figures=figures)
