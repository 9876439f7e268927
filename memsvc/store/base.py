"""What a store promises: two Protocols, one for the log and one for snapshots of views.

The log is the truth. Losing every snapshot loses nothing but time. `tests/conformance/` holds what every store must
pass.
"""

from collections.abc import Sequence
from typing import Protocol

from memsvc.store.credentials import Credentials
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
    Snapshot,
    Span,
    StoredEntry,
    TenantRow,
)


class Log(Protocol):
    """Tenants and their logs. Every mutation is durable when its call returns."""

    async def create_tenant(self, tenant: str, config: bytes, body: bytes, request_id: str) -> TenantRow:
        """Create a tenant whose record 1 is a CREATE with this body.

        A request_id seen within 24 hours returns the same row again.

        Raises:
            AlreadyExistsError: a tenant of that id lives.
            FailedPreconditionError: the request_id was used for something else.
        """
        ...

    async def get_tenant(self, tenant: str) -> TenantRow | None:
        """Return the living tenant of that id."""
        ...

    async def list_tenants(self, after: str, limit: int, within: Sequence[Span] = ALL_TENANTS) -> list[TenantRow]:
        """Return up to `limit` tenants whose id is greater than `after`, in byte order of the UTF-8 ids.

        Args:
            after: an id, of a tenant or not; empty for all.
            limit: at most so many.
            within: only tenants whose id lies in one of these; they are in order and do not overlap.
        """
        ...

    async def delete_tenant(self, uid: str, request_id: str) -> None:
        """Delete the tenant's log, payloads and snapshots.

        A request_id seen within 24 hours does nothing.

        Raises:
            NotFoundError: no such tenant, and the request_id is new.
        """
        ...

    async def find_deleted(self, tenant: str, request_id: str) -> bool:
        """Whether this request_id deleted a tenant of that id within 24 hours."""
        ...

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
        """Append one record; with `config`, that is the tenant's from then on.

        Ids are checked, numbers, seq and commit time assigned, in the same transaction.

        A payload whose id is known, in the log or earlier in this batch, with the content hash of its first revision is
        skipped, whatever became of the entry since, unless it is forgotten.

        A request_id that was used for the same kind and body within 24 hours appends nothing: `record` is None and
        `seqs` holds the one seq of the first time. It is for records without payloads.

        Raises:
            AlreadyExistsError: an id is known with another content hash; nothing was appended; metadata has `id` and
                `index`.
            FailedPreconditionError: an id is forgotten (reason FORGOTTEN; metadata as above), or the request_id was
                used for something else (REQUEST_ID_REUSED); nothing was appended.
            NotFoundError: no such tenant.
            UnavailableError: the store cannot write (a full disk, say); nothing was appended.
        """
        ...

    async def update(self, uid: str, payload: Payload, request_id: str) -> Changed:
        """Append an UPDATE: a new revision of the living entry of that id, under a new number.

        Of a revision with `learn` false the payload is destroyed in the same transaction. A request_id seen within 24
        hours with the same content returns the same record again, unless the entry is forgotten since.

        Raises:
            NotFoundError: there is no living entry of that id; reason ENTRY_NOT_FOUND, DELETED, EXPIRED or
                FORGOTTEN.
            FailedPreconditionError: the request_id was used for something else.
            UnavailableError: the store cannot write; nothing was appended.
        """
        ...

    async def delete(self, uid: str, id: str, request_id: str) -> Changed:
        """Append a DELETE of the living entry of that id.

        Its id stays known, so that no retry of its Write brings it back. The payload is destroyed at once if `learn` is
        false. A request_id seen within 24 hours returns the same record again.

        Raises:
            NotFoundError: there is no living entry of that id; reason ENTRY_NOT_FOUND, DELETED, EXPIRED or
                FORGOTTEN.
            FailedPreconditionError: the request_id was used for something else.
            UnavailableError: the store cannot write; nothing was appended.
        """
        ...

    async def forget(self, uid: str, ids: Sequence[str], request_id: str, asked: str = "") -> tuple[Erasure, Record]:
        """Append a FORGET about every revision of these ids, deleted ones too, and start an erasure.

        From then on the entries are in no answer and their ids are refused; the payloads are there until `erase`.
        A request_id seen within 24 hours with the same ids returns the same erasure again; with `asked`, what the
        caller asked in its own words, that counts instead of the ids that it comes to now.

        Raises:
            NotFoundError: there are no ids; or one was never known, or is forgotten already: metadata has `id`.
                Nothing was appended.
            FailedPreconditionError: the request_id was used for something else.
            UnavailableError: the store cannot write; nothing was appended.
        """
        ...

    async def erase(self, uid: str, first_seq: int) -> Destroyed:
        """Destroy the payloads of all forgotten entries of a tenant, and every snapshot at or after `first_seq`.

        When it returns, their text, ids, sessions, metadata and hashes are in no file any more, unless `files_pending`
        says otherwise; a keyed hash of each id stays, which refuses it. To repeat it does no harm.

        Raises:
            UnavailableError: it could not be finished; repeat it.
        """
        ...

    async def finish_erasure(self, operation: str, receipt: bytes) -> None:
        """Mark an erasure as done."""
        ...

    async def erasure(self, operation: str) -> Erasure | None:
        """Return an erasure by its name."""
        ...

    async def unfinished_erasures(self) -> list[Erasure]:
        """Return every living tenant's erasures that are not done, in the order of their records."""
        ...

    async def feedback(self, uid: str, ids: Sequence[str], body: bytes, request_id: str) -> Changed:
        """Append a FEEDBACK about the living entries of these ids.

        A request_id seen within 24 hours with the same ids and body returns the same record again.

        Raises:
            NotFoundError: there is no living entry of one of the ids, as in `update`; metadata has `id`.
            FailedPreconditionError: the request_id was used for something else.
            UnavailableError: the store cannot write; nothing was appended.
        """
        ...

    async def expire(self, limit: int) -> list[tuple[str, Record]]:
        """Append an EXPIRE to every tenant of which living entries are due, about up to `limit` entries in all.

        The store's own clock decides. An expired entry is as a deleted one: its id stays known, `entry_by_id` answers
        EXPIRED, and its payload is destroyed in the same transaction if `learn` is false. Returns uid and record.

        Raises:
            UnavailableError: the store cannot write; nothing was appended.
        """
        ...

    # --- the past, and other tenants made of it -----------------------------------------------------------------------

    async def seq_at(self, uid: str, time_us: int) -> int:
        """Return the seq of the last record committed at or before that time; 0 where there is none.

        Raises:
            NotFoundError: no such tenant.
        """
        ...

    async def origin(self, uid: str) -> Origin:
        """Return what a copy of the tenant takes over beside its records.

        Raises:
            NotFoundError: no such tenant.
        """
        ...

    async def stage(self, origin: Origin, tenant: str) -> str:
        """Begin a tenant that no one sees: without a name and without records. Returns its uid.

        `tenant` is the id that it will be published under, or whose living tenant it will replace: it lies where that
        one belongs. `append_staged`, `save`, `publish`, `replace` and `discard` take its uid, no other method does. One
        that is neither published nor discarded is gone after a restart.
        """
        ...

    async def append_staged(self, uid: str, records: Sequence[Record], config: bytes | None = None) -> None:
        """Append records as they are: seqs, commit times and entry numbers are theirs. `config` as in `append`.

        They come in the order of their seq; the first is record 1. Numbers ascend, and may skip what is not there any
        more. What an UPDATE, DELETE or EXPIRE is about takes its state; of what is not there, nothing is known.

        Raises:
            InvalidArgumentError: a record does not follow the one before, an id is there twice without an UPDATE, or an
                entry is there that is forgotten.
            NotFoundError: nothing is staged under that uid.
            UnavailableError: the store cannot write; nothing of these records was appended.
        """
        ...

    async def publish(self, uid: str, tenant: str, request_id: str) -> TenantRow:
        """Make a staged tenant a living one of that id, the one that it was staged for.

        A request_id with which a tenant of that id was published within 24 hours returns that one's row; what is staged
        is then as it was.

        Raises:
            AlreadyExistsError: a tenant of that id lives; the staged one is as it was.
            FailedPreconditionError: the request_id was used for something else.
            NotFoundError: nothing is staged under that uid.
        """
        ...

    async def published(self, tenant: str, request_id: str) -> TenantRow | None:
        """Return the living tenant of that id that `publish` or `replace` made with this request_id within 24 hours."""
        ...

    async def replace(self, uid: str, staged: str, request_id: str) -> TenantRow:
        """Put a staged tenant in the place and under the id of a living one, and park that behind it, in one move.

        A repeated request_id as in `publish`.

        Raises:
            FailedPreconditionError: another is parked behind the living one already (reason RESTORE_PENDING); or the
                request_id was used for something else.
            NotFoundError: no such tenants.
        """
        ...

    async def parked(self, uid: str) -> str | None:
        """Return the uid of the tenant that is parked behind a living one."""
        ...

    async def unpark(self, uid: str, request_id: str) -> TenantRow:
        """Give the id back to the tenant parked behind a living one, and delete the latter, to the end.

        A request_id seen within 24 hours returns the same row again, as long as that tenant lives, and finishes the
        deletion. It may come with either uid: of the one that was in front, or of the one that is back.

        Raises:
            FailedPreconditionError: none is parked (reason NO_RESTORE_PENDING); or the request_id was used for
                something else.
            NotFoundError: what this request gave the id back to is gone since.
        """
        ...

    async def confirm(self, uid: str, request_id: str) -> None:
        """Delete the tenant that is parked behind a living one, to the end.

        A request_id seen within 24 hours does nothing but finish that.

        Raises:
            FailedPreconditionError: none is parked (reason NO_RESTORE_PENDING); or the request_id was used for
                something else.
        """
        ...

    async def discard(self, uid: str) -> None:
        """Delete a staged tenant, to the end. Nothing happens where there is none."""
        ...

    async def note_copy(self, uid: str, copy: str) -> None:
        """Remember what was made of a tenant: an export, another tenant."""
        ...

    async def copies(self, uid: str) -> list[str]:
        """Return what was remembered, in order, each once."""
        ...

    # --- reading ------------------------------------------------------------------------------------------------------

    async def head(self, uid: str) -> int:
        """Return the seq of the last record.

        Raises:
            NotFoundError: no such tenant.
        """
        ...

    async def heads(self) -> dict[str, int]:
        """Return the seq of the last record of every tenant, by uid."""
        ...

    async def read(self, uid: str, after_seq: int, max_bytes: int) -> list[Record]:
        """Return whole records after that seq, in order, at least one if there is one, and about max_bytes at most.

        Entries whose payload is destroyed are left out of their records; those of replaced and deleted entries are not.
        """
        ...

    async def entries(self, uid: str, numbers: Sequence[int], as_of: int | None = None) -> list[StoredEntry]:
        """Return the living entries of those numbers, in the order asked.

        With as_of, those that lived after the record of that seq, here and in the two below: what is forgotten, or
        whose payload is destroyed, is in no past.
        """
        ...

    async def entry_by_id(self, uid: str, id: str, as_of: int | None = None) -> StoredEntry | None:
        """Return the living entry of that id, None where it was never known.

        Raises:
            NotFoundError: it was deleted, expired or forgotten (then, or since); the reason is DELETED, EXPIRED or
                FORGOTTEN.
        """
        ...

    async def scan(self, uid: str, after_number: int, limit: int, as_of: int | None = None) -> list[StoredEntry]:
        """Return up to `limit` living entries with greater numbers, in order."""
        ...


