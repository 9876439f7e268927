"""What a server tells of itself: it hears of calls and of work, and passes on what is listened to."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from memsvc.observability.metrics import Metrics
from memsvc.observability.watched_store import OPERATIONS
from memsvc.observer import WORK

if TYPE_CHECKING:
    from memsvc.observability.tracing import Span, Tracing

Metadata = Sequence[tuple[str, str | bytes]]


class Telemetry:
    """An observer of the engine, the store and the calls. Nobody may listen; then it costs next to nothing.

    Args:
        metrics: where to count, if anywhere.
        tracing: where to trace, if anywhere.
    """

    def __init__(self, metrics: Metrics | None = None, tracing: "Tracing | None" = None) -> None:
        self._metrics, self._tracing = metrics, tracing
        if metrics is not None:
            # What a library looks up anew at every call is kept at hand: there are as many as methods and codes.
            self._in_flight, self._calls = cache(metrics.in_flight.labels), cache(metrics.calls.labels)
        self._observe = {} if metrics is None else _observers(metrics)

    @property
    def listens(self) -> bool:
        """Whether anyone does."""
        return self._metrics is not None or self._tracing is not None

    def ready(self, ready: bool) -> None:
        """Hear whether calls are served, and the store is well."""
        if self._metrics is not None:
            self._metrics.ready.set(ready)

    # --- work ---------------------------------------------------------------------------------------------------------

    def request(self) -> object:
        """See `Observer.request`."""
        return None if self._tracing is None else self._tracing.current()

    def took(self, what: str, began: float, ended: float, request: object = None, /, **figures: float) -> None:
        """See `Observer.took`."""
        if (observe := self._observe.get(what)) is not None:
            observe(ended - began)
        if self._tracing is not None:
            self._tracing.took(what, began, ended, request, figures)

    def store_failed(self, operation: str) -> None:
        """Hear that the store could not do it."""
        if self._metrics is not None:
            self._metrics.store_failures.labels(operation).inc()

    # --- calls --------------------------------------------------------------------------------------------------------

    def call_began(self, method: str, metadata: Metadata) -> "Span | None":
        """Hear that a call began; returns what is to be told when it ended."""
        if self._metrics is not None:
            self._in_flight(method).inc()
        return None if self._tracing is None else self._tracing.begin(method, metadata)

    def call_ended(
        self, span: "Span | None", method: str, code: str, seconds: float, *, reason: str, ids: dict[str, str]
    ) -> None:
        """Hear how it ended: with which code, after how long, and why. `ids` name the request and its tenant."""
        if self._metrics is not None:
            self._in_flight(method).dec()
            self._calls(method, code).observe(seconds)
            if reason:
                self._metrics.refusals.labels(reason).inc()
        if span is not None:
            span.end(code, reason, ids)


def _observers(metrics: Metrics) -> dict[str, Callable[[float], None]]:
    """Return where each kind of work is observed."""
    by_part = {"write": metrics.write, "recall": metrics.recall, "generate": metrics.generate}
    observers: dict[str, Callable[[float], None]] = {
        "write.recallable": metrics.recallable.observe,
        "engine.wait": metrics.engine_wait.observe,
        **{f"store.{operation}": metrics.store.labels(operation).observe for operation in sorted(OPERATIONS)},
    }
    for what in WORK:
        part, _, phase = what.partition(".")
        if what not in observers:
            observers[what] = by_part[part].labels(phase).observe
    return observers
