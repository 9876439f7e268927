"""Who watches this server: what the settings ask for is set up here, and nothing else is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata
from typing import TYPE_CHECKING

import structlog

from memsvc.engine.engine import Engine
from memsvc.engine.figures import gather
from memsvc.errors import FailedPreconditionError
from memsvc.observability.exposition import Exposition
from memsvc.observability.metrics import Metrics, Seen
from memsvc.observability.survey import Surveyor
from memsvc.observability.telemetry import Telemetry
from memsvc.observability.watched_store import watched
from memsvc.server.config import Settings
from memsvc.store.base import Store

if TYPE_CHECKING:
    from memsvc.observability.tracing import Tracing

log = structlog.get_logger("memsvc.watch")

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Watch:
    """Metrics, where there is a port for them, and traces, where there is a collector.

    Raises:
        FailedPreconditionError: there are to be traces, and the packages for them are not installed.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine: Engine | None = None
        self._surveyor: Surveyor | None = None
        self._metrics = None if settings.metrics_port is None else Metrics(self._seen)
        self._tracing = _tracing(settings) if settings.otlp_endpoint else None
        self.telemetry = Telemetry(self._metrics, self._tracing)

    def store(self, store: Store) -> Store:
        """Return the store, timed if anyone wants to know."""
        return watched(store, self.telemetry) if self.telemetry.listens else store

    @asynccontextmanager
    async def over(self, engine: Engine) -> AsyncIterator[None]:
        """Show an engine's metrics, and export traces, from before it is started until after it is closed.

        Raises:
            UnavailableError: the port for metrics cannot be had.
        """
        try:
            async with self._page(engine):
                yield
        finally:
            if self._tracing is not None:
                await asyncio.to_thread(self._tracing.close)

    @asynccontextmanager
    async def _page(self, engine: Engine) -> AsyncIterator[None]:
        if self._metrics is None or self._settings.metrics_port is None:
            yield
            return
        self._engine, self._surveyor = engine, Surveyor(engine.store)
        with Exposition(self._metrics.registry, self._settings.metrics_host, self._settings.metrics_port) as page:
            log.info("metrics", url=page.url)
            if self._settings.metrics_host not in LOOPBACK:
                log.warning("whoever reaches the metrics' port reads the figures", host=self._settings.metrics_host)
            self._surveyor.start()
            try:
                yield
            finally:
                await self._surveyor.stop()

    def _seen(self) -> Seen | None:
        engine, surveyor = self._engine, self._surveyor
        if engine is None or surveyor is None or not engine.thread.started:
            return None
        return Seen(
            figures=gather(engine),
            counters=engine.thread.ingest.counters,
            survey=surveyor.latest,
            config=engine.config,
            build={
                "version": metadata.version("memsvc"),
                "encoder": engine.config.encoder,
                "numerics": engine.thread.runner.fingerprint,
            },
        )


def _tracing(settings: Settings) -> Tracing:
    try:
        from memsvc.observability.tracing import Tracing, otlp  # noqa: PLC0415  # an extra, and a second to import
    except ModuleNotFoundError as error:
        raise FailedPreconditionError(
            "otlp_endpoint: traces need OpenTelemetry: pip install 'memsvc[otel]'", reason="EXTRA_MISSING"
        ) from error
    return Tracing(otlp(settings.otlp_endpoint), settings.trace_share, metadata.version("memsvc"))
