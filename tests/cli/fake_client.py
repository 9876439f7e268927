"""A client without a server: tenants are dictionaries. It refuses what the server does, where a command needs that."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path

from memsvc_client import (
    AlreadyExistsError,
    Deletion,
    Entry,
    Event,
    FailedPreconditionError,
    ForgetReceipt,
    Hit,
    Imported,
    MemoryConfig,
    NotFoundError,
    Policies,
    Recall,
    Receipt,
    ScoreParts,
    Span,
    StoredEntry,
    Tenant,
    TenantStats,
    Verification,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STATS = TenantStats(
    **{
        f.name: {"tuple[float, ...]": (0.5,), "tuple[str, ...]": (), "str": "abc", "bool": False}.get(str(f.type), 0)
        for f in fields(TenantStats)
    }
)
VERIFIED = Verification(seq=7, state_hash="ab", folded_hash="ab", equal=True)


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
    options: dict = field(default_factory=dict)
    """What the client was opened with."""
    folds: int = 0
    """How many questions for an erasure say that it is under way."""
    events: list[Event | BaseException] = field(default_factory=list)
    """What a watch yields, or raises."""
    verification: Verification = VERIFIED
    copies: tuple[str, ...] = ()
    """What an erasure does not reach."""
    files_pending: bool = False
    """What an erasure says of the store's files."""
    exported: list[int | BaseException] = field(default_factory=lambda: [2**20, 2**21])
    """How far an export comes, step by step, and what it raises."""
    adopted: bool = False
    """What an import says of its state."""
    figures: dict = field(default_factory=dict)
    """What `stats` says beside what it counts."""
    settings: dict[str, dict] = field(default_factory=dict)
    """What each tenant was created and updated with."""
    forgotten: set[str] = field(default_factory=set)
    """Ids that no entry can have again."""
    evicted: set[str] = field(default_factory=set)
    """Ids that are listed only where those are asked for."""
    deleted: set[str] = field(default_factory=set)
    """Ids that are known, and in no listing."""

    def __enter__(self) -> "FakeClient":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def create_tenant(self, tenant: str, exist_ok: bool = False, *, preset: str | None = None, **settings) -> None:
        self._called("create_tenant", tenant=tenant, exist_ok=exist_ok, preset=preset, **settings)
        if tenant in self.tenants and not exist_ok:
            raise AlreadyExistsError("tenant: there is one of that id")
        self.tenants.setdefault(tenant, {})
        self.settings.setdefault(tenant, settings)

    def update_tenant(self, tenant: str, **settings) -> Tenant:
        self._called("update_tenant", tenant=tenant, **settings)
        self._tenant(tenant)
        self.settings.setdefault(tenant, {}).update(settings)
        return self._described(tenant)

    def hot_restart(self, tenant: str) -> int:
        self._called("hot_restart", tenant=tenant)
        self._tenant(tenant)
        self.seq += 1
        return self.seq

    def verify(self, tenant: str) -> Verification:
        self._called("verify", tenant=tenant)
        self._tenant(tenant)
        return self.verification

    def watch(self, tenant: str, from_seq: int | None = None) -> Iterator[Event]:
        self._called("watch", tenant=tenant, from_seq=from_seq)
        self._tenant(tenant)
        for event in self.events:
            if isinstance(event, BaseException):
                raise event
            yield event

    def restore(self, tenant: str, to: int | datetime, as_tenant: str | None = None) -> Tenant:
        self._called("restore", tenant=tenant, to=to, as_tenant=as_tenant)
        held = self._tenant(tenant)
        if as_tenant is not None:
            self.tenants[as_tenant] = dict(held)
        return self._described(as_tenant or tenant)

    def confirm_restore(self, tenant: str) -> None:
        self._called("confirm_restore", tenant=tenant)
        self._tenant(tenant)

    def undo_restore(self, tenant: str) -> Tenant:
        self._called("undo_restore", tenant=tenant)
        self._tenant(tenant)
        return self._described(tenant)

    def export_tenant(self, tenant: str, path: Path, overwrite: bool, *, progress) -> int:
        self._called("export_tenant", tenant=tenant, path=path, overwrite=overwrite)
        self._tenant(tenant)
        done = 0
        for step in self.exported:
            if isinstance(step, BaseException):
                raise step
            progress(done := step, 3 * 2**20)
        path.write_bytes(b"exported")
        return done

    def import_tenant(self, path: Path, as_tenant: str | None, rebuild: bool, *, progress) -> Imported:
        self._called("import_tenant", path=path, as_tenant=as_tenant, rebuild=rebuild)
        size = len(path.read_bytes())
        progress(size, size)
        self.tenants[as_tenant or "exported"] = {}
        return Imported(self._described(as_tenant or "exported"), 7, self.adopted and not rebuild)

    def feedback(self, tenant: str, ids: list[str], useful: bool = True) -> int:
        self._called("feedback", tenant=tenant, ids=ids, useful=useful)
        for id in ids:
            self._entry(tenant, id)
        self.seq += 1
        return self.seq

    def get_entry(self, tenant: str, id: str, as_of: int | datetime | None = None) -> StoredEntry:
        self._called("get_entry", tenant=tenant, id=id, as_of=as_of)
        return self._entry(tenant, id)

    def delete_tenant(self, tenant: str) -> None:
        self._called("delete_tenant", tenant=tenant)
        self._tenant(tenant)
        del self.tenants[tenant]

    def list_tenants(self):
        self._called("list_tenants")
        return iter([self._described(name) for name in sorted(self.tenants)])

    def write(self, tenant: str, entries: list[Entry]) -> Receipt:
        self._called("write", tenant=tenant, entries=entries)
        held = self._tenant(tenant)
        for entry in entries:
            facts = {"metadata": {"id": entry.id}}
            if entry.id in self.forgotten:
                raise FailedPreconditionError("entries: an id was forgotten", reason="FORGOTTEN", **facts)
            if entry.id in held and dict(held[entry.id].metadata) != dict(entry.metadata):
                raise AlreadyExistsError("entries: an id has other content", reason="ENTRY_EXISTS", **facts)
        skipped = tuple(entry.id in held for entry in entries)
        self.seq += 1
        for entry in entries:
            given = {f.name: getattr(entry, f.name) for f in fields(Entry)} | {"time": entry.time or NOON}
            held.setdefault(entry.id, StoredEntry(**given, seq=self.seq, commit_time=NOON))
        return Receipt(self.seq, tuple(e.id for e in entries), tuple(held[e.id].seq for e in entries), skipped)

    def list_entries(self, tenant: str, **asked):
        self._called("list_entries", tenant=tenant, **asked)
        unlisted = self.deleted if asked.get("include_evicted") else self.deleted | self.evicted
        found = [entry for id, entry in self._tenant(tenant).items() if id not in unlisted]
        return iter([entry for entry in found if asked.get("session") in {None, entry.session}])

    def delete_entry(self, tenant: str, id: str) -> Deletion:
        self._called("delete_entry", tenant=tenant, id=id)
        gone = self._entry(tenant, id)
        del self.tenants[tenant][id]
        self.seq += 1
        return Deletion(self.seq, text_kept=gone.learn)

    def forget(self, tenant: str, ids: list[str] | None = None, *, wait: bool, **asked) -> ForgetReceipt:
        self._called("forget", tenant=tenant, ids=ids, wait=wait, **asked)
        held = self._tenant(tenant)
        for id in [id for id in held if ids is None or id in ids]:
            del held[id]
        return self._erasure()

    def get_erasure(self, operation: str, tenant: str) -> ForgetReceipt:
        self._called("get_erasure", operation=operation, tenant=tenant)
        self.folds -= 1
        return self._erasure()

    def recall(self, tenant: str, query: str, **asked) -> Recall:
        self._called("recall", tenant=tenant, query=query, **asked)
        words = set(query.lower().split())
        held = list(self._tenant(tenant).values())
        held.sort(key=lambda entry: -len(words & set(entry.text.lower().split())))
        hits = [
            Hit(entry, 1.5, ScoreParts(0.5, 0.25, 0.75, 0.0), Span(0, len(entry.text))) for entry in held[: asked["k"]]
        ]
        return Recall(tuple(hits), self.seq, "CONTEXT" if asked.get("max_tokens") else "")

    def stats(self, tenant: str, live: bool = False, timeout: float | None = None) -> TenantStats:
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
            | self.figures
        )

    def texts(self, tenant: str) -> list[str]:
        return [entry.text for entry in self.tenants[tenant].values()]

    def _described(self, tenant: str) -> Tenant:
        values = {"layers": 2, "theta": 0.1, "eta": 0.9, "half_life": 0.0, "gate": "off", "gate_value": 0.0}
        values |= {"drift": True, "drift_sigma": 3.0, "drift_windows": 3, "restart_tokens": None, "window": 131_072}
        kept = {"max_entries": 1_000_000, "ttl": None, "snapshots": "none", "duplicates": "keep"}
        given = dict(self.settings.get(tenant, {}))
        model = given.pop("context_memory", None)
        memory = MemoryConfig(**values | {name: value for name, value in given.items() if name not in kept})
        policies = Policies(**kept | {name: value for name, value in given.items() if name in kept})
        named = {"tenant": tenant, "uid": f"uid-{tenant}", "context_memory": model}
        return Tenant(**named, create_time=NOON, memory=memory, policies=policies)

    def _erasure(self) -> ForgetReceipt:
        done = self.folds <= 0
        return ForgetReceipt(
            operation="erasure-1",
            done=done,
            state_hash_before="before" if done else None,
            state_hash_after="after" if done else None,
            entries=2,
            bytes_destroyed=1234 if done else 0,
            folded_records=max(0, 10 - self.folds),
            total_records=10,
            copies=self.copies if done else (),
            files_pending=done and self.files_pending,
        )

    def _called(self, method: str, **arguments) -> None:
        self.asked.append((method, arguments))
        self._fail(method)

    def _fail(self, method: str) -> None:
        error = self.fail[method].pop(0) if self.fail.get(method) else None
        if error is not None:
            raise error

    def _entry(self, tenant: str, id: str) -> StoredEntry:
        if id not in self._tenant(tenant):
            raise NotFoundError("id: there is no such entry")
        return self.tenants[tenant][id]

    def _tenant(self, tenant: str) -> dict[str, StoredEntry]:
        if tenant not in self.tenants:
            raise NotFoundError("tenant: there is none of that id")
        return self.tenants[tenant]
