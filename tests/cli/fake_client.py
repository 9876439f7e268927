"""A client without a server: tenants are dictionaries. It refuses what the server does, where a command needs that."""

from dataclasses import dataclass, field, fields
from datetime import UTC, datetime

from memsvc_client import (
    AlreadyExistsError,
    Entry,
    Hit,
    MemoryConfig,
    NotFoundError,
    Recall,
    Receipt,
    ScoreParts,
    Span,
    StoredEntry,
    Tenant,
    TenantStats,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STATS = TenantStats(
    **{
        f.name: {"tuple[float, ...]": (0.5,), "tuple[str, ...]": (), "str": "abc"}.get(str(f.type), 0)
        for f in fields(TenantStats)
    }
)


@dataclass
class FakeClient:
    """What was asked is in `asked`; what shall be raised next, in `fail`, by method."""

    tenants: dict[str, dict[str, StoredEntry]] = field(default_factory=dict)
    asked: list[tuple[str, dict]] = field(default_factory=list)
    fail: dict[str, list[Exception | None]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seq: int = 0
    lag: int = 0
    """How many calls of `stats` say that nothing is applied yet."""

    def __enter__(self) -> "FakeClient":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def create_tenant(self, tenant: str, exist_ok: bool = False) -> None:
        self._called("create_tenant", tenant=tenant, exist_ok=exist_ok)
        if tenant in self.tenants and not exist_ok:
            raise AlreadyExistsError("tenant: there is one of that id")
        self.tenants.setdefault(tenant, {})

    def delete_tenant(self, tenant: str) -> None:
        self._called("delete_tenant", tenant=tenant)
        self._tenant(tenant)
        del self.tenants[tenant]

    def list_tenants(self):
        self._called("list_tenants")
        memory = MemoryConfig(layers=2, theta=0.1, eta=0.9, half_life=0.0, gate="off", gate_value=0.0)
        return iter(
            [Tenant(tenant=name, uid=f"uid-{name}", create_time=NOON, memory=memory) for name in sorted(self.tenants)]
        )

    def write(self, tenant: str, entries: list[Entry]) -> Receipt:
        self._called("write", tenant=tenant, entries=entries)
        held = self._tenant(tenant)
        for entry in entries:
            if entry.id in held and dict(held[entry.id].metadata) != dict(entry.metadata):
                raise AlreadyExistsError("entries: an id is known with other content")
        skipped = tuple(entry.id in held for entry in entries)
        self.seq += 1
        for entry in entries:
            given = {f.name: getattr(entry, f.name) for f in fields(Entry)} | {"time": entry.time or NOON}
            held.setdefault(entry.id, StoredEntry(**given, seq=self.seq, commit_time=NOON))
        return Receipt(self.seq, tuple(e.id for e in entries), tuple(held[e.id].seq for e in entries), skipped)

    def list_entries(self, tenant: str, **asked):
        self._called("list_entries", tenant=tenant, **asked)
        found = self._tenant(tenant).values()
        return iter([entry for entry in found if asked.get("session") in {None, entry.session}])

    def recall(self, tenant: str, query: str, **asked) -> Recall:
        self._called("recall", tenant=tenant, query=query, **asked)
        words = set(query.lower().split())
        held = list(self._tenant(tenant).values())
        held.sort(key=lambda entry: -len(words & set(entry.text.lower().split())))
        hits = [
            Hit(entry, 1.5, ScoreParts(0.5, 0.25, 0.75, 0.0), Span(0, len(entry.text))) for entry in held[: asked["k"]]
        ]
        return Recall(tuple(hits), self.seq, "CONTEXT" if asked.get("max_tokens") else "")

    def stats(self, tenant: str, timeout: float | None = None) -> TenantStats:
        held = self._tenant(tenant)
        self._fail("stats")
        self.lag -= 1
        values = {f.name: getattr(STATS, f.name) for f in fields(TenantStats)}
        applied = self.seq if self.lag < 0 else 0
        return TenantStats(
            **values
            | {
                "entries": len(held),
                "tokens": sum(len(entry.text.split()) for entry in held.values()),
                "head_seq": self.seq,
                "applied_seq": applied,
                "warnings": self.warnings,
            }
        )

    def texts(self, tenant: str) -> list[str]:
        return [entry.text for entry in self.tenants[tenant].values()]

    def _called(self, method: str, **arguments) -> None:
        self.asked.append((method, arguments))
        self._fail(method)

    def _fail(self, method: str) -> None:
        error = self.fail[method].pop(0) if self.fail.get(method) else None
        if error is not None:
            raise error

    def _tenant(self, tenant: str) -> dict[str, StoredEntry]:
        if tenant not in self.tenants:
            raise NotFoundError("tenant: there is none of that id")
        return self.tenants[tenant]
