"""The embedded store: SQLite in one data directory, of one process.

    caller ── append ──> committer (log.db, FULL) ── group commit, then the answers
           ── reads ───> log reader               ── never waits for a commit
           ── save ────> views writer (views.db)  ── megabytes that no append waits for
           ── load ────> views reader
                         checkpointer (log.db)    ── keeps the write-ahead log short

Each has a connection and a thread of its own. A cancelled caller disturbs none of them.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from memsvc.errors import MemsvcError, UnavailableError
from memsvc.store.clock import wall_clock_us
from memsvc.store.credentials import CredentialTable
from memsvc.store.sqlite import (
    credentials,
    log_change,
    log_destroy,
    log_expiry,
    log_park,
    log_read,
    log_stage,
    log_write,
    views,
)
from memsvc.store.sqlite.checkpoint import EVERY_BYTES, Checkpointer
from memsvc.store.sqlite.committer import Committer
from memsvc.store.sqlite.compact import MIN_DEAD_BYTES
from memsvc.store.sqlite.database import connect, truncate_wal
from memsvc.store.sqlite.emptier import Emptier
from memsvc.store.sqlite.faults import translate, translate_views
from memsvc.store.sqlite.lock import DirectoryLock
from memsvc.store.sqlite.recovery import recover
from memsvc.store.sqlite.schema import LOG, PAGE_BYTES, VIEWS
from memsvc.store.sqlite.worker import Worker
from memsvc.store.types import (
    ALL_TENANTS,
    Appended,
    Changed,
    Destroyed,
    Erasure,
    LoadedSnapshot,
    Origin,
    Payload,
    Record,
    RecordKind,
    Retention,
    ShardChange,
    ShardEvent,
    Snapshot,
    Span,
    StoredEntry,
    TenantRow,
)

P = ParamSpec("P")
T = TypeVar("T")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteOptions:
    """What an operator or a test may set."""

    clock_us: Callable[[], int] = wall_clock_us
    """Microseconds since the epoch; may step back."""
    max_log_bytes: int | None = None
    """log.db grows no further than this; None for as far as the disk goes."""
    verify_bytes: int = 256 * 1024 * 1024
    """Databases up to this size are checked whole at start-up; of larger ones only the small tables."""
    checkpoint_bytes: int = EVERY_BYTES
    """About what is appended between two checkpoints."""
    compact_bytes: int = MIN_DEAD_BYTES
    """At start-up log.db is written anew if at least this much of it, and half, is the room of deleted text."""


class SqliteStore:
    """Implements `memsvc.store.base.Store`; see there for what each method promises."""

    def __init__(self, directory: Path, options: SqliteOptions, resources: ExitStack) -> None:
        """Start on a directory that is locked and recovered; use `open`."""
        self._log_path = log = directory / LOG.name
        view = directory / VIEWS.name
        self._clock_us = options.clock_us
        self._resources = resources
        self._reader = self._worker("memsvc-log-reader", connect(log, LOG, read_only=True), translate)
        self._undying = connect(log, LOG, read_only=True)
        resources.callback(self._undying.close)
        self._views = self._worker("memsvc-views-writer", connect(view, VIEWS), translate_views)
        self._views_reader = self._worker("memsvc-views-reader", connect(view, VIEWS, read_only=True), translate_views)
        checkpointer = Checkpointer(connect(log, LOG), options.checkpoint_bytes)
        resources.callback(checkpointer.close)
        connection = connect(log, LOG)
        connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
        if options.max_log_bytes is not None:
            connection.execute(f"PRAGMA max_page_count = {options.max_log_bytes // PAGE_BYTES}").fetchall()
        self._committer = Committer(connection, checkpointer)
        resources.callback(self._committer.close)  # the first to be closed: it still uses the checkpointer
        self._inode = self._log_path.stat().st_ino
        self._under_way: set[asyncio.Task[Any]] = set()
        self._emptier = Emptier(self._empty_wals)
        self._closed = False
        self._changes: asyncio.Queue[ShardChange] = asyncio.Queue()
        self._changes.put_nowait(ShardChange(shard=0, event=ShardEvent.TAKEN))

    @classmethod
    def open(cls, directory: Path, options: SqliteOptions | None = None) -> "SqliteStore":
        """Open a data directory, made if need be, and finish what a crash left unfinished. Blocks.

        Raises:
            FailedPreconditionError: it is in use (reason DATA_DIRECTORY_IN_USE), of a newer format (DATA_FORMAT_NEWER),
                or another program's (DATA_FORMAT_UNKNOWN).
            DataLossError: the log is damaged.
            UnavailableError: it cannot be read or written.
        """
        options = options or SqliteOptions()
        with ExitStack() as resources:
            resources.callback(DirectoryLock(directory).release)
            try:
                recover(directory, verify_bytes=options.verify_bytes, compact_bytes=options.compact_bytes)
                store = cls(directory, options, resources)
            except sqlite3.Error as error:
                raise translate(error) from error
            except OSError as error:
                raise UnavailableError(f"the data directory {directory} cannot be used: {error.strerror}") from error
            store._resources = resources.pop_all()
            return store

    def shard_of(self, uid: str) -> int:
        """See `Store.shard_of`. A directory is one shard."""
        return 0

    def term(self, uid: str) -> int:
        """See `Store.term`. Nobody else can own the directory meanwhile."""
        return 0

    def retire(self) -> None:
        """See `Store.retire`. There is nothing to take."""

    async def next_change(self) -> ShardChange:
        """See `Store.next_change`. There is but one: it is this process's."""
        return await self._changes.get()

    async def release(self, shard: int) -> None:
        """See `Store.release`. Only `close` gives a directory back."""

    async def create_tenant(self, tenant: str, config: bytes, body: bytes, request_id: str) -> TenantRow:
        """See `Log.create_tenant`. An empty request_id is never remembered."""
        return await self._write(
            partial(log_write.create_tenant, tenant=tenant, config=config, body=body, request_id=request_id)
        )

    async def get_tenant(self, tenant: str) -> TenantRow | None:
        """See `Log.get_tenant`."""
        return await self._read(log_read.get_tenant, tenant)

    async def list_tenants(self, after: str, limit: int, within: Sequence[Span] = ALL_TENANTS) -> list[TenantRow]:
        """See `Log.list_tenants`."""
        return await self._read(log_read.list_tenants, after, limit, within)

    async def delete_tenant(self, uid: str, request_id: str) -> None:
        """See `Log.delete_tenant`. When it returns, the tenant's text is in no file of the directory any more.

        Raises:
            UnavailableError: it could not be finished; a retry with the same request_id goes on, and so does a restart.
        """
        await self._to_the_end(self._delete(uid, request_id))

    async def find_deleted(self, tenant: str, request_id: str) -> bool:
        """See `Log.find_deleted`."""
        return await self._read(log_read.find_deleted, tenant, request_id, self._clock_us())

    async def append(
        self,
        uid: str,
        kind: RecordKind,
        body: bytes = b"",
        payloads: Sequence[Payload] = (),
        *,
        request_id: str = "",
        config: bytes | None = None,
    ) -> Appended:
        """See `Log.append`."""
        payloads = tuple(payloads)
        append = partial(
            log_write.append, uid=uid, kind=kind, body=body, payloads=payloads, request_id=request_id, config=config
        )
        return await self._write(append, size=len(body) + sum(len(payload.data) for payload in payloads))

    async def update(self, uid: str, payload: Payload, request_id: str) -> Changed:
        """See `Log.update`."""
        update = partial(log_change.update, uid=uid, payload=payload, request_id=request_id)
        return self._changed(await self._write(update, size=len(payload.data)))

    async def delete(self, uid: str, id: str, request_id: str) -> Changed:
        """See `Log.delete`."""
        return self._changed(await self._write(partial(log_change.delete, uid=uid, id=id, request_id=request_id)))

    async def forget(self, uid: str, ids: Sequence[str], request_id: str, asked: str = "") -> tuple[Erasure, Record]:
        """See `Log.forget`."""
        return await self._write(
            partial(log_change.forget, uid=uid, ids=tuple(ids), request_id=request_id, asked=asked)
        )

    async def erase(self, uid: str, first_seq: int) -> Destroyed:
        """See `Log.erase`. Whatever was destroyed before, of any tenant, is in no file either when it returns."""
        return await self._to_the_end(self._erase(uid, first_seq))

    async def finish_erasure(self, operation: str, receipt: bytes) -> None:
        """See `Log.finish_erasure`. The first receipt stands; an erasure that went with its tenant is left alone."""
        await self._write(partial(log_change.finish_erasure, operation=operation, receipt=receipt))

    async def erasure(self, operation: str) -> Erasure | None:
        """See `Log.erasure`."""
        return await self._read(log_read.erasure, operation)

    async def unfinished_erasures(self) -> list[Erasure]:
        """See `Log.unfinished_erasures`."""
        return await self._read(log_read.unfinished_erasures)

    async def feedback(self, uid: str, ids: Sequence[str], body: bytes, request_id: str) -> Changed:
        """See `Log.feedback`."""
        feedback = partial(log_change.feedback, uid=uid, ids=tuple(ids), body=body, request_id=request_id)
        return await self._write(feedback, size=len(body))

    async def expire(self, limit: int) -> list[tuple[str, Record]]:
        """See `Log.expire`. One operation: other appends wait for it."""
        records, destroyed = await self._write(partial(log_expiry.expire, limit=limit))
        if destroyed:
            self._emptier.soon()
        return records

    async def seq_at(self, uid: str, time_us: int) -> int:
        """See `Log.seq_at`."""
        return await self._read(log_read.seq_at, uid, time_us)

    async def origin(self, uid: str) -> Origin:
        """See `Log.origin`."""
        return await self._read(log_read.origin, uid)

    async def stage(self, origin: Origin, tenant: str) -> str:
        """See `Log.stage`. All tenants lie in one place."""
        return await self._write(partial(log_stage.stage, origin=origin))

    async def append_staged(self, uid: str, records: Sequence[Record], config: bytes | None = None) -> None:
        """See `Log.append_staged`."""
        records = tuple(records)
        append = partial(log_stage.append_staged, uid=uid, records=records, config=config)
        await self._write(append, size=sum(record.size for record in records))
        if any(record.about for record in records):  # what they end may be destroyed
            self._emptier.soon()

    async def publish(self, uid: str, tenant: str, request_id: str) -> TenantRow:
        """See `Log.publish`. A repeated request whose tenant is gone since is a NotFoundError."""
        return await self._write(partial(log_stage.publish, uid=uid, tenant=tenant, request_id=request_id))

    async def published(self, tenant: str, request_id: str) -> TenantRow | None:
        """See `Log.published`."""
        return await self._read(log_read.published, tenant, request_id, self._clock_us())

    async def replace(self, uid: str, staged: str, request_id: str) -> TenantRow:
        """See `Log.replace`. A repeated request returns the same row again, as in `publish`."""
        return await self._write(partial(log_park.replace, uid=uid, staged=staged, request_id=request_id))

    async def parked(self, uid: str) -> str | None:
        """See `Log.parked`."""
        return await self._read(log_park.parked, uid)

    async def unpark(self, uid: str, request_id: str) -> TenantRow:
        """See `Log.unpark`. When it returns, the text of the tenant that was in front is in no file any more.

        Raises:
            UnavailableError: the id is given back, but the other one is not wholly deleted; a retry with the same
                request_id goes on, and so does a restart.
        """
        return await self._to_the_end(self._unpark(uid, request_id))

    async def confirm(self, uid: str, request_id: str) -> None:
        """See `Log.confirm`. When it returns, the parked tenant's text is in no file any more.

        Raises:
            UnavailableError: it could not be finished; a retry goes on while any of it is there, and so does a restart.
        """
        await self._to_the_end(self._confirm(uid, request_id))

    async def discard(self, uid: str) -> None:
        """See `Log.discard`. When it returns, the staged tenant's text is in no file any more.

        Raises:
            UnavailableError: it could not be finished; a retry goes on, and so does a restart.
        """
        await self._to_the_end(self._discard(uid))

    async def note_copy(self, uid: str, copy: str) -> None:
        """See `Log.note_copy`. For a tenant that is gone there is nothing to remember."""
        await self._write(partial(log_write.note_copy, uid=uid, copy=copy))

    async def copies(self, uid: str) -> list[str]:
        """See `Log.copies`."""
        return await self._read(log_read.copies, uid)

    async def head(self, uid: str) -> int:
        """See `Log.head`."""
        return await self._read(log_read.head, uid)

    async def heads(self) -> dict[str, int]:
        """See `Log.heads`."""
        return await self._read(log_read.heads)

    async def read(self, uid: str, after_seq: int, max_bytes: int) -> list[Record]:
        """See `Log.read`."""
        return await self._read(log_read.read, uid, after_seq, max_bytes)

    async def entries(self, uid: str, numbers: Sequence[int], as_of: int | None = None) -> list[StoredEntry]:
        """See `Log.entries`."""
        return await self._read(log_read.entries, uid, tuple(numbers), as_of)

    async def entry_by_id(self, uid: str, id: str, as_of: int | None = None) -> StoredEntry | None:
        """See `Log.entry_by_id`."""
        return await self._read(log_read.entry_by_id, uid, id, as_of)

    async def scan(self, uid: str, after_number: int, limit: int, as_of: int | None = None) -> list[StoredEntry]:
        """See `Log.scan`."""
        return await self._read(log_read.scan, uid, after_number, limit, as_of)

    async def save(
        self, uid: str, snapshot: Snapshot, keep: Retention = Retention.NONE, *, drop_from: int | None = None
    ) -> None:
        """See `Snapshots.save`.

        Raises:
            NotFoundError: no such tenant.
            FailedPreconditionError: a blob was left out that the store does not hold (reason BLOB_MISSING), or is not
                what it holds (BLOB_CHANGED).
            UnavailableError: the store cannot write; the older snapshots stand.
        """
        await self._views.run(self._save_if_undying, uid, snapshot, keep, drop_from)
        if drop_from is not None:
            self._emptier.soon()

    async def load(self, uid: str, before_seq: int | None = None) -> LoadedSnapshot:
        """See `Snapshots.load`. What is corrupt is told once and dropped, so that a later save writes it again."""
        loaded = await self._views_reader.run(views.load, uid, before_seq)
        if loaded.corrupt:
            try:
                await self._views.run(views.drop_damaged, uid)
            except MemsvcError as error:
                _logger.warning("a damaged snapshot stays where it is: %s", error)
        return loaded

    async def kept(self, uid: str) -> tuple[int, int]:
        """See `Snapshots.kept`."""
        return await self._views_reader.run(views.count, uid)

    async def seqs(self) -> dict[str, int]:
        """See `Snapshots.seqs`."""
        return await self._views_reader.run(views.seqs)

    async def check(self) -> None:
        """See `Store.check`. It commits a few bytes."""
        try:
            moved = self._log_path.stat().st_ino != self._inode
        except FileNotFoundError:
            moved = True
        if moved:
            raise UnavailableError(
                f"{self._log_path} was removed or replaced under this process", reason="DATA_DIRECTORY_LOST"
            )
        await self._write(log_write.touch)
        await self._read(log_read.get_tenant, "")

    async def size(self, uid: str) -> int:
        """See `Store.size`."""
        return await self._read(log_read.size, uid) + await self._views_reader.run(views.size, uid)

    async def close(self) -> None:
        """See `Store.close`. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        await self._emptier.stop()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await asyncio.to_thread(self._resources.close)

    async def _write(self, operation: Callable[..., T], size: int = 0) -> T:
        """Run operation(connection, now_us=...) in the committer's next group; the clock is read there."""
        return await self._committer.run(lambda connection: operation(connection, now_us=self._clock_us()), size=size)

    async def _read(
        self, query: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self._reader.run(query, *args, **kwargs)

    async def _to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work that a cancelled caller does not leave half done, and that `close` waits for."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def credentials(self) -> CredentialTable:
        """See `Credentials.credentials`."""
        return await self._read(credentials.table)

    async def credentials_version(self) -> int:
        """See `Credentials.credentials_version`. Nobody else changes them while this store is open."""
        return await self._read(credentials.version)

    async def change_credentials(self, version: int, put: Mapping[str, bytes], drop: Collection[str] = ()) -> int:
        """See `Credentials.change_credentials`."""
        change = partial(credentials.change, expected=version, put=dict(put), drop=tuple(drop))
        return await self._write(change, size=sum(map(len, put.values())))

    async def _delete(self, uid: str, request_id: str) -> None:
        await self._purge(*await self._write(partial(log_write.condemn_tenant, uid=uid, request_id=request_id)))

    async def _unpark(self, uid: str, request_id: str) -> TenantRow:
        row, condemned = await self._write(partial(log_park.unpark, uid=uid, request_id=request_id))
        await self._purge(*([] if condemned is None else [condemned]))
        return row

    async def _confirm(self, uid: str, request_id: str) -> None:
        await self._purge(await self._write(partial(log_park.condemn_parked, uid=uid, request_id=request_id)))

    async def _discard(self, uid: str) -> None:
        if await self._write(partial(log_stage.condemn_staged, uid=uid)):
            await self._purge(uid)

    async def _purge(self, *uids: str) -> None:
        """Destroy condemned tenants. Their snapshots go first: once a log is purged, no retry finds them."""
        for uid in uids:
            await self._views.run(views.drop_from, uid)
        for uid in uids:
            purge = partial(log_destroy.purge_slice, uid=uid)
            while not await self._committer.run(purge, size=log_destroy.SLICE_ROWS * PAGE_BYTES):
                pass
        await self._empty_wals()

    async def _erase(self, uid: str, first_seq: int) -> Destroyed:
        destroyed = 0
        erase = partial(log_destroy.erase_slice, uid=uid)
        while (size := await self._committer.run(erase, size=log_destroy.SLICE_ROWS * PAGE_BYTES)) is not None:
            destroyed += size
        dropped = await self._views.run(views.drop_from, uid, first_seq)
        await self._empty_wals()
        return Destroyed(bytes=destroyed, snapshots=dropped)

    async def _empty_wals(self) -> None:
        await self._views.run(truncate_wal)
        await self._committer.run(truncate_wal, alone=True)

    def _changed(self, changed: Changed) -> Changed:
        if changed.destroyed:
            self._emptier.soon()
        return changed

    def _save_if_undying(
        self, connection: sqlite3.Connection, uid: str, snapshot: Snapshot, keep: Retention, drop_from: int | None
    ) -> None:
        # On the thread that also drops a condemned tenant's views, once it is condemned: in either order none is left.
        log_read.takes_snapshots(self._undying, uid)
        views.save(connection, uid, snapshot, keep, drop_from)

    def _worker(
        self, name: str, connection: sqlite3.Connection, translate: Callable[[sqlite3.Error], MemsvcError]
    ) -> Worker:
        worker = Worker(name, connection, translate)
        self._resources.callback(worker.close)
        return worker