class Snapshots(Protocol):
    """Saved views: at least two generations for each tenant, swapped atomically."""

    async def save(
        self, uid: str, snapshot: Snapshot, keep: Retention = Retention.NONE, *, drop_from: int | None = None
    ) -> None:
        """Save a snapshot; drop all but the two newest and those to keep, and every blob that none of these names.

        With `drop_from`, drop every other one at or after that record, too: they hold what is destroyed since. What is
        dropped is in no file any more a while after.

        Raises:
            UnavailableError: the store cannot write; the older snapshots stand.
        """
        ...

    async def load(self, uid: str, before_seq: int | None = None) -> LoadedSnapshot:
        """Return the newest snapshot whose every checksum holds; with before_seq, of those before that record."""
        ...

    async def kept(self, uid: str) -> tuple[int, int]:
        """Return how many snapshots a tenant has, and about the bytes that they take on disk, shared parts once."""
        ...

    async def seqs(self) -> dict[str, int]:
        """Return the seq of the newest snapshot of every tenant that has one, by uid."""
        ...


class Store(Log, Snapshots, Credentials, Protocol):
    """A log, its snapshots and the credentials, as one deployment keeps them.

    A deployment has one shard or more, each owned by one process at a time. A method that is about a tenant of a shard
    that this process does not own raises NotOwnerError, an UnavailableError whose metadata names the `owner`, if there
    is one; what is about all tenants is about those of the shards that it owns, but for `list_tenants`;
    credentials are no shard's.
    """

    def shard_of(self, uid: str) -> int:
        """Return the shard of a tenant."""
        ...

    def term(self, uid: str) -> int:
        """Return the number of this process's ownership of a tenant: another one where it was lost in between.

        Raises:
            NotOwnerError: it is another process's, or nobody's just now.
        """
        ...

    async def next_change(self) -> ShardChange:
        """Wait for the next change of what this process owns; the first tell what it owns from the start."""
        ...

    def retire(self) -> None:
        """Take no further shards: this process is about to end."""
        ...

    async def release(self, shard: int) -> None:
        """Hand a shard over: another process may have it at once."""
        ...

    async def check(self) -> None:
        """Return if the store can be read and written.

        Raises:
            UnavailableError: it cannot, and why.
        """
        ...

    async def size(self, uid: str) -> int:
        """Return about how many bytes the tenant takes on disk."""
        ...

    async def close(self) -> None:
        """Finish what is under way and release the store."""
        ...
