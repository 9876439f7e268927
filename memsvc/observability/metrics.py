"""Every metric, each defined here and nowhere else (docs/operations.md says what to do about them).

What happens often is counted where it happens, in plain numbers, and read when Prometheus asks; how long things took is
observed as it happens. No label names a tenant, a principal or anything else that callers choose: the number of series
is bounded by the methods, codes, reasons and operations that the code knows.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from memsvc.engine.config import EngineConfig
from memsvc.engine.counters import Counters
from memsvc.engine.figures import Figures
from memsvc.observability.survey import Survey
from memsvc.observability.watched_store import OPERATIONS

CALL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
ANSWER_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0)
WORK_BUCKETS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a scrape reads."""

    figures: Figures
    counters: Counters
    survey: Survey
    config: EngineConfig
    build: Mapping[str, str]
    """Version, encoder, numerics."""


class Read(NamedTuple):
    """A metric that is read when Prometheus asks."""

    name: str
    text: str
    value: Callable[[Seen], float | Mapping[str, float]]
    """One value, or one for each value of the label."""
    label: str = ""
    counts: bool = False
    """Whether it only grows."""

    def family(self, seen: Seen) -> Metric:
        """Return it with its values now."""
        kind = CounterMetricFamily if self.counts else GaugeMetricFamily
        family = kind(self.name, self.text, labels=[self.label] if self.label else [])
        value = self.value(seen)
        for label, number in value.items() if isinstance(value, Mapping) else [("", value)]:
            family.add_metric([label] if self.label else [], number)
        return family


READ = (
    # --- what waits ---
    Read("memsvc_queue_bytes", "Text that waits to be applied.", lambda s: s.figures.queued_bytes),
    Read("memsvc_queue_limit_bytes", "Text that may wait (queue_bytes).", lambda s: s.config.queue_bytes),
    Read("memsvc_queue_records", "Records committed and not applied.", lambda s: s.figures.queued_records),
    Read(
        "memsvc_engine_busy_seconds", "Time that the engine's thread worked.", lambda s: s.counters.busy_s, counts=True
    ),
    # --- what comes in, and what the memories make of it ---
    Read("memsvc_entries", "Entries that became recallable.", lambda s: s.counters.entries, counts=True),
    Read("memsvc_tokens", "Tokens of the entries that became recallable.", lambda s: s.counters.tokens, counts=True),
    Read("memsvc_stepped_tokens", "Tokens that the memories stepped.", lambda s: s.counters.stepped, counts=True),
    Read("memsvc_gate_passed_tokens", "Those that passed the gate.", lambda s: s.counters.wrote, counts=True),
    Read(
        "memsvc_surprise", "The sum of the surprises of the tokens stepped.", lambda s: s.counters.surprise, counts=True
    ),
    Read(
        "memsvc_context_tokens",
        "Tokens that context memories took in.",
        lambda s: s.counters.context_tokens,
        counts=True,
    ),
    Read(
        "memsvc_context_written_tokens",
        "Those that passed their gate.",
        lambda s: s.counters.context_wrote,
        counts=True,
    ),
    Read(
        "memsvc_context_queue_records",
        "Records committed and not applied, of tenants with a context memory.",
        lambda s: s.figures.context_records,
    ),
    Read("memsvc_context_tenants", "Open tenants with a context memory.", lambda s: s.figures.context_tenants),
    Read("memsvc_refolded_tokens", "Tokens stepped by second folds.", lambda s: s.counters.refolded, counts=True),
    Read(
        "memsvc_events",
        "What happened to memories.",
        lambda s: dict(s.counters.events),
        label="kind",
        counts=True,
    ),
    Read("memsvc_evicted_entries", "Entries that left an index.", lambda s: s.counters.evicted, counts=True),
    # --- where tenants are ---
    Read(
        "memsvc_tenants",
        "Tenants: hot in a slot, warm in memory, cold in the store.",
        lambda s: {
            "hot": s.figures.hot,
            "warm": s.figures.warm,
            "cold": max(0, s.survey.tenants - s.figures.hot - s.figures.warm),
        },
        label="residency",
    ),
    Read("memsvc_view_failures", "Views that could not go on.", lambda s: s.counters.failures, counts=True),
    Read("memsvc_memory_bytes", "What tenants in memory take.", lambda s: s.figures.memory_bytes, label="part"),
    Read("memsvc_memory_limit_bytes", "What they may take (memory_bytes).", lambda s: s.config.memory_bytes),
    Read("memsvc_slots", "Slots for weights.", lambda s: s.figures.slots, label="state"),
    Read("memsvc_slot_loads", "Weights that moved into a slot.", lambda s: s.figures.slot_loads, counts=True),
    Read("memsvc_unloads", "Tenants that left the memory.", lambda s: s.figures.unloads, counts=True),
    # --- what a crash would cost, and what is still to be erased ---
    Read("memsvc_replay_bytes", "Log of open tenants that no snapshot has.", lambda s: s.figures.unsaved_bytes),
    Read(
        "memsvc_snapshot_age_seconds",
        "The age of the oldest newest snapshot of an open tenant that has enough to save.",
        lambda s: s.figures.snapshot_age_s,
    ),
    Read("memsvc_snapshots", "Snapshots saved.", lambda s: s.figures.snapshots, counts=True),
    Read(
        "memsvc_snapshot_failures",
        "Snapshots that could not be saved.",
        lambda s: s.figures.snapshot_failures,
        counts=True,
    ),
    Read("memsvc_erasures_pending", "Erasures that are not done.", lambda s: s.survey.erasures),
    Read("memsvc_erasing_tenants", "Tenants that are folded again now, to forget.", lambda s: s.figures.erasing),
    # --- the deployment ---
    Read("memsvc_shards", "Shards that this process serves.", lambda s: s.figures.shards),
    Read("memsvc_shard_losses", "Shards lost unasked.", lambda s: s.figures.shard_losses, counts=True),
    Read(
        "memsvc_survey_timestamp_seconds",
        "When the store was last asked for its tenants and erasures.",
        lambda s: s.survey.at,
    ),
)
"""What is read when Prometheus asks. What counts gets `_total` at its end."""


