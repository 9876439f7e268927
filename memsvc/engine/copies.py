"""Tenants made of others: restored from the past, exported to a file, imported from one.

A copy is staged, a tenant that no one sees, and gets its name when it is whole; what fails before leaves nothing.
"""

import asyncio
import time
from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from memsvc.engine.imported import check_header, check_numbers, check_record, refused, refusing
from memsvc.engine.opened import PAGE_BYTES, OpenTenant
from memsvc.engine.pages import Pages
from memsvc.engine.past import Moment
from memsvc.engine.results import Imported
from memsvc.engine.shielded import shielded
from memsvc.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from memsvc.store.base import Store
from memsvc.store.types import Record, RecordKind, Retention, Snapshot, TenantRow
from memsvc.tenant.archive import Header, Reader, Writer
from memsvc.tenant.record import (
    decode_configure,
    decode_create,
    decode_numerics,
    encode_numerics,
    reconfigured,
)
from memsvc.tenant.view import View

if TYPE_CHECKING:
    from memsvc.engine.engine import Engine

RECORD_BYTES, NUMBER_BYTES = 512, 40
"""What a record takes of the memory beside its payloads, and a number that it is about: many have nothing else."""


class Copies:
    """Copies tenants. Every method that names one may raise NotFoundError: no such tenant."""

    def __init__(self, engine: "Engine", store: Store) -> None:
        self._engine, self._store = engine, store

    # --- restore --------------------------------------------------------------------------------------------------

    async def restore(self, tenant: str, to: Moment, as_tenant: str, request_id: str) -> TenantRow:
        """Bring a tenant's past back: as a new tenant, or, without a name for it, in its own place; folded on return.

        Raises:
            NotFoundError: no such tenant.
            OutOfRangeError: the moment is beyond the log's head.
            AlreadyExistsError: there is a tenant of the new id.
            FailedPreconditionError: another restore of it is neither confirmed nor undone, an erasure is under way, or
                the new id belongs to another process (reason OTHER_PROCESS).
        """
        await self._store.get_tenant(tenant)  # first, so that who asks the wrong process is sent to the one that has it
        try:
            if (done := await self._store.published(as_tenant or tenant, request_id)) is not None:
                return done
            taken = bool(as_tenant) and await self._store.get_tenant(as_tenant) is not None
        except UnavailableError as error:
            # Where no process has that one just now, it may well be this one's in a moment.
            if as_tenant and error.reason == "NOT_OWNER" and "owner" in error.metadata:
                raise FailedPreconditionError(
                    "as_tenant: a tenant of that id would be another process's; choose another id, or export the "
                    "tenant and import it under this one",
                    reason="OTHER_PROCESS",
                ) from error
            raise
        if taken:
            raise AlreadyExistsError("as_tenant: a tenant of that id exists", reason="TENANT_EXISTS")
        return await shielded(self._restore(tenant, to, as_tenant, request_id))

    async def _restore(self, tenant: str, to: Moment, as_tenant: str, request_id: str) -> TenantRow:
        async with self._engine.using(tenant) as opened, opened.changing:
            await self._check_unbound(opened.uid)
            seq = await self._engine.past.seq_of(opened, to)
            staged = await self._stage(opened, seq, as_tenant or tenant)
            try:
                if as_tenant:
                    row = await self._store.publish(staged, as_tenant, request_id)
                    await self._store.note_copy(opened.uid, f"tenant {as_tenant}")
                else:
                    row = await self._store.replace(opened.uid, staged, request_id)
            except BaseException:
                await self._store.discard(staged)
                raise
            if row.uid != staged:  # the same request was faster
                await self._store.discard(staged)
        if not as_tenant:
            await self._renew(tenant, opened.uid, to=seq)
        async with self._engine.using(row.tenant) as restored:
            await restored.wait_applied(restored.head_seq)
            if as_tenant:  # in place, those who watched have heard of it, and may be back
                restored.notice("restored", seq, to=seq)
        return row

    async def _check_unbound(self, uid: str) -> None:
        if await self._store.parked(uid) is not None:
            raise FailedPreconditionError(
                "a restore waits for its confirmation: confirm or undo it first", reason="RESTORE_PENDING"
            )
        await self._check_no_erasure(uid)

    async def _check_no_erasure(self, uid: str) -> None:
        if any(erasure.uid == uid for erasure in await self._store.unfinished_erasures()):
            raise FailedPreconditionError(
                "an erasure is under way; try again when it is done", reason="ERASURE_PENDING"
            )

    async def _stage(self, opened: OpenTenant, seq: int, tenant: str) -> str:
        """Copy a tenant's log up to a record, with the newest snapshot of then; returns the staged tenant's uid."""
        staged = await self._store.stage(await self._store.origin(opened.uid), tenant)
        try:
            after, config = 0, b""
            while after < seq:
                page = [r for r in await self._page(opened.uid, after) if r.seq <= seq]
                for record in page:
                    if record.kind is RecordKind.CREATE:
                        config = record.body
                    elif record.kind is RecordKind.CONFIGURE:
                        config = reconfigured(config, *decode_configure(record.body))
                await self._store.append_staged(staged, page, config)
                after = page[-1].seq
            if (snapshot := (await self._store.load(opened.uid, seq + 1)).snapshot) is not None:
                await self._store.save(staged, snapshot, Retention.ALL)
        except BaseException:
            await self._store.discard(staged)
            raise
        return staged

    async def _page(self, uid: str, after: int) -> Sequence[Record]:
        """Return the records that follow one that is not the last.

        Raises:
            NotFoundError: the tenant was deleted.
        """
        if not (records := await self._store.read(uid, after, PAGE_BYTES)):
            raise NotFoundError("the tenant was deleted", reason="TENANT_NOT_FOUND")
        return records

    async def confirm(self, tenant: str, request_id: str) -> None:
        """Destroy what a tenant was before its restore in place.

        Raises:
            FailedPreconditionError: there was none.
        """
        row = await self._engine.get_tenant(tenant)
        await shielded(self._store.confirm(row.uid, request_id))

    async def undo(self, tenant: str, request_id: str) -> TenantRow:
        """Put a tenant back to what it was before its restore in place; folded on return.

        Raises:
            FailedPreconditionError: there was none.
        """
        row = await self._engine.get_tenant(tenant)
        return await shielded(self._undo(row, request_id))

    async def _undo(self, row: TenantRow, request_id: str) -> TenantRow:
        try:
            back = await self._store.unpark(row.uid, request_id)
        except UnavailableError:  # it may be back, and only the other one not deleted to the end
            await self._renew(row.tenant, row.uid)
            raise
        if back.uid != row.uid:
            await self._renew(row.tenant, row.uid, to=await self._store.head(back.uid))
        async with self._engine.using(row.tenant) as opened:
            await opened.wait_applied(opened.head_seq)
        return back

    async def _renew(self, tenant: str, uid: str, to: int | None = None) -> None:
        """Let go of what is open of a tenant under its old uid; who watches it hears to which record it was put."""
        if to is not None and (opened := self._engine.find(tenant)) is not None and opened.uid == uid:
            opened.notice("restored", to, to=to)
        await self._engine.shut(tenant)
        await self._engine.past.drop(uid)

    # --- files ----------------------------------------------------------------------------------------------------

    async def exported_bytes(self, tenant: str) -> int:
        """Return about how many bytes an export of a tenant has: what its log and its newest snapshot take."""
        uid = (await self._engine.get_tenant(tenant)).uid
        snapshots, snapshot_bytes = await self._store.kept(uid)
        others = snapshot_bytes - snapshot_bytes // max(1, snapshots)
        return await self._store.size(uid) - others

    async def export(self, tenant: str) -> AsyncGenerator[bytes, None]:
        """Yield a tenant as one file: what it holds when the first part is asked for.

        And what came later, up to the last revision of an entry that was replaced before it was read: its text may be
        destroyed, and a file with neither revision would have lost it.

        Raises:
            FailedPreconditionError: an erasure is under way.
            UnavailableError: what came later changes settings, or forgets: begin anew.
        """
        async with self._engine.using(tenant) as opened:
            uid = opened.uid
            async with opened.changing:  # else what is forgotten between these would be refused, and in the log, too
                await self._check_no_erasure(uid)
                now = datetime.now(UTC).isoformat(timespec="seconds")
                await self._store.note_copy(uid, f"export of {now}")
                head, origin = opened.head_seq, await self._store.origin(uid)
            writer = Writer()
            yield writer.begin(Header(tenant=tenant, origin=origin, head_seq=head))
            after, pages = 0, Pages([], [])
            waiting: list[Record] = []
            while after < head:
                waiting += (record for record in await self._page(uid, after) if record.seq <= head)
                after = waiting[-1].seq
                pages.add(waiting, await self._store.head(uid))
                if after == head:
                    head = await self._last_replaced(uid, head, pages)
                    if after < head and await self._store.origin(uid) != origin:
                        raise UnavailableError("the tenant changed while it was exported", reason="EXPORT_OVERTAKEN")
                # A few that came later are read before anyone waits for whoever takes this: else there is no last one.
                if after == head or sum(map(_memory_bytes, waiting)) >= PAGE_BYTES:
                    for record in waiting:
                        yield writer.record(record)
                    waiting = []
            snapshot = (await self._store.load(uid, head + 1)).snapshot
            # One that is of what was forgotten meanwhile, or without it, may be another state than that of the records.
            if snapshot is not None and await self._store.origin(uid) == origin:
                for part in writer.snapshot(snapshot):
                    yield part
            yield writer.end()

    async def _last_replaced(self, uid: str, head: int, pages: Pages) -> int:
        """Return the last record after `head` that replaced an entry before its page was read, `head` for none."""
        last = after = head
        while after < pages.heads[-1]:
            for record in await self._page(uid, after):
                after = record.seq
                if record.kind is RecordKind.UPDATE and any(after <= pages.head_of(n) for n in record.about):
                    last = after
        return last

    async def import_(
        self,
        parts: AsyncIterator[bytes],
        as_tenant: str,
        request_id: str,
        check_name: Callable[[str], None],
        *,
        rebuild: bool = False,
    ) -> Imported:
        """Make a tenant of an exported file; it is folded on return.

        Args:
            parts: the file's bytes.
            as_tenant: the new tenant's id; empty for the one in the file.
            request_id: one with which a tenant of that id was made within 24 hours returns that one, and reads no
                further.
            check_name: raises for an id that the caller may not give; called before anything is looked up under it.
            rebuild: fold the log afresh, whatever snapshot is in the file.

        Raises:
            InvalidArgumentError: the file is damaged, cut short, of a newer format, or none of ours; nothing is left.
            FailedPreconditionError: its context memory is of a model that is not here (reason NO_CONTEXT_MODEL).
            AlreadyExistsError: there is a tenant of that id.
        """
        row = None
        if as_tenant:
            check_name(as_tenant)
            row = await self._store.published(as_tenant, request_id)
        if row is None:
            row = await self._import(parts, as_tenant, request_id, check_name, rebuild=rebuild)
        async with self._engine.using(row.tenant) as opened:
            await opened.wait_applied(opened.head_seq)
            return Imported(row=row, head_seq=opened.head_seq, adopted=opened.adopted_numerics)

    async def _import(
        self,
        parts: AsyncIterator[bytes],
        as_tenant: str,
        request_id: str,
        check_name: Callable[[str], None],
        *,
        rebuild: bool,
    ) -> TenantRow:
        # A view that is larger could not be held here either.
        reader = Reader(most_snapshot_bytes=None if rebuild else self._engine.config.memory_bytes)
        staged, tenant, numerics = "", as_tenant, ""
        last: Record | None = None
        waiting: list[Record] = []
        waiting_bytes = 0
        numbers = array("q", [0])
        """The highest number of an entry after each record."""
        most = 0
        """The highest that one may have."""
        try:
            async for part in parts:
                # In a thread: of millions of entries that were forgotten at once, one frame may take a second.
                for item in await asyncio.to_thread(list, reader.feed(part)):
                    if isinstance(item, Header):
                        header, numerics = item, check_header(item, self._width, self._seed)
                        await self._engine.fetch_model(item.origin.config)
                        tenant = as_tenant or item.tenant
                        check_name(tenant)
                        if (made := await self._store.published(tenant, request_id)) is not None:
                            return made
                        staged = await self._store.stage(item.origin, tenant)
                        continue
                    check_record(item, header, self._width, self._seed)
                    most = check_numbers(item, most)
                    if item.kind is RecordKind.NUMERICS:
                        numerics, _ = decode_numerics(item.body)
                    waiting.append(last := item)
                    numbers.append(max(numbers[-1], *(entry.number for entry in item.entries), 0))
                    waiting_bytes += _memory_bytes(item)
                    if waiting_bytes >= PAGE_BYTES:
                        await self._store.append_staged(staged, waiting)
                        waiting, waiting_bytes = [], 0
            reader.finish()
            if last is None:
                raise InvalidArgumentError("data", "the file is empty", reason="ARCHIVE_REFUSED")
            snapshot = await self._usable(reader.snapshot(), header, numbers)
            current = self._engine.thread.runner.fingerprint
            if snapshot is None and numerics != current:
                # The log was folded under others before, and is under these now.
                at = max(last.commit_us, time.time_ns() // 1000)
                body = encode_numerics(current, 0)
                waiting.append(Record(seq=last.seq + 1, commit_us=at, kind=RecordKind.NUMERICS, body=body))
            await self._store.append_staged(staged, waiting)
            if snapshot is not None:
                await self._store.save(staged, snapshot, Retention.ALL)
            row = await self._store.publish(staged, tenant, request_id)
        except BaseException:
            if staged:
                await shielded(self._store.discard(staged))
            raise
        if row.uid != staged:  # the same request was faster
            await self._store.discard(staged)
        return row

    @property
    def _width(self) -> int:
        return self._engine.thread.runner.encoder.dim

    @property
    def _seed(self) -> int:
        return self._engine.config.memory.seed

    async def _usable(self, snapshot: Snapshot | None, header: Header, numbers: Sequence[int]) -> Snapshot | None:
        """Return a file's snapshot, None where it means nothing here.

        Raises:
            InvalidArgumentError: it is damaged.
        """
        if snapshot is None or not 0 < snapshot.seq < len(numbers):
            return None
        runner, seed = self._engine.thread.runner, self._seed
        model = decode_create(header.origin.config, self._width).context_memory

        def restored() -> bool:
            found = View.restore(snapshot, runner.encoder.dim, runner.encoder.fingerprint)
            if found is not None:
                if found[0].config.seed != seed:
                    raise refused("is of a memory with other initial weights")
                number, seq = found[0].index.newest
                if number > numbers[snapshot.seq] or seq > snapshot.seq:
                    raise refused("has a snapshot that its log does not lead to")
                if (found[0].context.model if found[0].context else "") != model:
                    raise refused("has a snapshot of another context memory")
                runner.check_restored(found[0])
            return found is not None

        with refusing():
            usable = await self._engine.thread.call(restored, read=True)
        return snapshot if usable else None


def _memory_bytes(record: Record) -> int:
    return record.size + RECORD_BYTES + NUMBER_BYTES * len(record.about)
