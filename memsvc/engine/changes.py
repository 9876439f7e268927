"""What changes a tenant besides writing: settings, restarts, revisions, deletions, erasure; and what looks on."""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from memsvc.engine.admission import batch_size
from memsvc.engine.eraser import Receipt
from memsvc.engine.opened import OpenTenant
from memsvc.engine.results import Erased, Verified
from memsvc.engine.shielded import holding, shielded
from memsvc.errors import FailedPreconditionError, NotFoundError, UnavailableError
from memsvc.recall.filter import Filter
from memsvc.store.base import Store
from memsvc.store.types import Appended, Changed, Erasure, Payload, RecordKind, TenantRow
from memsvc.tenant.event import Event
from memsvc.tenant.record import encode_configure, encode_feedback, reconfigured

if TYPE_CHECKING:
    from memsvc.engine.engine import Engine

EMPTY: Mapping[str, Any] = MappingProxyType({})
SCAN_ENTRIES, SCAN_BYTES = 1000, 1 << 24


class Changes:
    """Changes tenants. Every method may raise NotFoundError: no such tenant."""

    def __init__(self, engine: "Engine", store: Store) -> None:
        self._engine, self._store = engine, store

    async def update_tenant(
        self, tenant: str, changes: Mapping[str, Any], request_id: str, policies: Mapping[str, Any] = EMPTY
    ) -> TenantRow:
        """Change how a tenant's memory learns, and what it keeps, from a definite point in its stream.

        Applied when it returns.

        Raises:
            NotFoundError: no such tenant.
            InvalidArgumentError: a value is out of its range, or cannot be changed; nothing was changed.
        """
        async with self._engine.using(tenant) as opened, holding(opened.changing) as begin:
            config = reconfigured(opened.row.config, changes, policies)
            body = encode_configure(changes, policies)
            appended = await begin(opened.append(RecordKind.CONFIGURE, body, request_id=request_id, config=config))
            await opened.wait_applied(_seq_of(appended))
            return opened.row

    async def hot_restart(self, tenant: str, request_id: str) -> int:
        """Restart a memory's learning; returns the record's seq.

        Raises:
            NotFoundError: no such tenant.
        """
        async with self._engine.using(tenant) as opened:
            return _seq_of(await shielded(opened.append(RecordKind.RESTART, request_id=request_id)))

    async def update_entry(self, tenant: str, payload: Payload, request_id: str) -> int:
        """Append a new revision of an entry; returns the record's seq.

        Raises:
            NotFoundError: no such tenant or living entry.
            ResourceExhaustedError: too much text waits to be applied; nothing was written.
        """
        async with self._engine.using(tenant) as opened:
            await self._engine.residency.expect(opened)
            self._engine.admission.admit(opened, [payload])
            return await shielded(self._update(opened, payload, request_id))

    async def _update(self, opened: OpenTenant, payload: Payload, request_id: str) -> int:
        changed: Changed | None = None
        (payload,) = opened.policies.expiring([payload], time.time_ns() // 1000)
        try:
            changed = await opened.change(self._store.update(opened.uid, payload, request_id))
            return changed.record.seq
        finally:
            self._engine.drop_caches(opened.uid)
            # What was refused, or appended before, never reaches the queue.
            if changed is None or changed.repeated or opened.failure is not None:
                self._engine.admission.release(opened, batch_size([payload]))

    async def delete_entry(self, tenant: str, id: str, request_id: str) -> tuple[int, bool]:
        """Hide an entry; returns the record's seq, and whether its text is kept to fold the log again.

        Raises:
            NotFoundError: no such tenant or living entry.
        """
        async with self._engine.using(tenant) as opened:
            changed = await shielded(opened.change(self._store.delete(opened.uid, id, request_id)))
            self._engine.drop_caches(opened.uid)
        return changed.record.seq, not changed.destroyed

    async def feedback(self, tenant: str, ids: Sequence[str], request_id: str, *, useful: bool) -> int:
        """Say of entries whether they were useful; returns the record's seq.

        Raises:
            NotFoundError: no such tenant, or no living entry of one of the ids.
        """
        async with self._engine.using(tenant) as opened:
            body = encode_feedback(useful=useful)
            operation = self._store.feedback(opened.uid, list(dict.fromkeys(ids)), body, request_id)
            return (await shielded(opened.change(operation))).record.seq

    async def forget(self, tenant: str, ids: Sequence[str], filter: Filter | None, request_id: str) -> Erased:
        """Hide entries with all their revisions, and begin to erase them.

        Raises:
            NotFoundError: no such tenant, an id is not known, or nothing matches.
            FailedPreconditionError: a restore waits for its confirmation: what it keeps would not be reached.
        """
        async with self._engine.using(tenant) as opened, holding(opened.changing) as begin:
            if await self._store.parked(opened.uid) is not None:
                raise FailedPreconditionError(
                    "a restore waits for its confirmation: confirm or undo it first", reason="RESTORE_PENDING"
                )
            chosen = list(dict.fromkeys(ids))
            if filter is not None:
                matching = await self._matching(tenant, filter)
                chosen = [id for id in chosen if id in matching] if ids else list(matching)
            # A retry matches nothing any more; the store knows it by what was asked.
            asked = repr((sorted(set(ids)), filter))
            erasures: list[Erasure] = []

            async def operation() -> Changed:
                known = opened.head_seq
                erasure, record = await self._store.forget(opened.uid, chosen, request_id, asked)
                erasures.append(erasure)
                self._engine.eraser.wake()
                self._engine.drop_caches(opened.uid)
                # Of one tenant only one at a time is here.
                return Changed(record=record, destroyed=0, repeated=record.seq <= known)

            changed = await begin(opened.change(operation()))
            await self._engine.past.drop(opened.uid)
            await opened.wait_applied(changed.record.seq)
        return await self.erasure(erasures[0].operation)

    async def _matching(self, tenant: str, filter: Filter) -> dict[str, None]:
        """Return the ids of the living entries that match, in order."""
        found: dict[str, None] = {}
        after: int | None = 0
        while after is not None:
            page, after = await self._engine.reads.list_entries(
                tenant, after, SCAN_ENTRIES, filter, SCAN_BYTES, evicted=True
            )
            found |= dict.fromkeys(entry.payload.id for entry in page)
        return found

    async def erasure(self, operation: str) -> Erased:
        """Return how far an erasure is.

        Raises:
            NotFoundError: there is none of that name.
        """
        erasure = await self._store.erasure(operation)
        if erasure is None:
            raise NotFoundError("operation: there is none of that name", reason="OPERATION_NOT_FOUND")
        return Erased(
            erasure=erasure,
            tenant=await self._engine.tenant_of(erasure.uid),
            receipt=Receipt.decode(erasure.receipt) if erasure.done else None,
            progress=(0, 0) if erasure.done else self._engine.eraser.progress.get(erasure.uid, (0, 0)),
            copies=tuple(await self._store.copies(erasure.uid)),
        )

    async def verify(self, tenant: str) -> Verified:
        """Fold a tenant's log afresh, beside its live view, and compare.

        Raises:
            NotFoundError: no such tenant.
            FailedPreconditionError: an erasure is under way, or the log was folded under other numerics.
        """
        async with self._engine.using(tenant) as opened:
            await self._check_settled(opened.uid)
            # No erasure takes the live view's place from here on: the fold read what it would leave out.
            async with opened.saving, self._engine.shadow(opened, before_seq=1) as shadow:
                await self._check_settled(opened.uid)
                await opened.follow(shadow)
                seq, runner = opened.head_seq, self._engine.thread.runner
                live, folded = await self._engine.thread.call_at_boundary(
                    lambda: opened.key,
                    lambda: tuple(t.attached().state_hash(runner.weights(t.key)) for t in (opened, shadow)),
                )
            if live != folded and shadow.numerics_changed:
                raise FailedPreconditionError(
                    "a snapshot made under other numerics was adopted; the log folds to other bits now",
                    reason="NUMERICS_CHANGED",
                )
        return Verified(seq=seq, state_hash=live, folded_hash=folded)

    async def _check_settled(self, uid: str) -> None:
        if any(erasure.uid == uid for erasure in await self._store.unfinished_erasures()):
            raise FailedPreconditionError("an erasure is under way; verify when it is done", reason="ERASURE_PENDING")

    async def watch(self, tenant: str, from_seq: int) -> AsyncGenerator[Event, None]:
        """Yield a tenant's events after a seq, as far as they are still known, and then those that come; endless.

        A seq beyond the log's head, which a restore may have taken away, is taken for the head.

        Raises:
            NotFoundError: no such tenant.
            UnavailableError: the view failed, or was put back by a restore; asking again folds it afresh.
        """
        async with self._engine.using(tenant) as opened:
            from_seq = min(from_seq, opened.head_seq)
            notices, noticed = [notice for notice in opened.notices if notice.seq > from_seq], opened.noticed
            while True:
                try:
                    seq, events = await self._engine.thread.call_at_boundary(
                        lambda: opened.key,
                        lambda: (opened.view.applied_seq, list(opened.view.events)),
                    )
                except UnavailableError:
                    for notice in notices:  # the last may say why
                        yield notice
                    raise
                told = [*(event for event in events if event.seq > from_seq), *notices]
                for event in sorted(told, key=lambda event: event.seq):
                    yield event
                from_seq = max(from_seq, seq)
                if opened.noticed == noticed:
                    await opened.wait_change(seq, noticed)
                notices, noticed = opened.notices_since(noticed), opened.noticed


def _seq_of(appended: Appended) -> int:
    """Return the seq of a record without entries, appended now or by an equal request before."""
    return appended.record.seq if appended.record else appended.seqs[0]