class Metrics:
    """The metrics of one server, in a registry of their own.

    Args:
        seen: returns what to read now; None while the engine starts.
    """

    def __init__(self, seen: Callable[[], Seen | None]) -> None:
        # A switch of the library's, for the process: the times of creation would double the series.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library gives it no types
        self.registry = registry = CollectorRegistry()
        self.ready = Gauge("memsvc_ready", "Whether calls are served, and the store is well.", registry=registry)
        self.calls = Histogram(
            "memsvc_rpc_seconds",
            "How long calls took, streams from end to end.",
            ["method", "code"],
            buckets=CALL_BUCKETS,
            registry=registry,
        )
        self.in_flight = Gauge("memsvc_rpc_in_flight", "Calls under way.", ["method"], registry=registry)
        self.refusals = Counter(
            "memsvc_rpc_refusals", "Calls that ended with an error, by its reason.", ["reason"], registry=registry
        )
        self.recallable = Histogram(
            "memsvc_recallable_seconds",
            "From a record's commit until it could be recalled.",
            buckets=WORK_BUCKETS,
            registry=registry,
        )
        self.write = Histogram(
            "memsvc_write_seconds",
            "What became of that time.",
            ["phase"],
            buckets=WORK_BUCKETS,
            registry=registry,
        )
        self.recall = Histogram(
            "memsvc_recall_seconds", "What recalls did.", ["phase"], buckets=WORK_BUCKETS, registry=registry
        )
        self.generate = Histogram(
            "memsvc_generate_seconds", "What answers took.", ["phase"], buckets=ANSWER_BUCKETS, registry=registry
        )
        self.engine_wait = Histogram(
            "memsvc_engine_wait_seconds",
            "How long questions waited for the engine's thread.",
            buckets=WORK_BUCKETS,
            registry=registry,
        )
        self.store = Histogram(
            "memsvc_store_seconds",
            "How long the store took.",
            ["operation"],
            buckets=WORK_BUCKETS,
            registry=registry,
        )
        self.store_failures = Counter(
            "memsvc_store_failures", "Operations that the store could not do.", ["operation"], registry=registry
        )
        for operation in OPERATIONS:  # from 0, for Prometheus sees no growth in what begins with 1
            self.store_failures.labels(operation)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        registry.register(_Reader(seen))


class _Reader(Collector):
    """Reads what is read."""

    def __init__(self, seen: Callable[[], Seen | None]) -> None:
        self._seen = seen

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of READ, none while the engine starts."""
        if (seen := self._seen()) is not None:
            yield InfoMetricFamily("memsvc_build", "What runs here; the value is 1.", dict(seen.build))
            for metric in READ:
                yield metric.family(seen)
