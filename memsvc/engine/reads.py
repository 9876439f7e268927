"""What only looks: recall, entries, figures; now, and as of the past."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from memsvc.backbone.base import ContextMemory
from memsvc.engine.context import Quoted, pack
from memsvc.engine.opened import OpenTenant
from memsvc.engine.past import Moment
from memsvc.engine.results import Hit, Recalled, Residence, Stats
from memsvc.errors import FailedPreconditionError, NotFoundError
from memsvc.recall.filter import Filter
from memsvc.recall.rank import Ranked, rank
from memsvc.store.base import Store
from memsvc.store.types import StoredEntry
from memsvc.tenant.chunk import Floats
from memsvc.tenant.record import Content, decode_payload

if TYPE_CHECKING:
    from memsvc.engine.engine import Engine

UNKNOWN_WARNING = 0.05
MOST_RANKINGS = 3
"""Of one question, where what is found is replaced or deleted before its text is read."""


class _Stored(NamedTuple):
    """What the store knows of a tenant."""

    size: int
    """Bytes, about."""
    snapshots: tuple[int, int]
    """How many are kept, and the bytes that they take."""
    parked: bool
    """Whether a restore waits to be confirmed or undone."""


class Reads:
    """Reads of all tenants. Every method may raise NotFoundError: no such tenant."""

    def __init__(self, engine: "Engine", store: Store) -> None:
        self._engine, self._store = engine, store

    async def recall(
        self,
        tenant: str,
        query: str,
        *,
        k: int,
        filter: Filter | None = None,
        min_seq: int | None = None,
        neighbours: int = 0,
        max_tokens: int = 0,
        as_of: Moment | None = None,
    ) -> Recalled:
        """Find the k best entries, once all up to min_seq is applied (None: the log's head now), or as of the past.

        Raises:
            NotFoundError: no such tenant.
            OutOfRangeError: min_seq or as_of is beyond the log's head.
            UnavailableError: the view failed; asking again folds it afresh.
        """
        thread, pooled = self._engine.thread, None
        observer, request, began = thread.observer, thread.observer.request(), time.monotonic()
        if self._engine.find(tenant) is None:
            # It comes from the store while the query is encoded.
            self._engine.prefetch(tenant)
            pooled = await thread.call(lambda: thread.runner.pooled(query), read=True)
        async with self._viewed(tenant, min_seq, as_of) as (opened, view, seq):
            observer.took("recall.wait", began, time.monotonic(), request)
            async with self._engine.questions.passing(tenant):
                for _ in range(MOST_RANKINGS):
                    applied, ranked, around = await thread.call(
                        lambda: self._rank(view, query, pooled, request, k=k, filter=filter, neighbours=neighbours),
                        read=True,
                    )
                    hits = await self._hits(opened.uid, ranked, around, seq)
                    if len(hits) == len(ranked) or seq is not None or min_seq is not None:
                        break
                    # One was replaced or deleted since: its place is its new revision's, or another's. Whoever takes
                    # less than the log's head does not wait for it here, either.
                    await opened.wait_applied(opened.head_seq)
                context = await self._context(hits, max_tokens, request) if max_tokens and hits else ""
        return Recalled(applied_seq=applied, hits=hits, context=context)

    async def _hits(
        self, uid: str, ranked: Sequence[Ranked], around: Sequence[tuple[list[int], list[int]]], seq: int | None
    ) -> tuple[Hit, ...]:
        """Fetch the entries that were found, and those around them."""
        numbers = {n for r in ranked for n in (r.number, *r.also)}
        numbers |= {n for before, after in around for n in (*before, *after)}
        entries = {e.number: e for e in await self._store.entries(uid, sorted(numbers), seq)}
        return tuple(
            Hit(
                ranked=r,
                entry=entries[r.number],
                also=tuple(entries[n].payload.id for n in r.also if n in entries),
                before=tuple(entries[n] for n in before if n in entries),
                after=tuple(entries[n] for n in after if n in entries),
            )
            for r, (before, after) in zip(ranked, around, strict=True)
            if r.number in entries
        )

    async def _context(self, hits: Sequence[Hit], max_tokens: int, request: object) -> str:
        thread, began = self._engine.thread, time.monotonic()
        quotes = [_quoted(hit.entry) for hit in hits]
        context = await thread.call(lambda: pack(quotes, max_tokens, thread.runner.encoder.count_tokens), read=True)
        thread.observer.took("recall.context", began, time.monotonic(), request)
        return context

    @asynccontextmanager
    async def _viewed(
        self, tenant: str, min_seq: int | None, as_of: Moment | None
    ) -> AsyncIterator[tuple[OpenTenant, OpenTenant, int | None]]:
        """Hold a tenant, its view now or as of the past, and the seq of the past."""
        async with self._engine.using(tenant) as opened:
            if as_of is None:
                await opened.wait_applied(opened.head_seq if min_seq is None else min_seq)
                yield opened, opened, None
            else:
                seq = await self._engine.past.seq_of(opened, as_of)
                async with self._engine.past.using(opened, seq) as then:
                    yield opened, then, seq

    async def wait(self, tenant: str, min_seq: int) -> None:
        """Return once all up to min_seq is applied.

        Raises:
            NotFoundError: no such tenant.
            OutOfRangeError: min_seq is beyond the log's head.
            UnavailableError: the view failed; asking again folds it afresh.
        """
        async with self._viewed(tenant, min_seq, None):
            return

    async def context_memory(self, tenant: str, min_seq: int | None = None) -> ContextMemory | None:
        """Fork a tenant's context memory, once all up to min_seq (None: the log's head now) is in it; None without one.

        Raises:
            NotFoundError: no such tenant.
            OutOfRangeError: min_seq is beyond the log's head.
            FailedPreconditionError: an erasure is under way: until it is done the memory knows the text.
            UnavailableError: the view failed; asking again folds it afresh.
        """
        thread = self._engine.thread

        async with self._engine.using(tenant) as opened:
            if any(erasure.uid == opened.uid for erasure in await self._store.unfinished_erasures()):
                raise FailedPreconditionError(
                    "an erasure is under way; try again when it is done", reason="ERASURE_PENDING"
                )
            await opened.wait_applied(opened.head_seq if min_seq is None else min_seq)

            def fork() -> ContextMemory | None:
                context = opened.attached().context
                return None if context is None else ContextMemory(context.model, thread.runner.contexts.stream(context))

            return await thread.call_at_boundary(lambda: opened.key, fork)

    def applied_seq(self, tenant: str) -> int | None:
        """Return the last record applied of a tenant that is open."""
        opened = self._engine.find(tenant)
        return None if opened is None else opened.applied_seq

    def fold_of_the_past(self, tenant: str) -> tuple[int, int] | None:
        """Return the record up to which the past of a tenant that was asked for last is folded, and its own."""
        opened = self._engine.find(tenant)
        return None if opened is None else self._engine.past.progress(opened.uid)

    def _rank(
        self,
        opened: OpenTenant,
        text: str,
        pooled: Floats | None,
        request: object,
        *,
        k: int,
        filter: Filter | None,
        neighbours: int,
    ) -> tuple[int, list[Ranked], list[tuple[list[int], list[int]]]]:
        """On the thread: encode the query, unless it is, rank, and look up neighbours."""
        view = opened.attached()
        if not len(view.index):
            return view.applied_seq, [], []
        observer, began = self._engine.thread.observer, time.monotonic()
        query = self._engine.thread.runner.query(opened.key, text, pooled)
        encoded = time.monotonic()
        ranked = rank(view.index, query, self._engine.config.recall, k, filter)
        around: list[tuple[list[int], list[int]]] = [
            view.index.neighbours(r.number, neighbours) if neighbours else ([], []) for r in ranked
        ]
        observer.took("recall.encode", began, encoded, request)
        observer.took("recall.rank", encoded, time.monotonic(), request, texts=view.index.passages, hits=len(ranked))
        return view.applied_seq, ranked, around

    async def get_entry(self, tenant: str, id: str, as_of: Moment | None = None) -> StoredEntry:
        """Return one entry, as it is or as it was.

        Raises:
            NotFoundError: no such tenant or entry: ENTRY_NOT_FOUND, DELETED, EXPIRED, FORGOTTEN or EVICTED.
            OutOfRangeError: as_of is beyond the log's head.
        """
        async with self._engine.using(tenant) as opened:
            seq = None if as_of is None else await self._engine.past.seq_of(opened, as_of)
            entry = await self._store.entry_by_id(opened.uid, id, seq)
            if entry is None:
                raise NotFoundError("id: the tenant has no such entry", reason="ENTRY_NOT_FOUND")
            if seq is None and entry.number in await self._evicted(opened, [entry]):
                raise NotFoundError(
                    "id: the entry left the index because the tenant has too many; a larger max_entries brings it back",
                    reason="EVICTED",
                )
        return entry

    async def list_entries(
        self,
        tenant: str,
        after_number: int,
        limit: int,
        filter: Filter,
        max_bytes: int,
        *,
        as_of: Moment | None = None,
        evicted: bool = False,
    ) -> tuple[list[StoredEntry], int | None]:
        """Return a page of entries in seq order, and the number to go on after (None at the end).

        Args:
            tenant: its id.
            after_number: where the last page ended.
            limit: entries at most.
            filter: which.
            max_bytes: about how much.
            as_of: those that lived then.
            evicted: with those that left the index.
        """
        found: list[StoredEntry] = []
        size = 0
        async with self._engine.using(tenant) as opened:
            seq = None if as_of is None else await self._engine.past.seq_of(opened, as_of)
            while True:
                page = await self._store.scan(opened.uid, after_number, limit + 1, seq)
                away = set() if evicted or seq is not None else await self._evicted(opened, page)
                for entry in page:
                    content = decode_payload(entry.payload)
                    matches = filter.matches(
                        content.session, content.role, time_of(entry, content), content.metadata_json
                    )
                    if matches and entry.number not in away:
                        size += len(entry.payload.data)
                        if len(found) == limit or (found and size > max_bytes):
                            return found, after_number
                        found.append(entry)
                    after_number = entry.number
                if len(page) <= limit:
                    return found, None

    async def _evicted(self, opened: OpenTenant, entries: Sequence[StoredEntry]) -> set[int]:
        """Return the numbers of those that left the index."""
        numbers = [entry.number for entry in entries]

        def evicted() -> set[int]:  # on the thread, which makes the index grow
            index = opened.view.index
            return {number for number in numbers if index.is_evicted(number)} if index.evicted else set()

        return await self._engine.thread.call(evicted, read=True)

    async def stats(self, tenant: str, *, state_hash: bool) -> Stats:
        """Return live figures, of a moment between two records.

        Args:
            tenant: its id.
            state_hash: whether to hash the state, too, and first wait for all that is committed now, as `recall` does:
                a hash of a part of the log would be like no other.

        Raises:
            NotFoundError: no such tenant.
            UnavailableError: the view failed; asking again folds it afresh.
        """
        was_open = self._engine.find(tenant) is not None
        async with self._engine.using(tenant) as opened:
            if state_hash:
                await opened.wait_applied(opened.head_seq)
            stored = _Stored(
                await self._store.size(opened.uid),
                await self._store.kept(opened.uid),
                await self._store.parked(opened.uid) is not None,
            )
            return await self._engine.thread.call_at_boundary(
                lambda: opened.key, lambda: self._stats(opened, stored, was_open=was_open, state_hash=state_hash)
            )

    async def held_entries(self, tenant: str) -> int:
        """Return how many entries recall can return, what is committed and not applied included.

        Raises:
            NotFoundError: no such tenant.
        """
        async with self._engine.using(tenant) as opened:
            return await opened.held_entries()

    async def held_bytes(self, tenant: str) -> int:
        """Return about how many bytes a tenant's log takes in the store; snapshots are not its doing.

        Raises:
            NotFoundError: no such tenant.
        """
        uid = (await self._engine.get_tenant(tenant)).uid
        size, (_, snapshots) = await self._store.size(uid), await self._store.kept(uid)
        return max(0, size - snapshots)

    def _stats(self, opened: OpenTenant, stored: _Stored, *, was_open: bool, state_hash: bool) -> Stats:
        view, runner = opened.attached(), self._engine.thread.runner
        residency: Residence = "cold" if not was_open else "hot" if runner.is_hot(opened.key) else "warm"
        norms = runner.norms(opened.key)  # which may bring weights into a slot: what the tenant takes is of after it
        warnings = list(opened.warnings)
        if view.totals.tokens and view.totals.unknown / view.totals.tokens > UNKNOWN_WARNING:
            share = view.totals.unknown / view.totals.tokens
            warnings.append(
                f"the encoder does not know {share:.0%} of the text's tokens; another encoder would serve it better"
            )
        return Stats(
            entries=view.index.living,
            merged=view.index.merged,
            passages=view.index.passages,
            tail_tokens=len(view.tail),
            head_seq=opened.head_seq,
            applied_seq=view.applied_seq,
            snapshot_seq=opened.snapshot_seq,
            pending_bytes=opened.pending_bytes,
            totals=replace(view.totals),
            gate_threshold=view.gate.threshold,
            restart_left=view.drift.restart_left,
            config=view.config,
            policies=view.policies,
            evicted=view.index.evicted,
            snapshots=stored.snapshots,
            restore_pending=stored.parked,
            residency=residency,
            memory_bytes=runner.bytes_of(opened.key),
            stored_bytes=stored.size,
            weight_norms=norms,
            state_hash=view.state_hash(runner.weights(opened.key)) if state_hash else "",
            fingerprint=view.fingerprint,
            warnings=tuple(warnings),
        )


def time_of(entry: StoredEntry, content: Content) -> int:
    """Return the event's time of an entry in microseconds: its own, or when it was committed."""
    return entry.commit_us if content.time_us is None else content.time_us


def _quoted(entry: StoredEntry) -> Quoted:
    content = decode_payload(entry.payload)
    order = (entry.seq, entry.number)
    return Quoted(entry.payload.id, content.session, content.role, time_of(entry, content), order, content.text)
